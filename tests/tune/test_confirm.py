"""Which trials are confirmed, on which rows, with which seeds, and what is kept of it. Whole, in this process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from run_samples import (
    INLINE,
    MADE_FROM,
    confirmed_run,
    folds_of,
    halves,
    halves_task,
    record,
    searched_run,
    small_study,
)
from sklearn.metrics import accuracy_score, recall_score

from tune_digits import disk
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Task
from tune_digits.execute.inline import InlineExecutor
from tune_digits.learn import loop
from tune_digits.learn.metrics import metric_of
from tune_digits.learn.predict import predict_proba
from tune_digits.runs import Run
from tune_digits.study import Study
from tune_digits.tune import fold_jobs
from tune_digits.tune.confirm import candidates
from tune_digits.tune.fold_jobs import FRESH, judged_holdouts
from tune_digits.tune.search import rank
from tune_digits.tune.training import train, training_data

TASK = Task("halves", halves(100), holdouts={"elsewhere": halves(40, seed=9)})
QUICK = {"trials": 2, "startup_trials": 2, "grace_period": 2}


def study(trial: dict[str, Any] | None = None, **parts: Any) -> Study:
    """Two epochs, three folds, two candidates, one of them the baseline."""
    tree = {"train": {"epochs": 2, "batch_size": 20, "ema_decay": 0.8}, **(trial or {})}
    return small_study(tree, **{"search": QUICK, "confirm": {"candidates": 2}, **parts})


def test_a_stopped_trial_ranks_behind_all_that_trained_longer() -> None:
    records = [
        record(0, 0.99, 1, state="pruned"),
        record(1, 0.8),
        record(2, 0.9),
        record(3, 0.95, 4, state="failed"),
        record(4, 0.97, 3, state="pruned"),
    ]
    assert [r.number for r in rank(records)] == [2, 1, 4, 0]


def test_a_trial_that_ended_by_its_own_rule_ranks_by_its_score() -> None:
    records = [
        record(0, 0.95, 20),
        record(1, 0.99, 8, state="ended"),
        record(2, 0.97, 19, state="pruned"),
        record(3, 0.0, 2, state="ended", error="the loss was no longer finite in epoch 2 of 20"),
        record(4, None, 0, state="failed"),
    ]
    assert [r.number for r in rank(records)] == [1, 0, 2, 3]


def test_a_trial_ranks_by_its_last_epoch_and_not_by_its_best() -> None:
    early = replace(record(0, 0.8), best_score=0.99)
    assert [r.number for r in rank([early, record(1, 0.9)])] == [1, 0]


def test_equal_configurations_are_confirmed_once() -> None:
    """As in runs of versions that tried a configuration again."""
    same = TrialConfig.model_validate({"augment": {"rotate": 3}})
    records = [record(0, 0.5, role="baseline"), record(1, 0.8, config=same), record(2, 0.9, config=same)]
    assert [r.number for r in candidates(records, 2)] == [1, 0]


def test_the_baseline_is_always_confirmed() -> None:
    records = [record(0, 0.5, role="baseline"), record(1, 0.8), record(2, 0.9)]
    assert [r.number for r in candidates(records, 2)] == [2, 1, 0]
    assert [r.number for r in candidates(records, 3)] == [2, 1, 0]
    guess = record(3, 0.2, epochs=1, role="start", state="pruned")
    assert [r.number for r in candidates([*records, guess], 1)] == [2, 0, 3]


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Run, Any]:
    """A study with two seeds, its run and its leaderboard."""
    plan = study(confirm={"candidates": 2, "seeds": 2})
    return plan, *confirmed_run(tmp_path_factory.mktemp("confirmed"), plan, TASK)


def test_every_candidate_is_trained_on_every_fold_with_every_seed(confirmed) -> None:
    _, run, board = confirmed
    trials = {r.number for r in candidates(run.trials(), 2)}
    assert 0 in trials
    wanted = {(t, f, s) for t in trials for f in range(3) for s in range(2)}
    assert {(r.trial, r.fold, r.seed) for r in run.folds()} == wanted
    assert set(board["trial"]) == trials
    assert (board["folds"] == 3).all()
    assert (board["seeds"] == 2).all()
    assert {r.fingerprints for r in run.folds()} == {MADE_FROM}


def test_a_fold_is_judged_on_its_own_rows_by_the_averaged_weights(confirmed) -> None:
    """Each record is what a training by hand gives, to the last digit: its rows, its seed, its averaged weights."""
    plan, run, _ = confirmed
    data = training_data(TASK.train, metric_of(plan.cv, TASK.targets))
    configs = {r.number: r.config for r in run.trials()}
    for result in run.folds():
        fold = folds_of(plan, TASK)[result.fold]
        seed = FRESH + plan.search.seed + result.seed
        *_, (_, state, _) = train(
            configs[result.trial], data, fold.train_idx, None, seed=seed, fold=fold.index, slots=INLINE.slots
        )
        images = torch.from_numpy(TASK.train.images[fold.valid_idx])
        heads = (slice(0, 2),)
        np.testing.assert_array_equal(result.valid_idx, fold.valid_idx)
        np.testing.assert_array_equal(result.valid_proba, predict_proba(state.ema, images, heads))
        assert np.abs(result.valid_proba - predict_proba(state.model, images, heads)).max() > 1e-4
        labels = TASK.train.labels[fold.valid_idx, 0]
        assert result.score == accuracy_score(labels, result.valid_proba.argmax(1))
        outside = TASK.holdouts["elsewhere"]
        proba = predict_proba(state.ema, torch.from_numpy(outside.images), heads)
        assert result.holdout_scores == {"elsewhere": accuracy_score(outside.labels[:, 0], proba.argmax(1))}
        assert result.seconds > 0


def test_the_run_keeps_what_judges_its_confirmation(confirmed: tuple[Study, Run, Any]) -> None:
    truth = confirmed[1].truth()
    assert truth is not None and truth.targets == TASK.targets
    assert np.array_equal(truth.labels, TASK.train.labels)
    assert truth.ids.tolist() == [str(number) for number in TASK.train.ids]


def test_the_seconds_of_a_training_are_those_of_all_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = itertools.count()  # a clock that advances by a second each time it is looked at
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(looks)))
    plan = study({"train": {"epochs": 3, "batch_size": 20}}, confirm={"candidates": 1, "folds": 2})
    run, board = confirmed_run(tmp_path, plan, TASK)
    assert {r.seconds for r in run.folds()} == {3}
    assert set(board["seconds_per_training"]) == {3}


def seeds_of(plan: Study, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[set[int], set[int]]:
    """The seeds that the trainings of a search, and of its confirmation, were given."""
    searched, confirming = set(), set()

    def spy(original: Callable[..., Any], into: set[int]) -> Callable[..., Any]:
        def train(*args: Any, **kwargs: Any) -> Any:
            into.add(kwargs["seed"])
            return original(*args, **kwargs)

        return train

    from tune_digits.tune import training

    original = training.train
    monkeypatch.setattr(training, "train", spy(original, searched))
    searched_run(folder, plan, TASK)
    monkeypatch.setattr(training, "train", spy(original, confirming))
    confirmed_run(folder, plan, TASK, resume=True)
    monkeypatch.setattr(training, "train", original)
    return searched, confirming


def test_confirmation_has_seeds_that_the_search_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = {"candidates": 2, "seeds": 2, "folds": 1}
    searched, confirming = seeds_of(study(confirm=two), tmp_path / "a", monkeypatch)
    assert len(searched) == 1
    assert len(confirming) == 2
    assert not searched & confirming
    other = study(search={**QUICK, "seed": 1}, confirm=two)
    searched_too, confirming_too = seeds_of(other, tmp_path / "b", monkeypatch)
    assert searched != searched_too
    assert confirming != confirming_too


class Refusing(InlineExecutor):
    """Runs no job."""

    def run_jobs(self, function: Any, jobs: Sequence[Any], shared: Any) -> Iterator[Any]:
        raise AssertionError("nothing is left to train")


def test_what_is_on_record_is_not_trained_again(tmp_path: Path) -> None:
    plan = study(confirm={"candidates": 2, "folds": 2})
    run, board = confirmed_run(tmp_path, plan, TASK)
    _, again = confirmed_run(tmp_path, plan, TASK, Refusing(INLINE.slots), resume=True)
    assert again.equals(board)
    assert (board["folds"] == 2).all()
    # one record is gone: it alone is trained again, to the same digit
    file = run.fold_file(0, 1, 0)
    before = {p: p.stat().st_mtime_ns for p in file.parent.iterdir()}
    file.unlink()
    _, again = confirmed_run(tmp_path, plan, TASK, resume=True)
    timed = ["seconds_per_training"]
    assert again.drop(columns=timed).equals(board.drop(columns=timed))
    after = {p: p.stat().st_mtime_ns for p in file.parent.iterdir()}
    assert {p for p in before if before[p] != after[p]} == {file}


def test_all_candidates_are_equally_far_when_a_confirmation_is_interrupted(tmp_path: Path) -> None:
    class Cut(InlineExecutor):
        def run_jobs(self, function: Any, jobs: Sequence[Any], shared: Any) -> Iterator[Any]:
            for i, job in enumerate(jobs):
                if i == 4:
                    raise KeyboardInterrupt
                yield from super().run_jobs(function, [job], shared)

    plan = study(confirm={"candidates": 2, "seeds": 2})
    with pytest.raises(KeyboardInterrupt):
        confirmed_run(tmp_path, plan, TASK, Cut(INLINE.slots))
    (run,) = tmp_path.glob("2*-small")
    done = [(r.trial, r.fold, r.seed) for r in Run(run).folds()]
    assert sorted(done) == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]


def test_a_training_that_fails_is_said_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = fold_jobs.judge_fold

    def judge(job: Any, *args: Any) -> Any:
        if (job.trial, job.fold) == (1, 2):
            raise RuntimeError("no memory")
        return original(job, *args)

    monkeypatch.setattr(fold_jobs, "judge_fold", judge)
    run, board = confirmed_run(tmp_path, study(), TASK)
    assert "trial 1, fold 2, seed 0 failed: no memory" in capsys.readouterr().out
    assert dict(zip(board["trial"], board["folds"], strict=True)) == {0: 3, 1: 2}
    assert len(run.folds()) == 5


def test_the_studys_metric_judges(tmp_path: Path) -> None:
    plan = study(cv={"folds": 3, "score": "macro_recall"})
    uneven = replace(
        TASK,
        train=TASK.train.take(np.flatnonzero((TASK.train.labels[:, 0] == 0) | (np.arange(100) % 4 == 0))),
    )
    run, _ = confirmed_run(tmp_path, plan, uneven)
    different = 0
    for result in run.folds():
        labels, predicted = uneven.train.labels[result.valid_idx, 0], result.valid_proba.argmax(1)
        assert result.score == pytest.approx(recall_score(labels, predicted, average="macro"))
        different += result.score != accuracy_score(labels, predicted)
    assert different


def test_out_of_fold_answers_are_of_the_best_and_of_all_rows(tmp_path: Path) -> None:
    plan = study(ensemble={"top": 1})
    run, board = confirmed_run(tmp_path, plan, TASK)
    best = int(board["trial"][0])
    with np.load(run.path / "out_of_fold.npz") as file:
        proba = file["proba"]
    for result in run.folds(best):
        np.testing.assert_array_equal(proba[result.valid_idx], result.valid_proba)
    few, _ = confirmed_run(tmp_path / "few", study(confirm={"candidates": 2, "folds": 2}), TASK)
    assert not (few.path / "out_of_fold.npz").exists()


def test_the_leaderboard_file_is_the_leaderboard(tmp_path: Path) -> None:
    import pandas as pd

    run, board = confirmed_run(tmp_path, study(), halves_task())
    pd.testing.assert_frame_equal(pd.read_csv(run.leaderboard), board)


def test_a_fold_is_left_with_its_best_epoch_where_that_is_kept(tmp_path: Path) -> None:
    """Each epoch is validated on the fold's own validation part; the record is of the best one."""
    unsteady = {
        "optimizer": {"name": "sgd", "lr": 1.5, "momentum": 0, "nesterov": False},
        "schedule": {"name": "constant"},
        "train": {"epochs": 6, "batch_size": 20, "keep": "best_score"},
    }
    plan = study(unsteady, search={**QUICK, "trials": 1}, confirm={"candidates": 1})
    run, _ = confirmed_run(tmp_path, plan, TASK)
    data = training_data(TASK.train, metric_of(plan.cv, TASK.targets))
    early = 0
    for result in run.folds():
        fold = folds_of(plan, TASK)[result.fold]
        epochs = [
            (report, predict_proba(state.model, images_of(fold.valid_idx), (slice(0, 2),)))
            for report, state, _ in train(
                run.trials()[0].config,
                data,
                fold.train_idx,
                fold.valid_idx,
                seed=FRESH + plan.search.seed + result.seed,
                fold=fold.index,
                slots=INLINE.slots,
            )
        ]
        best = max(epochs, key=lambda pair: pair[0].score or 0.0)
        assert result.score == best[0].score
        np.testing.assert_array_equal(result.valid_proba, best[1])
        early += best[0].epoch < 6
    assert early > 0


def images_of(rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(TASK.train.images[rows])


def test_the_leaderboard_knows_of_the_groups_of_the_folds(tmp_path: Path) -> None:
    task = halves_task(120)
    _, plain = confirmed_run(tmp_path / "plain", study(), task)
    _, grouped = confirmed_run(tmp_path / "grouped", study(cv={"folds": 3, "groups": "writer"}), task)
    assert plain["worst_groups"].isna().all()
    assert grouped["worst_groups"].between(0, 1).all()


def test_labelled_sets_from_elsewhere_are_judged_on_as_many_rows_as_folds() -> None:
    task = halves_task(60)
    elsewhere = {"Dig": task.train}
    whole = judged_holdouts(elsewhere, study().cv)["Dig"]
    np.testing.assert_array_equal(whole[0], task.train.images)
    images, labels = judged_holdouts(elsewhere, study(cv={"folds": 3, "valid_rows": 8}).cv)["Dig"]
    assert len(images) == 8 and np.bincount(labels[:, 0]).tolist() == [4, 4]
    rows = [int(np.flatnonzero((task.train.images == image).all((1, 2, 3)))[0]) for image in images]
    np.testing.assert_array_equal(labels, task.train.labels[rows])


def test_confirming_trainings_are_judged_on_that_many_rows_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []
    real = fold_jobs.judge_fold

    def watched(job: Any, config: Any, shared: fold_jobs.ConfirmData, *rest: Any) -> Any:
        judged.append({name: len(images) for name, (images, _) in shared.holdouts.items()})
        return real(job, config, shared, *rest)

    monkeypatch.setattr(fold_jobs, "judge_fold", watched)
    confirmed_run(tmp_path, study(cv={"folds": 3, "valid_rows": 8}), TASK)
    assert judged == [{"elsewhere": 8}] * 6


def test_each_seed_keeps_weights_of_its_own(tmp_path: Path) -> None:
    plan = study(confirm={"candidates": 1, "folds": 1, "seeds": 2, "keep_weights": True})
    run, board = confirmed_run(tmp_path, plan, TASK)
    trial = int(board["trial"][0])
    first, second = (disk.read_tensors(run.fold_member(trial, 0, seed)) for seed in (0, 1))
    assert (first[1]["seed"], second[1]["seed"]) == (0, 1)
    assert any(not torch.equal(tensor, second[0][name]) for name, tensor in first[0].items())
