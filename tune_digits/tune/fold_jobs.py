"""One training of a configuration on one fold with a fresh seed, judged on all rows that the fold validates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_digits.config import Cv, TrialConfig
from tune_digits.data.dataset import Labelled, head_slices
from tune_digits.data.folds.limits import at_most
from tune_digits.data.folds.split import Fold
from tune_digits.execute.executor import Stored
from tune_digits.execute.slots import Slots
from tune_digits.runs import Fingerprints, FoldResult, Run
from tune_digits.tune.networks import save_network
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


def judged_holdouts(holdouts: Mapping[str, Labelled], cv: Cv) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The images and labels of each labelled set from elsewhere, at most as many as `cv.valid_rows` says."""
    rows = {
        name: at_most(np.arange(len(d)), d.labels, cv.valid_rows, cv.seed) for name, d in holdouts.items()
    }
    return {name: (d.images[rows[name]], d.labels[rows[name]]) for name, d in holdouts.items()}
