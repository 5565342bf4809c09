"""Each flag of `preview` changes what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import write_study
from PIL import Image

from tune_digits.cli.preview import main

ROTATED = {"model": {"name": "lean_cnn", "width": 4}, "augment": {"rotate": {"uniform": [10, 60]}}}


def preview(*flags: object, out: str = "a.png") -> np.ndarray:
    assert main(["--out", out, *map(str, flags)]) == 0
    with Image.open(out) as drawn:
        return np.asarray(drawn)


@pytest.fixture
def turned(here: Path) -> Path:
    write_study(here / "turned.yaml", data={"path": "halves"}, trial=ROTATED)
    return here


def test_a_space_is_drawn_with_its_data(turned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = preview("--space", "turned.yaml")
    said = capsys.readouterr().out
    assert "halves: 60 train" in said and "augmentation of the baseline, 3 lines: a.png" in said
    again = preview("--space", "turned.yaml", out="b.png")
    np.testing.assert_array_equal(first, again)


def test_data_draws_and_seed(turned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = preview("--space", "turned.yaml")
    more = preview("--space", "turned.yaml", "--draws", 6, out="b.png")
    assert more.shape[1] > first.shape[1] and more.shape[0] == first.shape[0]
    other = preview("--space", "turned.yaml", "--seed", 1, out="c.png")
    assert other.shape == first.shape and not np.array_equal(other, first)
    write_study(turned / "away.yaml", data={"path": "nowhere"}, trial=ROTATED)
    np.testing.assert_array_equal(preview("--space", "away.yaml", "--data", "halves", out="d.png"), first)


def test_a_trial_of_a_run_gives_the_chosen_values(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tune_digits.runs import Run

    run = Run(searched)
    first, second, *_ = run.trials()
    changed = second.config.model_copy(
        update={"augment": second.config.augment.model_copy(update={"rotate": 33.0})}
    )
    second.config = changed
    run.write_trial(second)
    preview("--run", searched, "--trial", second.number)
    assert f"augmentation of the trial {second.number}, 4 lines" in capsys.readouterr().out
    answer = run.answer()
    assert answer is not None and answer["trial"] == first.number
    assert main(["--run", str(searched), "--out", "b.png"]) == 2  # the best trial augments nothing
    assert "augments nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trial", 3], "--trial 3 is a trial of a run: name it by --run"),
        (["--space", "turned.yaml", "--run", "runs/latest"], "name one of them"),
        (["--space", "turned.yaml", "--out", "turned.yaml"], "nothing is overwritten"),
        (["--space", "turned.yaml", "--out", "no/a.png"], "there is no folder no"),
        (["--space", "turn"], "no search space 'turn'"),
    ],
)
def test_mistakes_are_said_in_words(
    turned: Path, capsys: pytest.CaptureFixture[str], flags: list[Any], message: str
) -> None:
    assert main([*map(str, flags)]) == 2
    assert message in capsys.readouterr().err
    assert not Path("preview.png").exists()
