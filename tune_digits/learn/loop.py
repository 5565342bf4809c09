"""The training loop: the steps of an epoch, what is done after an epoch, and its report.

It trains G networks that take every step together: one in `fit`, several of one configuration in `fused`. `Networks` is
what these two do differently; everything else is here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import Train, TrialConfig
from tune_digits.learn import mix, seeds
from tune_digits.learn.batches import Batch, batches, steps_of
from tune_digits.learn.device import DeviceData, autocast
from tune_digits.learn.ema import refresh_batchnorm, swa_begins, swa_update
from tune_digits.learn.epoch import EpochReport, is_over, kept_epoch
from tune_digits.learn.losses import loss_per_sample
from tune_digits.learn.metrics import ACCURACY, Metric, score
from tune_digits.learn.optim import set_lr
from tune_digits.learn.predict import predict_logits, softmax_heads
from tune_digits.learn.scaling import ScaledUpdates
from tune_digits.learn.schedule import multiplier, snapshot_epochs, watched
from tune_digits.learn.state import TrainState

# BatchNorm's statistics for SWA are computed from this many training images: enough for a mean, little of an epoch
REFRESH_IMAGES = 4096


@dataclass(frozen=True, slots=True)
class Setup:
    """What the trainings of one loop share. workers: processes of the albumentations backend."""

    config: TrialConfig
    data: DeviceData
    metric: Metric = ACCURACY
    workers: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """One training: the state that it changes, its rows int64 (n,) of the data, and what seeds it.

    valid_rows: int64 (m,), the rows that it is validated on after each epoch; None = no validation.
    """

    state: TrainState
    rows: Tensor
    seed: int
    fold: int = 0
    valid_rows: Tensor | None = None

    def steps(self, train: Train) -> int:
        """Batches of an epoch."""
        return steps_of(len(self.rows), train.batch_size, train.drop_last)

    def samples(self, train: Train) -> int:
        """Samples that are trained on in an epoch."""
        return self.steps(train) * train.batch_size if train.drop_last else len(self.rows)

    def seed_of(self, epoch: int, purpose: int) -> int:
        """The seed of one kind of random numbers (`seeds.TRAINING`, ...) in `epoch`, counted from 0."""
        return seeds.derive_seed(self.seed, self.fold, epoch, purpose)


class Networks(Protocol):
    """The networks of G trainings, which take every step together."""

    optimizer: torch.optim.Optimizer

    def epoch(self, epoch: int) -> AbstractContextManager[None]:
        """A context for the steps of `epoch` (from 0): training mode, dropout seeded for this epoch."""

    def losses(self, batches: Sequence[Batch], epoch: int) -> Tensor:
        """float32 (G,): what each network minimises on its batch, with gradients."""

    def clip(self, largest: float) -> None:
        """Scale down each network's gradients where their norm is larger than `largest`."""

    def after_update(self, step: int) -> None:
        """Let moving averages and centers follow the weights of update number `step` (from 0)."""


def run_epochs(
    networks: Networks, trainings: Sequence[Training], setup: Setup
) -> Iterator[list[EpochReport]]:
    """Train until every training `is_over`, yielding after each epoch the last report of each, in order.

    All trainings have the same number of steps in an epoch and stand at the same epoch. One whose loss is no longer
    finite stays among the others, and its last report is yielded again. seconds: the time of all divided by G.
    """
    train = setup.config.train
    while not all(is_over(t.state.history, train) for t in trainings):
        epoch = max(len(t.state.history) for t in trainings)
        started = time.perf_counter()
        losses, lr = _train_epoch(networks, trainings, setup, epoch)
        for training in trainings:
            _average_epoch(training, setup, epoch)
        seconds = (time.perf_counter() - started) / len(trainings)
        for training, loss in zip(trainings, losses, strict=True):
            if not is_over(training.state.history, train):
                _end_epoch(training, setup, epoch, loss, lr, seconds)
        yield [t.state.history[-1] for t in trainings]


def _train_epoch(
    networks: Networks, trainings: Sequence[Training], setup: Setup, epoch: int
) -> tuple[list[float], float]:
    """One pass of each training over its rows: the mean losses, and the learning rate of the last update.

    An update that float16 leaves out counts as a step: it takes its place in the schedule, which ends where the
    training ends, but nothing follows the weights.
    """
    config, first = setup.config, trainings[0]
    steps = first.steps(config.train)
    update = updates(networks, first.state, config)
    total_steps = steps * config.train.epochs
    history = watched(config.schedule, first.state.history)
    totals = torch.zeros(len(trainings), device=first.rows.device)
    lr = 0.0
    passes = [_batches(training, setup, epoch, seeds.TRAINING, training.rows) for training in trainings]
    with networks.epoch(epoch):
        for step, together in enumerate(zip(*passes, strict=True), start=first.state.step):
            peak = config.optimizer.lr
            lr = peak * multiplier(config.schedule, step, steps, total_steps, history, peak)
            set_lr(networks.optimizer, lr)
            networks.optimizer.zero_grad(set_to_none=True)
            losses = networks.losses(together, epoch)
            if update(losses.sum()):
                networks.after_update(step)
            for training in trainings:
                training.state.step += 1
            totals += losses.detach() * _sizes(together)
    means = [total / t.samples(config.train) for total, t in zip(totals.tolist(), trainings, strict=True)]
    return means, lr


def updates(networks: Networks, state: TrainState, config: TrialConfig) -> Callable[[Tensor], bool]:
    """The function that updates the weights from a loss, float32 (); it returns whether it did."""

    def clip() -> None:
        if config.optimizer.clip_norm > 0:
            networks.clip(config.optimizer.clip_norm)

    def update(loss: Tensor) -> bool:
        torch.autograd.backward(loss)
        clip()
        networks.optimizer.step()
        return True

    if state.scaler is None:
        return update
    scaled = ScaledUpdates(state.scaler, networks.optimizer)
    return lambda loss: scaled.update(loss, clip)


def _sizes(together: Sequence[Batch]) -> int | Tensor:
    """The batches' numbers of samples: one where they are alike, else (G,)."""
    sizes = [len(batch.targets) for batch in together]
    # a number does not have to travel to a GPU, which would wait for it
    return sizes[0] if len(set(sizes)) == 1 else torch.tensor(sizes, device=together[0].targets.device)


def _batches(training: Training, setup: Setup, epoch: int, purpose: int, rows: Tensor) -> Iterator[Batch]:
    """One pass over `rows` with the random numbers of this purpose."""
    train = setup.config.train
    mixes = mix.is_active(setup.config.mix, epoch, train.epochs)
    seed = training.seed_of(epoch, purpose)
    drop_last = train.drop_last and purpose == seeds.TRAINING
    return batches(
        setup.data, rows, setup.config, seed, mixes=mixes, workers=setup.workers, drop_last=drop_last
    )


def _average_epoch(training: Training, setup: Setup, epoch: int) -> None:
    """Once SWA has begun, include the weights at the end of this epoch in its average, and renew its statistics."""
    state, rows, train = training.state, training.rows, setup.config.train
    if state.swa is None or epoch + 1 < swa_begins(train.epochs, train.swa_start):
        return
    swa_update(state.swa, state.current_model, state.averaged)
    state.averaged += 1
    generator = torch.Generator(rows.device).manual_seed(training.seed_of(epoch, seeds.SWA_ROWS))
    order = torch.randperm(len(rows), generator=generator, device=rows.device)
    some = _batches(training, setup, epoch, seeds.SWA_BATCHES, rows[order[:REFRESH_IMAGES]])
    with autocast(train.precision, rows.device):
        refresh_batchnorm(state.swa, (batch.images for batch in some))


def _end_epoch(training: Training, setup: Setup, epoch: int, loss: float, lr: float, seconds: float) -> None:
    """Validate the weights and add the report to the history; keep the weights of the best epoch, and a snapshot at
    the end of a schedule's cycle."""
    state, train, started = training.state, setup.config.train, time.perf_counter()
    valid_loss = value = None
    if training.valid_rows is not None:
        counts = setup.data.targets[training.rows].sum(0)
        valid_loss, value = evaluate(
            state, setup.config, setup.data, training.valid_rows, setup.metric, counts
        )
    report = EpochReport(
        epoch=epoch + 1,
        train_loss=loss,
        valid_loss=valid_loss,
        score=value if math.isfinite(loss) or value is None else 0.0,
        lr=lr,
        seconds=seconds,
        valid_seconds=time.perf_counter() - started,
        images_per_second=training.samples(train) / seconds,
    )
    state.history.append(report)
    if state.best is not None and value is not None and kept_epoch(state.history, train) is report:
        state.keep_best(report.epoch)
    if report.epoch in snapshot_epochs(setup.config.schedule, train):
        state.take_snapshot(report.epoch)


def evaluate(
    state: TrainState,
    config: TrialConfig,
    data: DeviceData,
    rows: Tensor,
    metric: Metric,
    class_counts: Tensor | None = None,
) -> tuple[float, float]:
    """(loss, score) on `rows`, int64 (n,), of the validated weights: averaged ones where there are any.

    The loss is cross-entropy, mean over samples and heads, or the loss that is trained, as train.valid_loss says.
    class_counts: float (K,), training rows of each class, which the trained loss needs for class_weights.
    """
    train = config.train
    logits = predict_logits(
        state.validated_model, data.images, rows, precision=train.precision, layout=train.layout
    )
    targets = data.targets[rows]
    if train.valid_loss == "trained":
        each = loss_per_sample(logits, targets, config.loss, data.heads, class_counts=class_counts)
        loss = each.mean().item()
    else:
        loss = sum(
            (-(targets[:, h] * logits[:, h].log_softmax(1)).sum(1).mean()).item() for h in data.heads
        ) / len(data.heads)
    labels = np.stack([targets[:, h].argmax(1).cpu().numpy() for h in data.heads], axis=1)
    proba = softmax_heads(logits, data.heads).cpu().numpy()
    return loss, score(metric, proba, labels, data.heads)
