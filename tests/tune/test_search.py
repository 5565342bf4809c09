"""The search, whole, in this process: real Optuna, ASHA, networks and files, and no Ray."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from run_samples import INLINE, MADE_FROM, folds_of, halves_task, searched_run, small_study, told
from run_samples import record as trial_record

from tune_digits import runs
from tune_digits.config import TrialConfig
from tune_digits.errors import RunError
from tune_digits.execute import inline
from tune_digits.execute.executor import TrialRun
from tune_digits.execute.inline import InlineExecutor
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.metrics import metric_of
from tune_digits.runs import Run
from tune_digits.tune.search import state_at_end
from tune_digits.tune.training import train, training_data

TASK = halves_task()


def test_records_journal_and_epochs_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_digits.tune.training.SAVE_EVERY", 0.0)
    study = small_study(search={"trials": 5, "startup_trials": 2, "grace_period": 1, "reduction_factor": 2})
    run, records = searched_run(tmp_path, study, TASK)
    assert [r.number for r in records] == list(range(5))
    assert records == run.trials()
    assert [r.role for r in records] == ["baseline"] + ["search"] * 4
    assert {"finished", "pruned"} == {r.state for r in records}
    for record, trial in zip(records, told(run, study), strict=True):
        epochs = run.epochs(record.number)
        assert [e["epoch"] for e in epochs] == list(range(1, record.epochs + 1))
        assert trial.intermediate_values == {e["epoch"]: e["score"] for e in epochs}
        assert record.score == epochs[-1]["score"]
        assert record.best_score == max(e["score"] for e in epochs)
        assert record.seconds == pytest.approx(sum(e["seconds"] + e["valid_seconds"] for e in epochs))
        assert record.fingerprints == MADE_FROM
        assert record.searched == {"optimizer.lr": record.config.optimizer.lr}
        assert json.loads(trial.user_attrs["config"])["optimizer"]["lr"] == record.config.optimizer.lr
        assert (record.state == "finished") == (record.epochs == 4) == (trial.state == TrialState.COMPLETE)
        assert not run.trial_state(record.number).exists()  # it was saved after every epoch
    assert len({r.config.optimizer.lr for r in records}) == 5


def test_a_trial_is_one_training_of_the_studys_fold_by_hand(tmp_path: Path) -> None:
    """Each recorded epoch comes out of the library again: rows, validation rows, seed and fold are the study's."""
    study = small_study(search={"trials": 1, "grace_period": 4, "fold": 1, "seed": 5})
    run, (record,) = searched_run(tmp_path, study, TASK)
    fold = folds_of(study, TASK)[1]
    data = training_data(TASK.train, metric_of(study.cv, TASK.targets))
    reports = [
        report
        for report, _, _ in train(
            record.config, data, fold.train_idx, fold.valid_idx, seed=5, fold=1, slots=INLINE.slots
        )
    ]
    timed = {"seconds", "valid_seconds", "images_per_second"}
    for recorded, report in zip(run.epochs(0), reports, strict=True):
        told = asdict(report)
        assert {k: v for k, v in recorded.items() if k not in timed} == {
            k: v for k, v in told.items() if k not in timed
        }


def test_a_kill_before_optuna_hears_of_an_end_leaves_no_trial_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(search={"trials": 2, "grace_period": 4})

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tune_digits.tune.searcher.OptunaTrials.end", killed)
        with pytest.raises(KeyboardInterrupt):
            searched_run(tmp_path, study, TASK)
    run, records = searched_run(tmp_path, study, TASK, resume=True)
    assert [r.state for r in records] == ["finished"] * 2
    assert [t.state for t in told(run, study)] == [TrialState.COMPLETE] * 2


def test_a_trial_that_stops_early_has_ended_and_is_complete_to_optuna(tmp_path: Path) -> None:
    study = small_study(
        {"train": {"epochs": 30, "batch_size": 20, "early_stopping": 2}},
        search={"trials": 1, "grace_period": 30},
    )
    run, (record,) = searched_run(tmp_path, study, TASK)
    assert record.state == "ended"
    assert record.error is None
    assert 3 <= record.epochs < 30
    (trial,) = told(run, study)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, record.score)


@pytest.mark.parametrize("keep", ["best_score", "best_loss"])
def test_a_trial_has_the_score_of_the_epoch_that_it_keeps(tmp_path: Path, keep: str) -> None:
    unsteady = {
        "optimizer": {"name": "sgd", "lr": {"uniform": [30.0, 45.0]}, "momentum": 0.95},
        "schedule": {"name": "constant"},
        "train": {"epochs": 6, "batch_size": 20, "keep": keep},
    }
    study = small_study(unsteady, search={"trials": 2, "grace_period": 6})
    run, records = searched_run(tmp_path, study, TASK)
    for record, trial in zip(records, told(run, study), strict=True):
        epochs = run.epochs(record.number)
        least = min(epochs, key=lambda e: e["valid_loss"])
        most = max(epochs, key=lambda e: e["score"])
        kept = most if keep == "best_score" else least
        assert record.score == kept["score"] == trial.value
        assert record.best_score == most["score"]
    assert any(r.score != run.epochs(r.number)[-1]["score"] for r in records)


def test_a_loss_that_is_no_longer_finite_ends_a_trial_in_words(tmp_path: Path) -> None:
    trial = {
        "optimizer": {"name": "sgd", "lr": {"loguniform": [1e28, 1e30]}},
        "schedule": {"name": "constant"},
    }
    study = small_study(trial, search={"trials": 1, "grace_period": 4})
    _, (record,) = searched_run(tmp_path, study, TASK)
    assert record.state == "ended"
    assert record.score == 0
    assert f"no longer finite in epoch {record.epochs} of 4" in record.error


def test_how_a_trial_came_to_its_end() -> None:
    config = TrialConfig.model_validate({"train": {"epochs": 3, "early_stopping": 1}}).train

    def history(*scores: float, loss: float = 0.1) -> list[EpochReport]:
        return [EpochReport(i, loss, 0.1, s, 0.1, 1.0, 0.1, 10.0) for i, s in enumerate(scores, start=1)]

    assert state_at_end(history(0.1, 0.2, 0.3), config) == "finished"
    assert state_at_end(history(0.1, 0.2), config) == "pruned"
    assert state_at_end(history(0.2, 0.1), config) == "ended"
    assert state_at_end(history(0.2, loss=math.nan), config) == "ended"
    assert state_at_end(history(0.1, 0.2, 0.3, loss=math.inf), config) == "ended"


class Interrupted(InlineExecutor):
    """As a command that is killed after so many reports of all trials together."""

    def __init__(self, reports: int) -> None:
        super().__init__(INLINE.slots)
        object.__setattr__(self, "reports", reports)

    def run_trials(self, run: TrialRun) -> None:
        count = 0

        def train(*args: Any) -> Any:
            nonlocal count
            for report in run.train(*args):
                if count == self.reports:
                    raise KeyboardInterrupt
                count += 1
                yield report

        values = {name: getattr(run, name) for name in TrialRun.__dataclass_fields__}
        super().run_trials(TrialRun(**{**values, "train": train}))


@pytest.mark.parametrize("reports", [0, 1, 5, 9])
def test_an_interrupted_search_goes_on_to_the_same_end(
    tmp_path: Path, reports: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_digits.tune.training.SAVE_EVERY", 0.0)
    search = {"trials": 4, "startup_trials": 4, "grace_period": 1, "reduction_factor": 2}
    study = small_study(search=search)
    _, whole = searched_run(tmp_path / "whole", study, TASK)
    with pytest.raises(KeyboardInterrupt):
        searched_run(tmp_path / "killed", study, TASK, Interrupted(reports))
    run, records = searched_run(tmp_path / "killed", study, TASK, resume=True)

    def without_time(record: runs.TrialRecord) -> tuple[Any, ...]:
        return record.number, record.state, record.role, record.epochs, record.score, record.best_score

    # the baseline and what was running are the same to the last digit; later proposals come from another seed
    begun = 1 + reports // 4
    assert [without_time(r) for r in records[:begun]] == [without_time(r) for r in whole[:begun]]
    assert [r.number for r in records] == [0, 1, 2, 3]
    assert all(r.state in ("finished", "pruned") for r in records)
    assert [t.state.is_finished() for t in told(run, study)] == [True] * 4


def test_a_trial_that_is_taken_up_again_is_done_when_it_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = small_study(search={"trials": 2, "grace_period": 4})
    with pytest.raises(KeyboardInterrupt):
        searched_run(tmp_path, study, TASK, Interrupted(5))  # in the second one
    searched_run(tmp_path, study, TASK, resume=True)
    assert "search: 2/2 done" in capsys.readouterr().out


def test_a_resumed_search_judges_new_trials_by_the_old_ones(tmp_path: Path) -> None:
    search = {"trials": 1, "grace_period": 1, "reduction_factor": 2}
    good = small_study({"optimizer": {"name": "adamw", "lr": {"uniform": [0.01, 0.011]}}}, search=search)
    run, _ = searched_run(tmp_path, good, TASK)
    # the same run goes on with rates at which nothing is learnt: their first rung is compared with the recorded one
    bad = small_study(
        {"optimizer": {"name": "adamw", "lr": {"uniform": [1e-7, 2e-7]}}}, search={**search, "trials": 2}
    )
    _, records = searched_run(tmp_path, bad, TASK, resume=True)
    assert [r.state for r in records] == ["finished", "pruned"]
    assert run.trials()[0] == records[0]


class Asking(InlineExecutor):
    """Trains nothing, but asks the scheduler what it would say to a new trial with this score in its first epoch."""

    def __init__(self, score: float) -> None:
        super().__init__(INLINE.slots)
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "said", [])

    def run_trials(self, run: TrialRun) -> None:
        self.said.append(run.scheduler.stops(2, {"epoch": 1, "score": self.score}))


def test_the_last_epoch_of_a_trial_that_is_not_over_is_not_among_the_recorded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports it once more when it is taken up again, and is judged by it then."""
    # these trials are made up, and no journal knows of them
    monkeypatch.setattr("tune_digits.tune.search.check_agrees", lambda *_: None)
    study = small_study(search={"trials": 3, "grace_period": 1, "reduction_factor": 2})
    run = runs.create_run(tmp_path, study.name, study.to_yaml(), {})
    for number, state, score in ((0, "finished", 0.9), (1, "running", 0.1)):
        run.write_trial(trial_record(number, score, epochs=1, state=state))
        run.append_epoch(number, {"epoch": 1, "score": score})
    executor = Asking(0.6)  # better than the mean of both, but not than the one that is over
    searched_run(tmp_path, study, TASK, executor, resume=True)
    assert executor.said == [True]


def test_the_trials_left_out_of_a_resumed_search_are_not_trained_again(tmp_path: Path) -> None:
    study = small_study(search={"trials": 2, "grace_period": 4})
    _, records = searched_run(tmp_path, study, TASK)
    _, again = searched_run(tmp_path, study, TASK, resume=True)
    assert again == records


def test_where_every_trial_fails_the_reason_is_said(tmp_path: Path) -> None:
    def broken(number: int, config: Any, shared: Any) -> Any:
        raise RuntimeError("the disk is on fire")
        yield

    class Broken(InlineExecutor):
        def run_trials(self, run: TrialRun) -> None:
            values: Mapping[str, Any] = {n: getattr(run, n) for n in TrialRun.__dataclass_fields__}
            super().run_trials(TrialRun(**{**values, "train": broken}))

    study = small_study(search={"trials": 2, "grace_period": 4})
    with pytest.raises(RunError, match=r"no trial reported a score\. RuntimeError: the disk is on fire"):
        searched_run(tmp_path, study, TASK, Broken(INLINE.slots))
    (run,) = tmp_path.glob("2*-small")
    assert [r.state for r in Run(run).trials()] == ["failed"] * 2
    assert [t.state for t in told(Run(run), study)] == [TrialState.FAIL] * 2


def test_a_time_budget_leaves_trials_unjudged_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = itertools.count()  # a clock that advances by a second each time it is looked at
    monkeypatch.setattr(inline, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    study = small_study(search={"trials": 50, "grace_period": 4, "time_budget": 8.0})
    run, records = searched_run(tmp_path, study, TASK)
    # looked at for the budget's start, before each trial and after each epoch but a trial's last
    assert [(r.state, len(run.epochs(r.number))) for r in records] == [("finished", 4), ("running", 3)]
    assert "trials 1 were cut off" in capsys.readouterr().out
    assert not told(run, study)[-1].state.is_finished()


def test_the_seed_of_the_study_reaches_proposals_and_trainings(tmp_path: Path) -> None:
    def lrs_and_scores(seed: int, folder: str) -> list[tuple[float, float]]:
        study = small_study(search={"trials": 2, "grace_period": 4, "seed": seed})
        _, records = searched_run(tmp_path / folder, study, TASK)
        run = next((tmp_path / folder).glob("2*-small"))
        losses = [Run(run).epochs(r.number)[0]["train_loss"] for r in records]
        return list(zip([r.config.optimizer.lr for r in records], losses, strict=True))

    first, again, other = lrs_and_scores(0, "a"), lrs_and_scores(0, "b"), lrs_and_scores(1, "c")
    assert first == again
    assert first[1][0] != other[1][0]  # what is proposed
    assert first[0][0] == other[0][0]
    assert first[0][1] != other[0][1]  # how the baseline trains


def test_a_resumed_search_proposes_other_configurations(tmp_path: Path) -> None:
    def study(trials: int) -> Any:
        return small_study(search={"trials": trials, "startup_trials": 9, "grace_period": 4})

    searched_run(tmp_path, study(3), TASK)
    _, records = searched_run(tmp_path, study(6), TASK, resume=True)
    assert len({r.config.optimizer.lr for r in records}) == 6


class FailingOnce(InlineExecutor):
    """Each trial fails once, after its second epoch, and is started again."""

    def run_trials(self, run: TrialRun) -> None:
        failed = set()

        def train(number: int, config: Any, shared: Any) -> Any:
            for report in run.train(number, config, shared):
                yield report
                if report["epoch"] == 2 and number not in failed:
                    failed.add(number)
                    raise RuntimeError("the worker died")

        values = {name: getattr(run, name) for name in TrialRun.__dataclass_fields__}
        super().run_trials(TrialRun(**{**values, "train": train}))


def test_a_trial_that_is_started_again_counts_each_epoch_once(tmp_path: Path) -> None:
    study = small_study(search={"trials": 1, "grace_period": 4})
    run, (record,) = searched_run(tmp_path, study, TASK, FailingOnce(INLINE.slots))
    assert (record.state, record.epochs) == ("finished", 4)
    assert [e["epoch"] for e in run.epochs(0)] == [1, 2, 3, 4]
    assert [t.state for t in told(run, study)] == [TrialState.COMPLETE]


def test_the_studys_metric_is_what_the_search_maximises(tmp_path: Path) -> None:
    uneven = replace(
        TASK,
        train=TASK.train.take(np.flatnonzero((TASK.train.labels[:, 0] == 0) | (np.arange(100) % 4 == 0))),
    )

    def first_epoch(score: str) -> dict[str, Any]:
        study = small_study(cv={"folds": 3, "score": score}, search={"trials": 1, "grace_period": 4})
        run, _ = searched_run(tmp_path / score, study, uneven)
        return run.epochs(0)[0]

    accuracy, recall = first_epoch("accuracy"), first_epoch("macro_recall")
    assert accuracy["train_loss"] == recall["train_loss"]
    assert accuracy["score"] != recall["score"]


def test_a_finite_space_ends_the_search_when_all_of_it_has_been_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = {"optimizer": {"name": "adamw", "lr": {"choice": [0.001, 0.01]}}}
    study = small_study(tree, search={"trials": 10, "startup_trials": 2, "grace_period": 4})
    run, records = searched_run(tmp_path, study, TASK)
    assert sorted(r.config.optimizer.lr for r in records) == [0.001, 0.01]
    out = capsys.readouterr().out
    assert "the space has 2 different configurations: the search ends after 2 of 10 trials" in out
    assert "search: 2/2 done" in out
    searched_run(tmp_path, study, TASK, resume=True)
    assert run.trials() == records


def test_a_grid_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    tree = {"optimizer": {"name": "adamw", "lr": {"choice": [0.001, 0.01, 0.003]}}}
    study = small_study(tree, search={"sampler": "grid", "grace_period": 4})
    with pytest.raises(KeyboardInterrupt):
        searched_run(tmp_path, study, TASK, Interrupted(6))
    _, records = searched_run(tmp_path, study, TASK, resume=True)
    # the default, 0.002, is not a point: the baseline is the first one
    assert [r.config.optimizer.lr for r in records] == [0.001, 0.01, 0.003]
    assert [r.role for r in records] == ["baseline", "search", "search"]
