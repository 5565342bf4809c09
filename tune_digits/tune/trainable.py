"""One training on one worker: of a trial, of a confirming fold, or of an ensemble's member.

The state is saved beside the run's records every few seconds, and found there again: after a crash, a kill or a
lost machine the same call goes on where the last saved epoch ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_digits import disk, runs
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target, head_slices
from tune_digits.learn.metrics import Metric
from tune_digits.tune.initial_weights import read_initial_weights
from tune_digits.tune.resources import Slots, quick_imports, use_slots
from tune_digits.tune.store import Stored
from tune_digits.tune.teacher import read_teacher

SAVE_EVERY = 5.0  # seconds; what a crash may cost


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What all trainings of a phase share.

    images uint8 (N, C, H, W); proba float32 (N, K), the labels as probabilities. pseudo: so many of the last rows
    are pseudo-labels, of which a teacher's file knows nothing.
    """

    images: np.ndarray
    proba: np.ndarray
    targets: tuple[Target, ...]
    metric: Metric
    pseudo: int = 0


def teacher_of(config: TrialConfig, data: TrainingData) -> np.ndarray | None:
    """What the configured teacher says of each row, float32 (N, K); None without one.

    The vote that made a pseudo-label is its teacher too. Raises DataError where the file does not fit the data.
    """
    if config.loss.teacher_weight == 0 or config.loss.teacher is None:
        return None
    labelled = len(data.proba) - data.pseudo
    proba = read_teacher(Path(config.loss.teacher), labelled, head_slices(data.targets))
    return np.concatenate([proba, data.proba[labelled:]])


def train(
    config: TrialConfig,
    data: TrainingData,
    train_rows: np.ndarray,
    valid_rows: np.ndarray | None,
    *,
    seed: int,
    fold: int,
    slots: Slots,
    state_file: Path | None = None,
) -> Iterator[tuple[Any, Any, Any]]:
    """Train, yielding (EpochReport, TrainState, DeviceData) after each epoch.

    Epochs that a saved state already holds are yielded again first, so that the caller learns of them. Raises
    DataError where the configured teacher does not fit the data.
    """
    with quick_imports():
        import torch

        from tune_digits.learn.device import to_device
        from tune_digits.learn.fit import fit, start_training
        from tune_digits.learn.state import pack, unpack

    device = use_slots(slots)
    classes = data.proba.shape[1]
    weights = read_initial_weights(config.model)
    state = start_training(config, data.images, train_rows, classes, seed, fold, device, weights)
    if state_file is not None and state_file.exists():
        unpack(state, *disk.read_tensors(state_file))
    on_device = to_device(data.images, data.proba, data.targets, device, teacher_of(config, data))
    rows = torch.from_numpy(np.array(train_rows)).to(device)
    valid = None if valid_rows is None else torch.from_numpy(np.array(valid_rows)).to(device)
    for report in list(state.history):
        yield report, state, on_device
    saved = time.monotonic()
    for report in fit(
        state, config, on_device, rows, valid, seed=seed, fold=fold, metric=data.metric, workers=slots.threads
    ):
        if state_file is not None and time.monotonic() - saved >= SAVE_EVERY:
            disk.write_tensors(state_file, *pack(state))
            saved = time.monotonic()
        yield report, state, on_device


@dataclass(frozen=True, slots=True)
class Part:
    """One of several trainings of a configuration: its rows int64 (n,), what seeds it, and where its state is saved."""

    rows: np.ndarray
    seed: int
    fold: int
    state_file: Path | None = None


def train_parts(
    config: TrialConfig, data: TrainingData, parts: Sequence[Part], slots: Slots
) -> Iterator[tuple[Any, Any]]:
    """Train each part to its end, yielding (TrainState, DeviceData) of each in order; several are fused.

    Where they cannot be (too little memory, another number of steps), each is trained by itself after all.
    """
    if len(parts) > 1:
        import torch

        from tune_digits.learn.fused import CannotFuse

        try:
            yield from _train_fused(config, data, parts, slots)
            return
        except (CannotFuse, torch.OutOfMemoryError):
            pass
    for part in parts:
        last = None
        for _, state, on_device in train(
            config,
            data,
            part.rows,
            None,
            seed=part.seed,
            fold=part.fold,
            slots=slots,
            state_file=part.state_file,
        ):
            last = state, on_device
        yield last


def _train_fused(
    config: TrialConfig, data: TrainingData, parts: Sequence[Part], slots: Slots
) -> list[tuple[Any, Any]]:
    import torch

    from tune_digits.learn.device import to_device
    from tune_digits.learn.fit import start_training
    from tune_digits.learn.fused import fit_fused
    from tune_digits.learn.loop import Training
    from tune_digits.learn.state import pack, unpack

    device = use_slots(slots)
    classes = data.proba.shape[1]
    weights = read_initial_weights(config.model)
    trainings = []
    for part in parts:
        state = start_training(config, data.images, part.rows, classes, part.seed, part.fold, device, weights)
        if part.state_file is not None and part.state_file.exists():
            unpack(state, *disk.read_tensors(part.state_file))
        rows = torch.from_numpy(np.array(part.rows)).to(device)
        trainings.append(Training(state, rows, part.seed, part.fold))
    on_device = to_device(data.images, data.proba, data.targets, device, teacher_of(config, data))
    saved = time.monotonic()
    for _ in fit_fused(trainings, config, on_device, workers=slots.threads):
        if time.monotonic() - saved < SAVE_EVERY:
            continue
        for part, training in zip(parts, trainings, strict=True):
            if part.state_file is not None:
                disk.write_tensors(part.state_file, *pack(training.state))
        saved = time.monotonic()
    return [(training.state, on_device) for training in trainings]


def train_trial(
    config: dict[str, Any],
    data: Stored[TrainingData],
    train_rows: np.ndarray,
    valid_rows: np.ndarray,
    run_path: str,
    seed: int,
    fold: int,
    slots: Slots,
) -> None:
    """Ray Tune's trainable: one fold of one configuration, a report per epoch. ASHA ends it from outside."""
    from ray import tune

    trial = TrialConfig.model_validate(config["config"])
    state_file = runs.Run(Path(run_path)).trial_state(config["number"])
    for report, _, _ in train(
        trial, data.get(), train_rows, valid_rows, seed=seed, fold=fold, slots=slots, state_file=state_file
    ):
        tune.report(asdict(report))
