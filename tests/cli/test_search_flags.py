"""Every flag of `search` changes what it says: each has a test that fails where the flag is not passed on."""

from __future__ import annotations

import gc
import json
import shlex
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import (
    ROWS,
    Covered,
    FakeRay,
    board,
    contents,
    facts,
    folds,
    records,
    search,
    study,
    table,
    write_study,
)

from tune_digits.cli.common import parse_seconds
from tune_digits.cli.search import FLAGS, RESUMABLE, load, main, make_parser, prepare
from tune_digits.data.dataset import Task
from tune_digits.data.load import load_task
from tune_digits.runs import Run
from tune_digits.screen import Screen
from tune_digits.tune import search as tune_search

flags = Covered()
Output = pytest.CaptureFixture[str]


def test_every_flag_has_a_test() -> None:
    known = {flag for action in make_parser()._actions for flag in action.option_strings}
    assert known - {"-h", "--help"} == flags.names


def run(*args: object, code: int = 0) -> Path:
    """Search into the folder `run`; its path."""
    assert search("--space", "small.yaml", "--run-dir", "run", *args) == code
    return Path("run")


def refused(capsys: Output, *args: object) -> str:
    """What is said of flags that end with code 2 before there is a run folder."""
    run(*args, code=2)
    assert not Path("run").exists()
    err = str(capsys.readouterr().err)
    assert err.startswith("error: ") and "Traceback" not in err
    return err


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
def test_subset_is_searched_on(here: Path) -> None:
    path = run("--subset", 30, "--confirm-folds", 3)
    rows = np.concatenate(validating(path))
    assert sorted(rows) == list(range(30))
    assert facts(path)["data"]["rows"] == ROWS


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


@flags("--subset")
def test_rows_that_are_not_searched_on_are_let_go(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = []

    def watched(*args: Any) -> Task:
        task = load_task(*args)
        images.append(weakref.ref(task.train.images))
        return task

    monkeypatch.setattr("tune_digits.data.load.load_task", watched)
    args = make_parser().parse_args(["--space", "small.yaml", "--subset", "30"])
    study, _ = load(args)
    prepared = prepare(study, None, args, Screen())
    gc.collect()
    assert len(prepared.task.train) == 30
    assert [image() for image in images] == [None]


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
        "on 30 of them",
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


# ── where, and on what ───────────────────────────────────────────────────────────────────────────────


@flags("--run-dir")
def test_the_run_folder_can_be_named_and_is_never_overwritten(here: Path, capsys: Output) -> None:
    path = run()
    assert [trial.number for trial in records(path)] == [0, 1]
    assert (here / "runs/latest").resolve() == (here / "run")
    before = contents(here)
    run(code=2)
    assert "run" in capsys.readouterr().err
    assert contents(here) == before


@flags("--strict")
def test_strict_refuses_what_is_otherwise_a_warning(here: Path, capsys: Output) -> None:
    rows = table(ROWS)
    rows.iloc[1] = rows.iloc[0]
    rows.to_csv(here / "halves/train.csv", index=False)
    assert "1 training image(s) repeat" in refused(capsys, "--strict")
    run()
    assert "! 1 training image(s) repeat" in capsys.readouterr().out


@flags("--cpus-per-trial")
def test_cpus_per_trial(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_digits.execute.inline.available_cores", lambda: 4)
    path = run("--cpus-per-trial", 3)
    assert study(path)["resources"]["cpus_per_trial"] == 3
    assert facts(path)["slots"] == "1 at once, 3 CPU each"
    assert search("--space", "small.yaml", "--cpus-per-trial", 5) == 2
    assert "4 cores" in capsys.readouterr().err


@flags("--gpus-per-trial")
def test_gpus_per_trial(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_digits.execute.inline.gpus_here", lambda: 0)
    assert "0.5" in refused(capsys, "--gpus-per-trial", 0.5)
    assert study(run("--gpus-per-trial", 0))["resources"]["gpus_per_trial"] == 0


@flags("--executor")
def test_the_executor_is_the_one_named(here: Path, ray: FakeRay) -> None:
    run()
    assert ray.asked == []
    write_study(here / "small.yaml", data={"path": "halves"}, resources={"executor": "ray"})
    assert search("--space", "small.yaml", "--executor", "inline") == 0
    assert ray.asked == []
    assert search("--space", "small.yaml", "--executor", "ray") == 0
    assert len(ray.asked) == 1


@flags("--max-concurrent")
def test_max_concurrent_reaches_the_executor(here: Path, ray: FakeRay) -> None:
    path = run("--max-concurrent", 1, "--executor", "ray")
    ((resources, _),) = ray.asked
    assert resources.max_concurrent == study(path)["resources"]["max_concurrent"] == 1


@flags("--address")
def test_the_address_of_a_cluster_is_joined(here: Path, capsys: Output, ray: FakeRay) -> None:
    run("--executor", "ray")
    assert search("--space", "small.yaml", "--executor", "ray", "--address", "head:6379") == 0
    assert [address for _, address in ray.asked] == [None, "head:6379"]
    capsys.readouterr()
    assert search("--space", "small.yaml", "--address", "head:6379") == 2
    message = capsys.readouterr().err
    assert "--address" in message and "inline" in message


@flags("--address")
def test_how_busy_this_machine_is_matters_only_to_trainings_on_it(
    here: Path, capsys: Output, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_digits.machine.work_of_others", lambda: 64.0)
    run("--executor", "ray")
    assert "load 64.0" in capsys.readouterr().out
    assert search("--space", "small.yaml", "--executor", "ray", "--address", "head:6379") == 0
    assert "load 64.0" not in capsys.readouterr().out


@flags("--dry-run")
def test_a_dry_run_prints_the_study_and_writes_nothing(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(here)
    monkeypatch.setattr("tune_digits.tune.prepare.start_and_read", None)
    assert search("--space", "small.yaml", "--dry-run", "--trials", 7, "--set", "optimizer.lr=0.02") == 0
    out = capsys.readouterr().out
    assert "7 trials of up to 1 epochs, 3 folds" in out
    assert "lr: 0.02" in out
    assert contents(here) == before and not (here / "runs").exists()


@flags("--debug")
def test_debug_shows_the_traceback_of_a_mistake(here: Path, capsys: Output) -> None:
    assert "Traceback" not in refused(capsys, "--data", "nowhere")
    run("--data", "nowhere", "--debug", code=2)
    assert "Traceback" in capsys.readouterr().err


# ── taking a run up again ────────────────────────────────────────────────────────────────────────────


@flags("--resume")
def test_a_finished_run_is_not_trained_again(here: Path) -> None:
    path = run()
    before = contents(path)
    assert search("--resume", path) == 0
    assert contents(path) == before


@flags("--resume", "--subset")
def test_a_search_on_a_subset_goes_on(here: Path) -> None:
    path = run("--subset", 30)
    assert search("--resume", path, "--trials", 3) == 0
    assert len(records(path)) == 3


@flags("--resume")
def test_without_a_folder_the_latest_run_goes_on(here: Path) -> None:
    old = run()
    assert search("--space", "small.yaml", "--run-dir", "new") == 0
    assert search("--resume", "--trials", 3) == 0
    assert len(records(old)) == 2 and len(records(here / "new")) == 3


@flags("--resume")
def test_the_run_that_goes_on_is_the_latest_and_is_named_as_it_was_given(here: Path, capsys: Output) -> None:
    old = run()
    assert search("--space", "small.yaml", "--run-dir", "new") == 0
    assert (here / "runs/latest").resolve() == here / "new"
    capsys.readouterr()
    assert search("--resume", old) == 0
    assert (here / "runs/latest").resolve() == here / "run"
    out = capsys.readouterr().out
    assert f"run folder: {old} " in out
    assert f"ensemble.py --run {old} --top 1\n" in out
    assert str(here) not in out


@flags("--resume")
def test_what_may_change_when_a_run_goes_on(here: Path) -> None:
    path = run()
    fewer = {"--max-concurrent": 1, "--cpus-per-trial": 1, "--gpus-per-trial": 0, "--executor": "inline"}
    more = {"--trials": 4, "--candidates": 4, "--time-budget": "1h"}
    assert set(fewer | more) == {"--" + flag.replace("_", "-") for flag in RESUMABLE}
    assert search("--resume", path, *(word for pair in (fewer | more).items() for word in pair)) == 0
    assert len(records(path)) == len(board(path)) == 4
    assert search("--resume", path, "--set", "search.trials=5") == 0
    assert len(records(path)) == 5


@flags("--resume")
def test_what_may_not_change_is_refused(here: Path, capsys: Output) -> None:
    path = run()
    fixed = {
        **{"--data": "halves", "--subset": 30, "--folds": 3, "--groups": "writer", "--seed": 0},
        **{"--confirm-folds": 2, "--epochs": 1, "--space": "small.yaml", "--run-dir": "other"},
    }
    assert set(fixed) == {
        "--" + f.replace("_", "-") for f in (*FLAGS, "space", "run_dir") if f not in RESUMABLE
    }
    before = contents(here)
    for flag, value in {**fixed, "--set": "model.width=6"}.items():
        assert search("--resume", path, flag, value) == 2
        assert f"{flag} " in capsys.readouterr().err.replace(",", " ").partition("--trials")[0]
    assert contents(here) == before


@flags("--resume", "--dry-run")
def test_a_dry_run_of_a_run_that_would_go_on(here: Path, capsys: Output) -> None:
    path = run()
    before = contents(here)
    assert search("--resume", path, "--trials", 9, "--dry-run") == 0
    assert "9 trials" in capsys.readouterr().out
    assert contents(here) == before


@flags("--resume")
def test_no_run_to_go_on_with(here: Path, capsys: Output) -> None:
    for where in ((), ("nowhere",)):
        assert search("--resume", *where) == 2
        assert "no run folder" in capsys.readouterr().err


@flags("--resume", "--strict", "--address")
@pytest.mark.parametrize("where", ["search", "confirm"])
def test_a_stopped_search_says_which_command_goes_on_and_it_does(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, where: str, ray: FakeRay
) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    original = f"tune_digits.tune.{where}.run_{where}"
    flags_given = ["--executor", "ray", "--address", "head:6379"]
    with monkeypatch.context() as patched:
        patched.setattr(original, stopped)
        # what the study file has from its flags is not said again: --resume would refuse it
        run(*flags_given, "--seed", 3, "--set", "model.width=6", code=130)
        command = last_command(capsys)
        assert command == ["--resume", "run", "--address", "head:6379"]
        # and so where that one is stopped in turn
        more = ["--trials", "3", "--time-budget", "3600.0", "--set", "confirm.candidates=3"]
        assert main([*command, *more]) == 130
        assert last_command(capsys) == [*command, *more]
    assert main([*command, *more]) == 0
    assert len(records(Path("run"))) == len(board(Path("run"))) == 3
    assert {address for _, address in ray.asked} == {"head:6379"}


def last_command(capsys: Output) -> list[str]:
    """The flags of the search.py command that was printed last."""
    out = capsys.readouterr().out
    python, script, *words = shlex.split(out[out.rindex("python scripts/") :])
    assert (python, script) == ("python", "scripts/search.py")
    return words


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
