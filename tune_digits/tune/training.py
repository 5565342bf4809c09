"""One training on one worker: of a trial, of a confirming fold, or of an ensemble's member.

The state is saved beside the run's records every few seconds, and found there again: after a crash, a kill or a
lost machine the same call goes on where the last saved epoch ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_digits import disk, runs
from tune_digits.config import TrialConfig
from tune_digits.config.given import SameFolds
from tune_digits.data.dataset import Labelled, Target, Task, head_slices
from tune_digits.execute.executor import Executor, Stored
from tune_digits.execute.slots import Slots, use_slots
from tune_digits.learn.epoch import is_over
from tune_digits.learn.metrics import Metric, score
from tune_digits.patches.ray_warm import quick_imports
from tune_digits.tune.initial_weights import read_initial_weights
from tune_digits.tune.teacher import teach

if TYPE_CHECKING:
    from tune_digits.learn.device import DeviceData
    from tune_digits.learn.epoch import EpochReport
    from tune_digits.learn.state import TrainState

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


def training_data(dataset: Labelled, metric: Metric) -> TrainingData:
    """A labelled data set as trainings take it."""
    return TrainingData(dataset.images, one_hot(dataset), dataset.targets, metric)


def share(task: Task, metric: Metric, executor: Executor) -> tuple[Task, Stored[TrainingData]]:
    """Store what the trainings of a search share.

    The images of the returned task are those in the store, so that nothing keeps a second copy of them where the caller
    lets go of the first.
    """
    stored = executor.store(training_data(task.train, metric))
    return replace(task, train=replace(task.train, images=stored.get().images)), stored


def one_hot(dataset: Labelled) -> np.ndarray:
    """The labels as float32 (N, K), one head's classes beside the next's."""
    columns = [
        np.eye(len(target.classes), dtype=np.float32)[dataset.labels[:, i]]
        for i, target in enumerate(dataset.targets)
    ]
    return np.ascontiguousarray(np.concatenate(columns, axis=1))


def teacher_of(
    config: TrialConfig, data: TrainingData, rows: np.ndarray, fold: int | None, device: Any
) -> np.ndarray | None:
    """What the configured teacher says of the training rows, float32 (N, K); None without one.

    fold: the one that the training leaves out; None where it trains on all rows. The vote that made a pseudo-label is
    its teacher too. Raises ConfigError, DataError or RunError where the teacher does not fit the data.
    """
    labelled = len(data.proba) - data.pseudo
    known = rows[rows < labelled]
    proba = teach(config.loss, data.images[:labelled], known, head_slices(data.targets), fold, device)
    return None if proba is None else np.concatenate([proba, data.proba[labelled:]])


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
    whole: bool = False,
) -> Iterator[tuple[EpochReport, TrainState, DeviceData]]:
    """Train, yielding (EpochReport, TrainState, DeviceData) after each epoch.

    whole: on all rows, so that `fold` leaves none of them out.

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
    saved_before = state_file is not None and state_file.exists()
    weights = None if saved_before else read_initial_weights(config.model, fold)
    state = start_training(config, data.images, train_rows, classes, seed, fold, device, weights)
    if state_file is not None and saved_before:
        unpack(state, *disk.read_tensors(state_file))
    teacher = teacher_of(config, data, train_rows, None if whole else fold, device)
    on_device = to_device(data.images, data.proba, data.targets, device, teacher)
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
class TrainingPlan:
    """One of several trainings of a configuration.

    rows: int64 (n,) to train on. state_file: where its state is saved while it lasts; None = nowhere. whole: `rows` are
    all there are, and `fold` leaves none of them out. valid_rows: int64 (m,) to validate on after each epoch; None = no
    validation.
    """

    rows: np.ndarray
    seed: int
    fold: int
    state_file: Path | None = None
    whole: bool = False
    valid_rows: np.ndarray | None = None


def train_plans(
    config: TrialConfig, data: TrainingData, plans: Sequence[TrainingPlan], slots: Slots
) -> Iterator[tuple[TrainState, DeviceData]]:
    """Train each to its end, yielding (TrainState, DeviceData) of each in order; several are fused.

    Where they cannot be fused (too little memory, different numbers of steps), each is trained by itself.
    """
    if len(plans) > 1:
        import torch

        from tune_digits.learn.fused import CannotFuse

        try:
            yield from _train_fused(config, data, plans, slots)
            return
        except (CannotFuse, torch.OutOfMemoryError):
            pass
    for plan in plans:
        last = None
        for _, state, on_device in train(
            config,
            data,
            plan.rows,
            plan.valid_rows,
            seed=plan.seed,
            fold=plan.fold,
            slots=slots,
            state_file=plan.state_file,
            whole=plan.whole,
        ):
            last = state, on_device
        assert last is not None, "a training has one epoch at least"
        yield last


def _train_fused(
    config: TrialConfig, data: TrainingData, plans: Sequence[TrainingPlan], slots: Slots
) -> list[tuple[TrainState, DeviceData]]:
    import torch

    from tune_digits.learn.device import to_device
    from tune_digits.learn.fit import start_training
    from tune_digits.learn.fused import CannotFuse, fit_fused
    from tune_digits.learn.loop import Training
    from tune_digits.learn.state import pack, unpack

    device = use_slots(slots)
    classes = data.proba.shape[1]
    first = plans[0]
    of_folds = isinstance(config.loss.teacher, SameFolds) and not first.whole
    if of_folds and any(plan.fold != first.fold for plan in plans):
        raise CannotFuse("each fold has a teacher of its own")
    trainings = []
    for plan in plans:
        weights = read_initial_weights(config.model, plan.fold)
        state = start_training(config, data.images, plan.rows, classes, plan.seed, plan.fold, device, weights)
        if plan.state_file is not None and plan.state_file.exists():
            unpack(state, *disk.read_tensors(plan.state_file))
        rows = torch.from_numpy(np.array(plan.rows)).to(device)
        valid = None if plan.valid_rows is None else torch.from_numpy(np.array(plan.valid_rows)).to(device)
        trainings.append(Training(state, rows, plan.seed, plan.fold, valid))
    teacher = teacher_of(config, data, first.rows, None if first.whole else first.fold, device)
    on_device = to_device(data.images, data.proba, data.targets, device, teacher)
    saved = time.monotonic()
    for _ in fit_fused(trainings, config, on_device, metric=data.metric, workers=slots.threads):
        if time.monotonic() - saved < SAVE_EVERY:
            continue
        for plan, training in zip(plans, trainings, strict=True):
            if plan.state_file is not None:
                disk.write_tensors(plan.state_file, *pack(training.state))
        saved = time.monotonic()
    return [(training.state, on_device) for training in trainings]


@dataclass(frozen=True, slots=True)
class TrialData:
    """What all trials of a search share.

    train_rows, valid_rows: int64 (n,) of the one fold. watched_rows: those of valid_rows that each epoch is scored on.
    run_path: the run folder. speed: whether each trial measures its images per second at inference, at its end.
    """

    training: Stored[TrainingData]
    train_rows: np.ndarray
    valid_rows: np.ndarray
    watched_rows: np.ndarray
    run_path: str
    seed: int
    fold: int
    slots: Slots
    speed: bool = False


# the key of a trial's report that holds its score on all validation rows: a number with the last one of a trial that
# trained to its own end, else None
VERDICT = "verdict"


def train_trial(number: int, config: TrialConfig, shared: TrialData) -> Iterator[Mapping[str, Any]]:
    """Train the trial of this number; yields an EpochReport's fields and VERDICT after each epoch.

    Epochs are scored on `watched_rows`, which decides whether the trial goes on. The weights that it is left with are
    scored on all of `valid_rows`, where these are more. Where the speed is measured, the last report of a trial that
    trains to its own end has `inference_images_per_second` too.
    """
    state_file = runs.Run(Path(shared.run_path)).trial_state(number)
    data = shared.training.get()
    for report, state, on_device in train(
        config,
        data,
        shared.train_rows,
        shared.watched_rows,
        seed=shared.seed,
        fold=shared.fold,
        slots=shared.slots,
        state_file=state_file,
    ):
        ended = report is state.history[-1] and is_over(state.history, config.train)
        more = len(shared.valid_rows) > len(shared.watched_rows)
        verdict = verdict_on(shared.valid_rows, config, data, state, on_device)[1] if ended and more else None
        told: dict[str, Any] = {**asdict(report), VERDICT: verdict}
        if ended and shared.speed:
            told["inference_images_per_second"] = _speed(config, shared, state, on_device)
        yield told


def verdict_on(
    rows: np.ndarray, config: TrialConfig, data: TrainingData, state: TrainState, on_device: DeviceData
) -> tuple[np.ndarray, float]:
    """What the weights that a training is left with say of `rows` int64 (n,): probabilities float32 (n, K), score."""
    import torch

    from tune_digits.learn.predict import predict_proba

    heads = head_slices(data.targets)
    images = on_device.images[torch.from_numpy(rows.copy()).to(on_device.images.device)]
    proba = predict_proba(state.best_model, images, heads, precision=config.train.precision)
    return proba, score(data.metric, proba, labels_of_rows(data)[rows], heads)


def labels_of_rows(data: TrainingData) -> np.ndarray:
    """The labels int64 (N, T): the likeliest class of each target."""
    return np.stack([data.proba[:, head].argmax(1) for head in head_slices(data.targets)], axis=1)


def _speed(config: TrialConfig, shared: TrialData, state: TrainState, on_device: DeviceData) -> float:
    """Images per second at inference, on a batch of the validation rows, of the network that the trial is left with."""
    import torch

    from tune_digits.learn.predict import inference_speed

    rows = torch.from_numpy(np.array(shared.valid_rows)).to(on_device.images.device)
    heads = head_slices(shared.training.get().targets)
    return inference_speed(state.best_model, on_device.images[rows], heads, precision=config.train.precision)
