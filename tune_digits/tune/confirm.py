"""Confirmation: the best trials again, on all folds, with seeds that the search has never seen.

The best of a hundred equal trials on one fold looks better than it is. Only the scores made here rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tune_digits.config import Cv, TrialConfig
from tune_digits.data.dataset import Dataset, Labelled, Task, head_slices
from tune_digits.data.fingerprint import row_hashes
from tune_digits.data.folds.limits import at_most
from tune_digits.data.folds.split import Fold
from tune_digits.disk import replacing
from tune_digits.errors import StorageError
from tune_digits.execute.executor import Executor, Stored
from tune_digits.execute.slots import Slots
from tune_digits.learn.metrics import metric_of
from tune_digits.runs import Fingerprints, FoldResult, Run, TrialRecord
from tune_digits.screen import Progress, Screen
from tune_digits.space.space import config_key
from tune_digits.study import Study
from tune_digits.trained_rows import write_trained_rows
from tune_digits.tune.answer import find_answer, write_answer
from tune_digits.tune.front import front_first, with_front
from tune_digits.tune.fusing import plan_fusing
from tune_digits.tune.leaderboard import Judges, leaderboard, out_of_fold
from tune_digits.tune.networks import save_network
from tune_digits.tune.search import rank
from tune_digits.tune.sources import sources_of
from tune_digits.tune.training import TrainingData, TrainingPlan, train_plans, verdict_on

# far from the seeds of any search, which count from the study's own
FRESH = 1_000_003


@dataclass(frozen=True, slots=True)
class FoldJob:
    """One confirming training."""

    trial: int
    config: TrialConfig
    fold: int
    seed: int


@dataclass(frozen=True, slots=True)
class ConfirmData:
    """What all confirming trainings share.

    holdouts: name -> (images, labels int64 (n, T)). weights_kept_in: the run folder; None = they are not kept.
    """

    training: Stored[TrainingData]
    folds: dict[int, Fold]
    holdouts: dict[str, tuple[np.ndarray, np.ndarray]]
    base_seed: int
    made_from: Fingerprints
    slots: Slots
    weights_kept_in: str | None = None


def candidates(records: list[TrialRecord], count: int) -> list[TrialRecord]:
    """The `count` best of the search, best first; then the baseline, without which no gain can be told, and the start
    points: what somebody expects to be good is not given up for the score of one fold.

    Of equal configurations only the trial with the lowest number counts. In a search for two objectives the best are
    those of the front of score and speed, then those of the next front.
    """
    first: dict[str, int] = {}
    for record in records:
        first.setdefault(config_key(record.config), record.number)
    ranked = [r for r in front_first(rank(records)) if first[config_key(r.config)] == r.number]
    return ranked[:count] + [r for r in ranked[count:] if r.role in ("baseline", "start")]


def confirm_folds(jobs: tuple[FoldJob, ...], shared: ConfirmData) -> list[FoldResult]:
    """Train folds of one configuration with fresh seeds, fused if they are several; runs in a worker.

    With train.keep: best_score or best_loss each epoch is validated on the fold's validation part, and the weights of
    the best one are scored on the same rows: such scores are optimistic.
    """
    config = jobs[0].config
    plans = [
        TrainingPlan(
            shared.folds[job.fold].train_idx,
            FRESH + shared.base_seed + job.seed,
            job.fold,
            valid_rows=None if config.train.keep == "last" else shared.folds[job.fold].valid_idx,
        )
        for job in jobs
    ]
    data = shared.training.get()
    results = []
    trained = train_plans(config, data, plans, shared.slots)
    for job, (state, on_device) in zip(jobs, trained, strict=True):
        if shared.weights_kept_in is not None:
            file = Run(Path(shared.weights_kept_in)).fold_member(job.trial, job.fold, job.seed)
            facts = {"trial": job.trial, "fold": job.fold, "seed": job.seed}
            save_network(file, state.best_model, config, facts)
        results.append(judge_fold(job, config, shared, data, state, on_device))
    return results


def judge_fold(
    job: FoldJob, config: TrialConfig, shared: ConfirmData, data: TrainingData, state: Any, on_device: Any
) -> FoldResult:
    """What a TrainState says of its fold's validation part, and of the holdouts; on_device: its DeviceData."""
    import torch

    from tune_digits.learn.metrics import score
    from tune_digits.learn.predict import predict_proba

    fold = shared.folds[job.fold]
    heads = head_slices(data.targets)
    device = on_device.images.device

    def proba(images: torch.Tensor) -> np.ndarray:
        return predict_proba(state.best_model, images.to(device), heads, precision=config.train.precision)

    valid, verdict = verdict_on(fold.valid_idx, config, data, state, on_device)
    holdouts = {
        name: score(data.metric, proba(torch.from_numpy(images.copy())), truth, heads)
        for name, (images, truth) in shared.holdouts.items()
    }
    return FoldResult(
        job.trial,
        job.fold,
        job.seed,
        fold.valid_idx,
        valid,
        verdict,
        sum(report.seconds for report in state.history),
        shared.made_from,
        holdouts,
    )


def write_rows_of_folds(
    run: Run, train: Dataset, chosen: Sequence[TrialRecord], folds: Sequence[Fold]
) -> None:
    """Record which images the networks of each fold are trained on, those that their sources have seen included."""
    hashes = row_hashes(train.images)
    for fold in folds:
        rows = [hashes[fold.train_idx], *rows_before(chosen, [fold])]
        write_trained_rows(run.fold_weights(fold.index), np.concatenate(rows))


def rows_before(records: Sequence[TrialRecord], folds: Sequence[Fold]) -> list[np.ndarray]:
    """Hashes of the images that the sources of these configurations were trained on."""
    sources = [s for r in records for fold in folds for s in sources_of(r.config, fold.index)]
    return [source.rows for source in sources if source.rows is not None]


def judged_holdouts(holdouts: Mapping[str, Labelled], cv: Cv) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The images and labels of each labelled set from elsewhere, at most as many as `cv.valid_rows` says."""
    rows = {
        name: at_most(np.arange(len(d)), d.labels, cv.valid_rows, cv.seed) for name, d in holdouts.items()
    }
    return {name: (d.images[rows[name]], d.labels[rows[name]]) for name, d in holdouts.items()}


def run_confirm(
    study: Study,
    run: Run,
    task: Task,
    data: Stored[TrainingData],
    folds: Sequence[Fold],
    records: list[TrialRecord],
    made_from: Fingerprints,
    executor: Executor,
    screen: Screen,
) -> pd.DataFrame:
    """Confirm the best trials, write and return the leaderboard. Folds already on record are not trained again."""
    chosen = candidates(records, study.confirm.candidates)
    used = folds[: study.confirm.folds or len(folds)]
    jobs = [
        FoldJob(r.number, r.config, fold.index, seed)
        # seed by seed and fold by fold, so that an interrupted confirmation has all candidates on equal terms
        for seed in range(study.confirm.seeds)
        for fold in used
        for r in chosen
        if not run.fold_file(r.number, fold.index, seed).exists()
    ]
    shared = ConfirmData(
        data,
        {f.index: f for f in used},
        judged_holdouts(task.holdouts, study.cv),
        study.search.seed,
        made_from,
        executor.slots,
        str(run.path.resolve()) if study.confirm.keep_weights else None,
    )
    if study.confirm.keep_weights:
        write_rows_of_folds(run, task.train, chosen, used)
    total = len(chosen) * len(used) * study.confirm.seeds
    progress = Progress("confirm", total=total, done=total - len(jobs))
    progress.facts = {
        "configurations": str(len(chosen)),
        "folds": str(len(used)),
        "seeds": str(study.confirm.seeds),
    }
    if jobs:
        some = used[0].train_idx
        groups = plan_fusing(
            run, jobs, lambda job: job.config, (data, some), study.resources, executor, screen
        )
        with screen.watch(progress):
            for group, results in executor.run_jobs(confirm_folds, groups, shared):
                progress.done += len(group)
                if isinstance(results, StorageError):
                    raise results
                if isinstance(results, Exception):
                    for job in group:
                        screen.warn(f"trial {job.trial}, fold {job.fold}, seed {job.seed} failed: {results}")
                    continue
                for result in results:
                    run.write_fold(result)
                screen.tick(progress)
    train = task.train
    metric = metric_of(study.cv, task.targets)
    together = None if study.cv.groups is None else train.groups
    judges = Judges(metric, train.labels, head_slices(task.targets), together)
    board = with_front(leaderboard(chosen, run.folds(), judges), chosen)
    with replacing(run.leaderboard) as temporary:
        board.to_csv(temporary, index=False)
    rng = np.random.default_rng(study.search.seed)
    write_answer(run, find_answer(chosen, run.folds(), judges, rng))
    best = set(board["trial"].head(study.ensemble.top).tolist())
    proba = out_of_fold([r for r in run.folds() if r.trial in best], len(task.train))
    if proba is not None:
        trained = [r for r in chosen if r.number in best]
        seen = np.unique(np.concatenate([fold.train_idx for fold in used]))
        rows = np.concatenate([row_hashes(task.train.images[seen]), *rows_before(trained, used)])
        run.write_out_of_fold(proba, np.unique(rows))
    return board
