"""Short tries: --smoke, numbers that follow the flags, grids, and the help."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import (
    Covered,
    ensemble,
    folds,
    records,
    run,
    search,
    write_data,
    write_study,
)

from tune_digits.cli.search import load, make_parser

SPACES = Path(__file__).parent.parent.parent / "search_spaces"
flags = Covered()
Output = pytest.CaptureFixture[str]


@flags("--smoke")
def test_smoke_goes_through_all_phases_on_very_little(here: Path, capsys: Output) -> None:
    write_data(here / "many", rows=600)
    path = run("--smoke", "--data", "many", "--set", "search.grace_period=1")
    out = capsys.readouterr().out
    assert "trainings take 200 of the rows" in out and "search: 2/2" in out and "--run run --top 1\n" in out
    assert {trial.config.train.epochs for trial in records(path)} == {1}
    assert {result.fold for result in folds(path)} == {0, 1}
    assert {len(result.valid_idx) for result in folds(path)} == {200}  # of 300
    assert ensemble("--run", path) == 0


@flags("--smoke")
def test_flags_win_over_smoke_and_mistakes_name_it(here: Path, capsys: Output) -> None:
    flags_given = ("--smoke", "--trials", 3, "--set", "train.epochs=2", "--folds", 3, "--dry-run")
    assert search("--space", "kannada", *flags_given) == 0
    out = capsys.readouterr().out
    assert "3 trials of up to 2 epochs, 3 folds" in out
    assert "--set train.epochs=2: search.grace_period is 2 instead of 4" in out
    assert search("--space", "small.yaml", "--smoke", "--set", "search.fold=5") == 2
    assert "--set search.fold=5" in capsys.readouterr().err
    too_long = ("--set", "ensemble.top=0")
    assert search("--space", "small.yaml", "--smoke", *too_long) == 2
    assert "--set ensemble.top=0" in capsys.readouterr().err


@pytest.mark.parametrize("space", sorted(str(p.relative_to(SPACES))[:-5] for p in SPACES.rglob("*.yaml")))
def test_smoke_is_a_valid_study_of_every_space(space: str) -> None:
    args = make_parser().parse_args(["--space", str(SPACES / f"{space}.yaml"), "--smoke"])
    smoked, _ = load(args)
    assert (smoked.search.trials, smoked.epochs, smoked.search.grace_period) == (2, 1, 1)
    assert (smoked.ensemble.top, smoked.ensemble.members) == (1, None)


def test_help_shows_the_values_of_the_space_that_would_run(here: Path, capsys: Output) -> None:
    for words, shown, not_shown in (
        ((), "(aug: 24)", "kannada"),
        (("--space", "kannada"), "(kannada: 12)", "aug:"),
    ):
        with pytest.raises(SystemExit, match="0"):
            search("--help", *words)
        out = capsys.readouterr().out
        assert shown in out and not_shown not in out
    assert search("--help", "--space", "kanada") == 2
    assert "did you mean 'kannada'" in capsys.readouterr().err


def test_the_first_try_of_anybody_is_not_refused(here: Path, capsys: Output) -> None:
    assert search("--space", "aug", "--trials", 2, "--epochs", 1, "--dry-run") == 0
    assert "--epochs 1: search.grace_period is 1 instead of 6" in capsys.readouterr().out


def test_a_grid_is_announced_and_each_point_trained_once(here: Path, capsys: Output) -> None:
    lr = '{"choice": [0.001, 0.002, 0.01]}'
    grid = ("--set", "search.sampler=grid", "--set", f"optimizer.lr={lr}")
    write_study(here / "grid.yaml", data={"path": "halves"}, search={"startup_trials": 2})
    text = (here / "grid.yaml").read_text().replace("  trials: 2\n", "")
    (here / "grid.yaml").write_text(text)
    assert search("--space", "grid.yaml", "--run-dir", "run", *grid) == 0
    assert "grid: 3 points, each trained once\n" in capsys.readouterr().out
    assert [trial.config.optimizer.lr for trial in records(here / "run")] == [0.002, 0.001, 0.01]
    assert search("--space", "grid.yaml", "--run-dir", "some", "--trials", 2, *grid) == 0
    assert "grid: the first 2 of 3 points\n" in capsys.readouterr().out
    assert search("--resume", "some", "--trials", 3) == 0
    assert [trial.config.optimizer.lr for trial in records(here / "some")] == [0.002, 0.001, 0.01]
