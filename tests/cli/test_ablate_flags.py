"""Every flag of `ablate` changes what it does: each has a test that fails where the flag is not passed on."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from commands import Covered, FakeRay

from tune_digits.cli.ablate import main, make_parser, verdict_in_words
from tune_digits.run_lock import hold
from tune_digits.runs import Run
from tune_digits.tune.fold_jobs import FRESH

flags = Covered()
Output = pytest.CaptureFixture[str]


@pytest.fixture
def searched(searched: Path) -> Path:
    """With a trial in the lead that is not the defaults, as the baseline is."""
    board = pd.read_csv(searched / "leaderboard.csv")
    board.sort_values("trial", ascending=False).to_csv(searched / "leaderboard.csv", index=False)
    return searched


def ablate(*words: object) -> int:
    return main([str(word) for word in words])


def table(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "ablation/ablation.csv").set_index("trick")


def trainings(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "ablation").glob("*.npz"))


def cells(run: Path) -> set[tuple[int, int]]:
    """Fold and seed of each training on record."""
    found = (re.search(r"fold(\d+)-seed(\d+)\.npz$", name) for name in trainings(run))
    return {(int(m[1]), int(m[2])) for m in found if m}


def test_every_flag_has_a_test() -> None:
    known = {flag for action in make_parser()._actions for flag in action.option_strings}
    assert known - {"-h", "--help"} == flags.names


@flags("--run")
def test_the_run_is_the_one_named_or_the_latest(searched: Path) -> None:
    shutil.copytree(searched, "other")
    assert ablate("--run", "other") == 0
    assert trainings(Path("other")) and not (searched / "ablation").exists()
    assert ablate() == 0
    assert trainings(searched)


@flags("--trial")
def test_the_configuration_is_that_of_the_best_or_of_the_trial(searched: Path, capsys: Output) -> None:
    sent = 3
    rates = {r.number: f"{r.config.optimizer.lr:.4g}" for r in Run(searched).trials()}
    assert ablate("--dry-run") == 0
    said = capsys.readouterr().out
    assert f"tricks of trial {sent}" in said and rates[sent] in said
    other = 1
    assert ablate("--dry-run", "--trial", other) == 0
    said = capsys.readouterr().out
    assert f"tricks of trial {other}" in said and rates[other] in said and rates[sent] not in said
    assert ablate("--trial", 99) == 2
    assert "--trial 99" in capsys.readouterr().err
    (searched / "leaderboard.csv").unlink()
    assert ablate() == 2
    assert "no leaderboard.csv yet; finish the search" in capsys.readouterr().err


@flags("--tricks")
def test_only_the_tricks_named(searched: Path, capsys: Output) -> None:
    assert ablate("--tricks", "lr") == 0
    assert list(table(searched).index) == ["all tricks", "optimizer.lr"]
    assert ablate("--tricks", "mixup") == 2
    assert "--tricks mixup: this configuration has no such trick" in capsys.readouterr().err


@flags("--folds", "--seeds", "--noise-seeds")
def test_folds_seeds_and_seeds_for_the_noise(searched: Path, capsys: Output) -> None:
    assert ablate("--noise-seeds", 1) == 0
    assert cells(searched) == {(0, 1), (1, 1)}  # the study confirms on two folds, with the seed 0
    assert ablate("--noise-seeds", 1, "--seeds", 2) == 0
    assert cells(searched) == {(f, s) for f in (0, 1) for s in (1, 2)}
    assert ablate("--noise-seeds", 1, "--folds", 3) == 0
    assert cells(searched) == {*((f, s) for f in (0, 1) for s in (1, 2)), (2, 1)}
    assert ablate("--folds", 1) == 0
    assert cells(searched) >= {(0, seed) for seed in range(1, 6)}
    assert ablate("--folds", 4) == 2
    assert "--folds 4: the run has 3" in capsys.readouterr().err


@flags("--budget")
def test_no_more_trainings_than_the_budget(searched: Path, capsys: Output) -> None:
    assert ablate("--noise-seeds", 1, "--budget", 3) == 0
    assert len(trainings(searched)) == 2 and "ends after 1 of 2 rounds" in capsys.readouterr().out
    assert ablate("--budget", 3) == 2
    assert "the first round alone has 6 trainings, of 2 configurations and 4" in capsys.readouterr().err


@flags("--dry-run")
def test_a_dry_run_trains_nothing_and_says_what_there_is_to_train(searched: Path, capsys: Output) -> None:
    assert ablate("--dry-run") == 0
    assert not (searched / "ablation").exists()
    said = capsys.readouterr().out
    assert "2 configurations x 2 folds x 1 seed + 4 for the noise: 8 trainings; about " in said
    assert ablate() == 0
    capsys.readouterr()
    assert ablate("--dry-run") == 0
    assert "8 trainings, 8 of them on record" in capsys.readouterr().out


@flags("--executor", "--max-concurrent", "--cpus-per-trial", "--gpus-per-trial", "--address")
def test_resources_reach_the_executor(searched: Path, ray: FakeRay) -> None:
    how = ("--executor", "ray", "--max-concurrent", 2, "--cpus-per-trial", 1.5, "--gpus-per-trial", 0)
    assert ablate(*how, "--address", "auto") == 0
    ((resources, address),) = ray.asked
    assert address == "auto"
    assert (resources.max_concurrent, resources.cpus_per_trial, resources.gpus_per_trial) == (2, 1.5, 0)


@flags("--stop-at")
def test_it_stops_at_the_time_of_day_that_is_given(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("tune_digits.cli.ablate.stop_in", asked.append)
    assert ablate("--dry-run") == 0
    assert ablate("--dry-run", "--stop-at", "23:59") == 0
    assert asked[0] is None and 0 <= asked[1] <= 86400


@flags("--debug")
def test_debug_shows_where_an_error_comes_from(searched: Path, capsys: Output) -> None:
    for words, shown in (((), False), (("--debug",), True)):
        assert ablate("--trial", 99, *words) == 2
        assert ("Traceback" in capsys.readouterr().err) == shown


def test_the_table_is_shown_as_it_is_written(searched: Path, capsys: Output) -> None:
    assert ablate() == 0
    said, written = capsys.readouterr().out, table(searched)
    row = written.loc["optimizer.lr"]
    assert f"{row['score']:.4f}" in said
    assert f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]" in said
    assert f"varies by {written.loc['all tricks', 'noise']:.4f}" in said
    assert f"with all tricks {written.loc['all tricks', 'score']:.4f}" in said


def test_more_trainings_are_advised_where_there_is_a_number_that_would_do() -> None:
    row = {"verdict": "cannot tell", "more_trainings": 12.0}
    assert verdict_in_words(row) == "cannot tell (~12 more)"
    assert verdict_in_words({**row, "more_trainings": 5e7}) == "cannot tell"
    assert verdict_in_words({"verdict": "cannot tell", "more_trainings": float("nan")}) == "cannot tell"
    assert verdict_in_words({"verdict": "helps", "more_trainings": 0.0}) == "helps"


def test_the_trick_is_really_off_and_the_seeds_are_new(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune_digits.tune import fold_jobs

    asked = []
    train_plans = fold_jobs.train_plans

    def spy(config, data, plans, slots):
        asked.extend((config.optimizer.lr, plan.fold, plan.seed, len(plan.rows)) for plan in plans)
        return train_plans(config, data, plans, slots)

    monkeypatch.setattr(fold_jobs, "train_plans", spy)
    assert ablate("--noise-seeds", 1) == 0
    own = Run(searched).trials()[3].config.optimizer.lr
    assert sorted(asked) == sorted((lr, fold, FRESH + 1, 40) for lr in (own, 2e-3) for fold in (0, 1))


def test_other_data_and_folds_are_refused(searched: Path, capsys: Output) -> None:
    facts = Run(searched).facts()
    changed = {**facts, "data": {**facts["data"], "fingerprint": "other"}}
    (searched / "run.json").write_text(json.dumps(changed))
    assert ablate() == 2
    assert "the data are not those that it was begun with" in capsys.readouterr().err
    (searched / "run.json").write_text(json.dumps({**facts, "training_version": -1}))
    assert ablate() == 2
    assert "a version of this package that trains otherwise" in capsys.readouterr().err


def test_another_command_in_the_run_folder_is_named(searched: Path, capsys: Output) -> None:
    with hold(searched, "search.py --resume", print):
        assert ablate() == 2
    assert "search.py --resume" in capsys.readouterr().err and trainings(searched) == []


def test_the_defaults_have_nothing_to_switch_off(searched: Path, capsys: Output) -> None:
    assert Run(searched).trials()[0].config.optimizer.lr == 2e-3
    assert ablate("--trial", 0) == 0
    assert "trial 0 is the defaults: there is nothing to switch off" in capsys.readouterr().out
    assert not (searched / "ablation").exists()
