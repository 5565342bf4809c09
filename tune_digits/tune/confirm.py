"""Confirmation: the best trials again, on all folds, with seeds that the search has never seen.

The best of a hundred equal trials on one fold looks better than it is. Only the scores made here rank.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Task, head_slices
from tune_digits.data.folds.split import Fold
from tune_digits.disk import replacing
from tune_digits.runs import FoldResult, Run, TrialRecord
from tune_digits.screen import Progress, Screen
from tune_digits.study import Study
from tune_digits.tune.fusing import plan_fusing
from tune_digits.tune.jobs import run_jobs
from tune_digits.tune.resources import Slots
from tune_digits.tune.search import rank
from tune_digits.tune.store import Stored
from tune_digits.tune.trainable import Part, TrainingData, train_parts

# far from the seeds of any search, which count from the study's own
FRESH = 1_000_003


@dataclass(frozen=True, slots=True)
class FoldJob:
    """One confirming training."""

    trial: int
    config: dict[str, Any]
    fold: int
    seed: int


@dataclass(frozen=True, slots=True)
class ConfirmData:
    """What all confirming trainings share. holdouts: name -> (images, labels int64 (n, T))."""

    training: Stored[TrainingData]
    folds: dict[int, Fold]
    holdouts: dict[str, tuple[np.ndarray, np.ndarray]]
    base_seed: int
    slots: Slots


def candidates(records: list[TrialRecord], count: int) -> list[TrialRecord]:
    """The `count` best of the search, best first; then the baseline, without which no gain can be told, and the start
    points: what somebody expects to be good is not given up for the score of one fold."""
    ranked = rank(records)
    return ranked[:count] + [r for r in ranked[count:] if r.role in ("baseline", "start")]


def confirm_folds(jobs: tuple[FoldJob, ...], shared: ConfirmData) -> list[FoldResult]:
    """Train folds of one configuration with fresh seeds, fused if they are several; runs in a worker."""
    config = TrialConfig.model_validate(jobs[0].config)
    parts = [
        Part(shared.folds[job.fold].train_idx, FRESH + shared.base_seed + job.seed, job.fold) for job in jobs
    ]
    data = shared.training.get()
    trained = train_parts(config, data, parts, shared.slots)
    return [
        judge_fold(job, config, shared, data, state, on_device)
        for job, (state, on_device) in zip(jobs, trained, strict=True)
    ]


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

    valid = proba(on_device.images[torch.from_numpy(fold.valid_idx.copy()).to(device)])
    labels = np.stack([data.proba[fold.valid_idx, head].argmax(1) for head in heads], axis=1)
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
        score(data.metric, valid, labels, heads),
        sum(report.seconds for report in state.history),
        holdouts,
    )


def run_confirm(
    study: Study,
    run: Run,
    task: Task,
    data: Stored[TrainingData],
    folds: Sequence[Fold],
    records: list[TrialRecord],
    slots: Slots,
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
        {name: (d.images, d.labels) for name, d in task.holdouts.items()},
        study.search.seed,
        slots,
    )
    total = len(chosen) * len(used) * study.confirm.seeds
    progress = Progress("confirm", total=total, done=total - len(jobs))
    progress.facts = {
        "configurations": str(len(chosen)),
        "folds": str(len(used)),
        "seeds": str(study.confirm.seeds),
    }
    if jobs:
        some = used[0].train_idx
        groups = plan_fusing(run, jobs, lambda job: job.config, (data, some), study.resources, slots, screen)
        with screen.watch(progress):
            for group, results in run_jobs(confirm_folds, groups, shared, slots):
                progress.done += len(group)
                if isinstance(results, Exception):
                    for job in group:
                        screen.warn(f"trial {job.trial}, fold {job.fold}, seed {job.seed} failed: {results}")
                    continue
                for result in results:
                    run.write_fold(result)
                screen.tick(progress)
    board = leaderboard(chosen, run.folds())
    with replacing(run.leaderboard) as temporary:
        board.to_csv(temporary, index=False)
    best = set(board["trial"].head(study.ensemble.top).tolist())
    proba = out_of_fold([r for r in run.folds() if r.trial in best], len(task.train))
    # a teacher answers for every row that the data have, so not where this is a subset of them
    if proba is not None and study.data.subset is None:
        run.write_out_of_fold(proba)
    return board


def out_of_fold(results: Sequence[FoldResult], rows: int) -> np.ndarray | None:
    """Mean of what trainings say of rows that they have not seen: float32 (rows, K), each row of it probabilities.

    None where some row is in no validation part (fewer folds than there are, or a row that always trains).
    """
    if not results:
        return None
    total = np.zeros((rows, results[0].valid_proba.shape[1]))
    count = np.zeros(rows)
    for result in results:
        # a fold names each of its rows once
        total[result.valid_idx] += result.valid_proba
        count[result.valid_idx] += 1
    return (total / count[:, None]).astype(np.float32) if count.all() else None


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error (NaN for a single value).

    Folds share training data, so the true error is somewhat larger (Bengio and Grandvalet 2004).
    """
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return mean, error


def leaderboard(records: Sequence[TrialRecord], results: Sequence[FoldResult]) -> pd.DataFrame:
    """One row per confirmed trial, best confirmed mean first.

    gain and gain_se are against the baseline, paired by fold and seed: what both share cancels out.
    """
    by_trial: dict[int, dict[tuple[int, int], FoldResult]] = defaultdict(dict)
    for result in results:
        by_trial[result.trial][result.fold, result.seed] = result
    baseline = next(
        (by_trial[r.number] for r in records if r.role == "baseline" and r.number in by_trial), {}
    )
    rows = []
    for record in records:
        own = by_trial.get(record.number)
        if not own:
            continue
        mean, error = mean_and_error([r.score for r in own.values()])
        pairs = [r.score - baseline[key].score for key, r in own.items() if key in baseline]
        gain, gain_error = mean_and_error(pairs) if pairs else (math.nan, math.nan)
        outside = [s for r in own.values() for s in r.holdout_scores.values()]
        rows.append(
            {
                "trial": record.number,
                "role": record.role,
                "confirmed": mean,
                "confirmed_se": error,
                "folds": len({fold for fold, _ in own}),
                "seeds": len({seed for _, seed in own}),
                "gain": gain,
                "gain_se": gain_error,
                "search_score": record.score,
                "out_of_domain": float(np.mean(outside)) if outside else math.nan,
                "seconds_per_training": float(np.mean([r.seconds for r in own.values()])),
                **record.searched,
            }
        )
    board = pd.DataFrame(rows)
    return board.sort_values(["confirmed", "trial"], ascending=[False, True], ignore_index=True)
