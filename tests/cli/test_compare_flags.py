"""`compare` reads the data once and prints what two runs are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import run, search, write_data, write_study

from tune_digits.cli.compare import main


@pytest.fixture
def two(here: Path) -> Path:
    run()
    write_study(
        here / "wider.yaml", data={"path": "halves"}, trial={"model": {"name": "lean_cnn", "width": 6}}
    )
    assert search("--space", "wider.yaml", "--run-dir", "wider") == 0
    return here


def test_two_runs_side_by_side(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["run", "wider", "--out", "a.csv"]) == 0
    said = capsys.readouterr().out
    assert "halves: 60 train" in said and "against the first" in said and "table: a.csv" in said
    table = pd.read_csv("a.csv")
    assert table["space"].tolist() == ["small", "wider"] and table["trainings"].tolist() == [0, 2]
    for row in table.to_dict("records"):
        assert f"{row['confirmed']:.4f}" in said


def test_runs_on_other_data_are_refused_before_they_are_read(
    two: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(two / "others", rows=30)
    assert search("--space", "wider.yaml", "--data", "others", "--run-dir", "third") == 0
    monkeypatch.setattr("tune_digits.data.load.load_task", None)
    assert main(["run", "third"]) == 2
    assert "60 rows then, 30 now" in capsys.readouterr().err


def test_data_that_have_changed_since_are_refused(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    shutil.rmtree("halves")
    write_data(two / "halves", rows=30)
    assert main(["run", "wider"]) == 2
    assert "the data are not those that it was begun with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["run"], "run alone: name two runs or more"),
        (["run", "nowhere"], "no run folder"),
        (["run", "run", "--out", "small.yaml"], "nothing is overwritten"),
    ],
)
def test_mistakes_are_said_in_words(
    here: Path, capsys: pytest.CaptureFixture[str], flags: list[Any], message: str
) -> None:
    if "nowhere" in flags:
        run()
    assert main(flags) == 2
    assert message in capsys.readouterr().err
