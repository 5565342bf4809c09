"""Every flag of `search` changes what it says: each has a test that fails where the flag is not passed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import (
    ROWS,
    Covered,
    board,
    facts,
    folds,
    records,
    refused,
    run,
    search,
    study,
    table,
    write_study,
)

from tune_digits.cli.common import parse_seconds
from tune_digits.cli.search import make_parser
from tune_digits.learn import fit
from tune_digits.runs import Run
from tune_digits.tune import search as tune_search

flags = Covered()
Output = pytest.CaptureFixture[str]


def test_every_flag_has_a_test() -> None:
    known = {flag for action in make_parser()._actions for flag in action.option_strings}
    tested = [Covered.in_file(path) for path in Path(__file__).parent.glob("test_search_*.py")]
    assert known - {"-h", "--help"} == set.union(*tested)


def validating(path: Path) -> list[np.ndarray]:
    """The rows that validate in each fold of the baseline."""
    return [result.valid_idx for result in folds(path) if result.trial == 0]


# ── what is searched ─────────────────────────────────────────────────────────────────────────────────


@flags("--space")
def test_space_names_the_study_file(here: Path, capsys: Output) -> None:
    assert search("--space", "bn", "--dry-run") == 0
    assert "name: bn\n" in capsys.readouterr().out
    assert search("--dry-run") == 0
    assert "name: aug\n" in capsys.readouterr().out
    assert search("--space", "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err
    write_study(here / "other.yaml", search={"trials": 3}, data={"path": "halves"})
    assert search("--space", "other.yaml") == 0
    (path,) = here.glob("runs/2*-other")
    assert len(records(path)) == 3


@flags("--data")
def test_data_names_what_is_trained_on(here: Path) -> None:
    (here / "more").mkdir()
    table(40).to_csv(here / "more/train.csv", index=False)
    path = run("--data", "more")
    assert facts(path)["data"]["rows"] == 40
    assert study(path)["data"]["path"] == str(here / "more"), "so that it can be taken up from anywhere"


@flags("--subset")
def test_a_subset_is_trained_on_and_all_rows_judge(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    real = fit.start_training

    def watched(config: Any, images: Any, rows: np.ndarray, *rest: Any) -> Any:
        trained.append(rows)
        return real(config, images, rows, *rest)

    monkeypatch.setattr("tune_digits.learn.fit.start_training", watched)
    path = run("--subset", 30, "--confirm-folds", 3)
    assert sorted(np.concatenate(validating(path))) == list(range(ROWS))
    assert facts(path)["data"]["rows"] == ROWS
    searched, confirmed = trained[:2], trained[2:]
    assert all(len(rows) <= 30 and set(rows) < set(np.concatenate(confirmed)) for rows in searched)
    assert len(set(np.concatenate(confirmed))) == 30


@flags("--folds")
def test_folds_divide_the_rows(here: Path) -> None:
    path = run("--folds", 5, "--confirm-folds", 5)
    assert [len(rows) for rows in validating(path)] == [ROWS // 5] * 5


@flags("--groups")
def test_groups_by_a_column_validate_together(here: Path) -> None:
    writers = table(ROWS)["writer"].to_numpy()
    path = run("--groups", "writer", "--confirm-folds", 3)
    parts = [set(writers[rows]) for rows in validating(path)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == ROWS // 10
    plain = here / "plain"
    assert search("--space", "small.yaml", "--run-dir", plain, "--confirm-folds", 3) == 0
    assert any(len(set(writers[rows])) > 2 for rows in validating(plain)), "by chance they do not"


@flags("--groups")
def test_groups_of_so_many_rows_validate_together(here: Path) -> None:
    path = run("--groups", 4, "--confirm-folds", 3)
    parts = [set(rows // 4) for rows in validating(path)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == ROWS // 4


@flags("--groups")
def test_groups_that_are_not_there_are_refused(here: Path, capsys: Output) -> None:
    assert "nobody" in refused(capsys, "--groups", "nobody")


@flags("--set")
def test_the_fold_that_trials_train_on_is_the_studys(here: Path) -> None:
    losses = []
    for fold in (0, 1):
        path = here / str(fold)
        assert search("--space", "small.yaml", "--run-dir", path, "--set", f"search.fold={fold}") == 0
        losses.append([epoch["train_loss"] for epoch in Run(path).epochs(0)])
    assert losses[0] != losses[1]


@flags("--set")
def test_set_reaches_any_key_over_all_else(here: Path, capsys: Output) -> None:
    path = run(
        "--set", "model.width=6", "--set", "confirm.seeds=2", "--trials", 3, "--set", "search.trials=1"
    )
    (trial,) = records(path)
    assert trial.config.model.width == 6
    assert {result.seed for result in folds(path)} == {0, 1}
    for wrong in ("nonsense", "=3", "model.width=: :"):
        assert search("--space", "small.yaml", "--set", wrong) == 2
        assert f"--set {wrong.partition('=')[0]}" in capsys.readouterr().err


@flags("--data")
def test_without_data_the_bundled_digits_are_searched(here: Path, capsys: Output) -> None:
    write_study(here / "digits.yaml")
    assert search("--space", "digits.yaml", "--trials", 1, "--subset", 60) == 0
    assert "--data" in capsys.readouterr().out
    assert facts(here / "runs/latest")["data"]["rows"] == 1437


def test_what_a_search_says_and_keeps_of_itself(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/search.py", "--subset", "30"])
    path = run("--subset", 30)
    out = capsys.readouterr().out
    told = [
        "60 train, 20 test",
        "trainings take 30 of the rows",
        "3 folds, stratified",
        "1 at once, 1 CPU each",
        "run folder: run ",
    ]
    told += [
        "search: 2/2",
        "confirm: 2/2",
        "0 baseline",
        f"leaderboard: {path}/leaderboard.csv",
        "--run run --top 1",
    ]
    places = [out.index(words) for words in told]
    assert places == sorted(places)
    assert facts(path)["command"] == "python scripts/search.py --subset 30"
    assert list(Path("runs/.cache").iterdir()), "parsed tables are kept for the next search"


# ── how much ─────────────────────────────────────────────────────────────────────────────────────────


@flags("--trials")
def test_trials_are_so_many(here: Path) -> None:
    assert [trial.number for trial in records(run("--trials", 4))] == [0, 1, 2, 3]


@flags("--epochs")
def test_epochs_are_trained(here: Path) -> None:
    path = run("--epochs", 3)
    assert records(path)[0].epochs == len(Run(path).epochs(0)) == 3


@flags("--time-budget")
def test_a_time_budget_ends_the_search(here: Path) -> None:
    # code 2 where not even the first trial came to start
    flags_given = ("--time-budget", "0.01s", "--trials", 500)
    assert search("--space", "small.yaml", "--run-dir", "run", *flags_given) in (0, 2)
    assert len(records(Path("run"))) < 50
    assert study(Path("run"))["search"]["time_budget"] == 0.01


def test_times_have_units() -> None:
    times = {"90": 90, "90s": 90, "20m": 1200, "1.5h": 5400, "2d": 172800}
    assert {text: parse_seconds(text) for text in times} == times


@flags("--time-budget")
@pytest.mark.parametrize("budget", ["soon", "", "s", "0", "-1m", "nan", "infh"])
def test_a_time_budget_that_is_none_is_refused(budget: str, capsys: Output) -> None:
    with pytest.raises(SystemExit, match="2"):
        search("--time-budget", budget)
    assert "--time-budget" in capsys.readouterr().err


@flags("--candidates")
def test_candidates_are_confirmed_and_the_baseline_joins_them(here: Path) -> None:
    path = run("--trials", 4, "--candidates", 3)
    scores = {trial.number: (-(trial.score or 0), trial.number) for trial in records(path)}
    best = sorted(scores, key=scores.__getitem__)[:3]
    assert set(board(path)["trial"]) == {0, *best}


@flags("--confirm-folds")
def test_confirm_folds_are_so_many(here: Path) -> None:
    path = run("--confirm-folds", 1)
    assert {result.fold for result in folds(path)} == {0}
    assert set(board(path)["folds"]) == {1}


@flags("--confirm-budget")
def test_the_confirmation_is_a_race_with_a_budget(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run("--trials", 3, "--candidates", 3, "--confirm-budget", 7)
    assert len(folds(path)) in (6, 7) and study(path)["confirm"]["budget"] == 7
    assert "race: " in capsys.readouterr().out and "left" in board(path)
    assert search("--space", "small.yaml", "--run-dir", "timed", "--confirm-budget", "1s") == 0
    assert study(Path("timed"))["confirm"]["budget"] == "1s"
    for wrong in ("0", "x", "-3m"):
        with pytest.raises(SystemExit, match="2"):
            search(f"--confirm-budget={wrong}")


@flags("--seed")
def test_the_seed_reaches_proposals_and_trainings(here: Path) -> None:
    def outcome(seed: int) -> list[object]:
        path = here / str(seed)
        assert search("--space", "small.yaml", "--run-dir", path, "--seed", seed) == 0
        assert facts(path)["seed"] == study(path)["search"]["seed"] == seed
        losses = [epoch["train_loss"] for epoch in Run(path).epochs(0)]
        return [losses, records(path)[1].config.optimizer.lr]

    (first, one), (second, other) = outcome(1), outcome(2)
    assert first != second and one != other


def test_the_fold_that_the_study_names_is_searched(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    real = tune_search.run_search

    def spy(study: Any, run: Any, data: Any, fold: Any, *rest: Any) -> Any:
        searched.append(fold.index)
        return real(study, run, data, fold, *rest)

    monkeypatch.setattr(tune_search, "run_search", spy)
    assert search("--space", "small.yaml", "--set", "search.fold=1", "--run-dir", "run") == 0
    assert searched == [1]


def test_run_json_says_the_seed_also_where_no_flag_does(here: Path) -> None:
    assert search("--space", "small.yaml", "--set", "search.seed=6", "--run-dir", "run") == 0
    assert json.loads((here / "run/run.json").read_text())["seed"] == 6
