"""Each flag of `find-lr` changes what it names, and what it suggests can be pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tune_digits.api import learning_rate
from tune_digits.cli.find_lr import main
from tune_digits.study import make_study


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the range test was asked for."""
    seen: list[dict[str, Any]] = []
    before = learning_rate.range_test

    def noting(state: Any, config: Any, data: Any, rows: Any, **given: Any) -> Any:
        seen.append({"config": config, "rows": len(rows), "images": len(data.images), **given})
        return before(state, config, data, rows, **given)

    monkeypatch.setattr(learning_rate, "range_test", noting)
    return seen


def find(*flags: object) -> int:
    return main(["--space", "small.yaml", *map(str, flags)])


def test_it_says_a_rate_and_draws_the_curve(
    here: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        find("--steps", 80, "--low", 1e-5, "--high", 5, "--out", "a.png", "--set", "train.batch_size=10") == 0
    )
    said = capsys.readouterr().out
    assert (asked[0]["low"], asked[0]["high"], asked[0]["steps"]) == (1e-5, 5.0, 80)
    assert asked[0]["config"].train.batch_size == 10
    assert asked[0]["rows"] == 40  # two of the three folds of 60 rows
    assert "range test of the baseline: adamw, batches of 10" in said and "curve: a.png" in said
    assert "falls fastest near a learning rate of" in said and "as the peak learning rate of adamw" in said
    with Image.open("a.png") as drawn:
        assert drawn.size == (840, 480)
    lines = [line for line in said.splitlines() if line.startswith("  optimizer:")]
    assert len(lines) == 2
    for line in lines:
        make_study({"trial": yaml.safe_load(line.strip())}, "pasted", "pasted")
    fixed, searched = (yaml.safe_load(line)["optimizer"]["lr"] for line in lines)
    low, high = searched["loguniform"]
    assert low < fixed < high


def test_the_seed_and_the_fold_are_those_of_the_search(here: Path, asked: list[dict[str, Any]]) -> None:
    assert find("--steps", 20, "--out", "a.png", "--set", "search.seed=7") == 0
    assert asked[0]["seed"] == 7


def test_data_can_be_named(here: Path, asked: list[dict[str, Any]]) -> None:
    import shutil

    shutil.move("halves", "moved")
    assert find("--steps", 20, "--out", "a.png", "--data", "moved") == 0
    assert asked[0]["images"] == 60


def test_a_trial_of_a_run_is_tested_as_it_was(searched: Path, asked: list[dict[str, Any]]) -> None:
    from tune_digits.runs import Run

    for number in (None, 2):
        flags = [] if number is None else ["--trial", str(number)]
        out = f"{number}.png"
        assert main(["--run", str(searched), *flags, "--steps", "20", "--out", out]) == 0
    run = Run(searched)
    answer = run.answer()
    assert answer is not None
    assert asked[0]["config"] == run.trials()[answer["trial"]].config
    assert asked[1]["config"] == run.trials()[2].config


def test_a_rate_that_never_helps_is_no_suggestion(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find("--low", 1e-12, "--high", 1e-11, "--steps", 20, "--out", "a.png") == 0
    said = capsys.readouterr().out
    assert "no suggestion" in said or "take" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--low", 1, "--high", 0.1], "they must be 0 < low < high"),
        (["--steps", 5], "fewer than 20 updates make no curve"),
        (["--out", "small.yaml"], "nothing is overwritten"),
        (["--set", "optimizer.lrr=1"], "lrr"),
    ],
)
def test_mistakes_are_said_in_words(
    here: Path, capsys: pytest.CaptureFixture[str], flags: list[Any], message: str
) -> None:
    assert find(*flags) == 2
    assert message in capsys.readouterr().err


def test_what_a_trial_was_is_not_changed(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(searched), "--set", "optimizer.lr=1"]) == 2
    assert (
        "--set optimizer.lr: the configuration of a trial of --run is what it was" in capsys.readouterr().err
    )
