"""Each figure of a run is drawn from what the run has on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tune_digits import runs
from tune_digits.api.opened import OpenRun
from tune_digits.errors import RunError
from tune_digits.report import confirm_figures, search_figures

DRAWN = {
    "history": (search_figures, "history"),
    "curves": (search_figures, "learning_curves"),
    "parallel": (search_figures, "parallel"),
    "slices": (search_figures, "slices"),
    "associations": (search_figures, "correlations"),
    "gains": (confirm_figures, "gains"),
    "cost": (confirm_figures, "cost"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_is_that_of_the_report(made: OpenRun, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module, function = DRAWN[name]
    asked: list[Any] = []
    monkeypatch.setattr(module, function, lambda *args: asked.append(args) or name)
    assert getattr(made.plot, name)() == name
    (args,) = asked
    tables = [a for a in args if hasattr(a, "columns")]
    assert tables and all(len(table) for table in tables)
    if name == "gains":
        assert args[0] == [f"trial {n}" for n in made.leaderboard()["trial"] if n != 0]
    if name == "curves":
        assert args[2][0] == "trial 0, the baseline"


def test_they_can_be_drawn(made: OpenRun, tmp_path: Path) -> None:
    for name in ("history", "gains"):
        getattr(made.plot, name)().savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_before_there_is_anything_to_draw_it_is_said(made: OpenRun, tmp_path: Path) -> None:
    run = OpenRun(runs.create_run(tmp_path, "aug", made.folder.study_file.read_text(), {}))
    for name in DRAWN:
        with pytest.raises(RunError, match=r"no trial has a score yet|no leaderboard\.csv yet"):
            getattr(run.plot, name)()
