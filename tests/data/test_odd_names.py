"""Names of classes that make trouble: letters that control a terminal are refused, formulas are written as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tune_digits.data.checks import check_task
from tune_digits.data.dataset import RowForm, Task
from tune_digits.data.labels import read_labels
from tune_digits.data.memory import from_arrays
from tune_digits.ensemble.submission import submission_frame, write_submission

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 3), np.uint8)


@pytest.mark.parametrize("name", ["\x1b[2Jcat", "a\nb", "a\tb", "a\x07", "a\u202eb"])
def test_a_name_that_controls_a_terminal_is_refused(refuses: Callable[..., None], name: str) -> None:
    refuses(
        lambda: read_labels(np.array(["cat", name]), "train.csv"),
        "train.csv, row 2: the label",
        "Rename the class",
    )


@pytest.mark.parametrize("name", ["=1+2", "+cmd", "-x", "@sum"])
def test_a_formula_is_said_and_stays_as_it_is_in_the_submission(tmp_path: Path, name: str) -> None:
    task = Task("t", from_arrays(IMAGES, np.array(["cat", name, "cat", name])))
    found = [f.message for f in check_task(task, []) if f.kind == "formulas"]
    assert len(found) == 1 and repr(name) in found[0] and "import it as text" in found[0]
    (place,) = (task.train.targets[0].classes.index(name),)
    form = RowForm.wide(task.train.targets).of(np.arange(2))
    frame = submission_frame(form, np.full((2, 1), place), task.train.targets)
    write_submission(tmp_path / "s.csv", frame)
    assert (tmp_path / "s.csv").read_text().splitlines()[1].split(",")[1] == name


@pytest.mark.parametrize("names", [["cat", "dog"], ["ä-b", "b=c"], ["a=1", "b+2"]])
def test_other_names_are_not_said(names: list[str]) -> None:
    task = Task("t", from_arrays(IMAGES, np.array([names[0], names[-1]] * 2)))
    assert not [f for f in check_task(task, []) if f.kind == "formulas"]
