"""The training loop: a generator that trains one epoch and yields its report.

The caller saves, logs, reports or stops; `fit` knows no files, no Ray and no TensorBoard. Every epoch is seeded
from (seed, fold, epoch) alone, so a training taken up again at an epoch's start goes on exactly as it would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import Train, TrialConfig
from tune_digits.learn import losses, mix
from tune_digits.learn.batches import Batch, DeviceData, batches, channel_stats, to_device
from tune_digits.learn.centers import classifier_inputs, move_centers
from tune_digits.learn.ema import ema_decay_at, ema_update, refresh_batchnorm, swa_begins, swa_update
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.metrics import ACCURACY, Metric, score
from tune_digits.learn.optim import set_lr
from tune_digits.learn.predict import predict_logits, softmax_heads, use_bfloat16
from tune_digits.learn.schedule import multiplier, snapshot_epochs, watched
from tune_digits.learn.state import TrainState, create_state, derive_seed

__all__ = ["DeviceData", "channel_stats", "evaluate", "fit", "is_over", "start_training", "to_device"]

# SWA's BatchNorm statistics are of this many training images: enough for a mean, and a small part of an epoch
REFRESH_IMAGES = 4096


def start_training(
    config: TrialConfig,
    images: np.ndarray,
    rows: np.ndarray,
    classes: int,
    seed: int,
    fold: int,
    device: torch.device,
) -> TrainState:
    """A fresh state for training on uint8 images (N, C, H, W) at `rows`, normalised by those rows alone."""
    mean, std = channel_stats(images, rows)
    _, channels, height, width = images.shape
    return create_state(
        config,
        channels=channels,
        height=height,
        width=width,
        classes=classes,
        mean=mean,
        std=std,
        seed=derive_seed(seed, fold),
        device=device,
    )


def is_over(history: list[EpochReport], train: Train) -> bool:
    """Whether a training with these epochs behind it has ended.

    All epochs are done, the loss is no longer finite, or the last `early_stopping` epochs brought no better score.
    """
    if len(history) >= train.epochs or (history and not math.isfinite(history[-1].train_loss)):
        return True
    scores = [r.score for r in history if r.score is not None]
    if not scores or train.early_stopping == 0:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= train.early_stopping


@dataclass(frozen=True, slots=True)
class _Loop:
    """What the epochs of one call of `fit` share. class_counts: float32 (K,), of the training rows."""

    state: TrainState
    config: TrialConfig
    data: DeviceData
    rows: Tensor
    class_counts: Tensor
    forward: Callable[[Tensor], Tensor]
    features: list[Tensor] | None
    seeds: tuple[int, int]
    workers: int

    def batches(self, epoch: int, purpose: int, rows: Tensor) -> Iterator[Batch]:
        """One pass over `rows`; purpose keeps the random numbers of an epoch's passes apart."""
        mixes = mix.is_active(self.config.mix, epoch, self.config.train.epochs)
        seed = derive_seed(*self.seeds, epoch, purpose)
        return batches(self.data, rows, self.config, seed, mixes=mixes, workers=self.workers)

    def autocast(self) -> torch.autocast:
        device = self.data.images.device
        enabled = use_bfloat16(self.config.train.precision, device)
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def fit(
    state: TrainState,
    config: TrialConfig,
    data: DeviceData,
    train_rows: Tensor,
    valid_rows: Tensor | None = None,
    *,
    seed: int,
    fold: int = 0,
    metric: Metric = ACCURACY,
    workers: int = 1,
) -> Iterator[EpochReport]:
    """Train `state` in place until the training `is_over`, yielding after each epoch.

    train_rows, valid_rows: int64 (n,) rows of data, on its device. seed and fold seed each epoch's shuffle,
    augmentation, mixing and dropout. workers: threads of the albumentations backend. A training whose loss is no
    longer finite yields that epoch (score 0) and ends. data.teacher is there if and only if
    config.loss.teacher_weight > 0.
    """
    counts = data.targets[train_rows].sum(0)
    forward = state.model
    if config.train.compile:
        # PyTorch tells neither a hook nor, after eight networks in one process, a new network from earlier ones
        torch.compiler.reset()
        forward = torch.compile(state.model)
    snapshot_at = snapshot_epochs(config.schedule, config.train)
    with classifier_inputs(state.model) if state.centers is not None else nullcontext() as features:
        loop = _Loop(state, config, data, train_rows, counts, forward, features, (seed, fold), workers)
        while not is_over(state.history, config.train):
            epoch = len(state.history)
            started = time.perf_counter()
            train_loss, lr = _train_epoch(loop, epoch)
            if epoch + 1 >= swa_begins(config.train.epochs, config.train.swa_start):
                _average_epoch(loop, epoch)
            trained = time.perf_counter()
            valid_loss = value = None
            if valid_rows is not None:
                valid_loss, value = evaluate(state, config, data, valid_rows, metric)
            finite = math.isfinite(train_loss)
            report = EpochReport(
                epoch=epoch + 1,
                train_loss=train_loss,
                valid_loss=valid_loss,
                score=value if finite or value is None else 0.0,
                lr=lr,
                seconds=trained - started,
                valid_seconds=time.perf_counter() - trained,
                images_per_second=len(train_rows) / (trained - started),
            )
            state.history.append(report)
            if report.epoch in snapshot_at:
                weights = state.current_model.state_dict()
                state.snapshots[report.epoch] = {k: v.detach().clone() for k, v in weights.items()}
            yield report


def _train_epoch(loop: _Loop, epoch: int) -> tuple[float, float]:
    """One pass over the training rows; the mean loss and the last learning rate."""
    state, config, device = loop.state, loop.config, loop.data.images.device
    steps = math.ceil(len(loop.rows) / config.train.batch_size)
    total_steps = steps * config.train.epochs
    history = watched(config.schedule, state.history)
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    total = torch.zeros((), device=device)
    lr = 0.0
    state.model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # nn.Dropout knows only the global generator
        torch.manual_seed(derive_seed(*loop.seeds, epoch, 1))
        for batch in loop.batches(epoch, 1, loop.rows):
            lr = config.optimizer.lr * multiplier(config.schedule, state.step, steps, total_steps, history)
            set_lr(state.optimizer, lr)
            loss = _loss(loop, batch, epoch)
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if config.optimizer.clip_norm > 0:
                torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
            state.optimizer.step()
            if state.centers is not None:
                features = loop.features[0][: len(batch.targets)].detach()
                move_centers(state.centers, features, batch.targets, config.loss.center_rate)
            if state.ema is not None:
                ema_update(state.ema, state.model, ema_decay_at(state.step, config.train.ema_decay))
            state.step += 1
            total += loss.detach() * len(batch.targets)
    return total.item() / len(loop.rows), lr


def _loss(loop: _Loop, batch: Batch, epoch: int) -> Tensor:
    """What is minimised on one batch, a scalar."""
    config, centers, heads = loop.config, loop.state.centers, loop.data.heads
    with loop.autocast():
        logits = loop.forward(batch.images)
    # of three views of each image the plain one comes first, and has the label's loss to itself
    size = len(batch.targets)
    each = losses.loss_per_sample(
        logits[:size],
        batch.targets,
        config.loss,
        heads,
        class_counts=loop.class_counts,
        teacher=batch.teacher,
    )
    if config.augment.augmix_jsd > 0:
        each = each + config.augment.augmix_jsd * losses.jsd_consistency(*logits.split(size), heads)
    if centers is not None:
        pull = losses.center_loss(loop.features[0][:size], batch.targets, centers)
        each = each + config.loss.center_weight * pull
    return losses.reduce(each, config.loss, epoch)


def _average_epoch(loop: _Loop, epoch: int) -> None:
    """Take the weights at an epoch's end into the equal average, and give it statistics of its own."""
    state = loop.state
    swa_update(state.swa, state.current_model, state.averaged)
    state.averaged += 1
    generator = torch.Generator(loop.rows.device).manual_seed(derive_seed(*loop.seeds, epoch, 2))
    order = torch.randperm(len(loop.rows), generator=generator, device=loop.rows.device)
    some = loop.batches(epoch, 3, loop.rows[order[:REFRESH_IMAGES]])
    with loop.autocast():
        refresh_batchnorm(state.swa, (batch.images for batch in some))


def evaluate(
    state: TrainState, config: TrialConfig, data: DeviceData, rows: Tensor, metric: Metric
) -> tuple[float, float]:
    """(cross-entropy, score) of the weights to keep on `rows`."""
    logits = predict_logits(
        state.best_model, data.images, rows, precision=config.train.precision, layout=config.train.layout
    )
    targets = data.targets[rows]
    cross_entropy = sum(
        (-(targets[:, h] * logits[:, h].log_softmax(1)).sum(1).mean()).item() for h in data.heads
    ) / len(data.heads)
    labels = np.stack([targets[:, h].argmax(1).cpu().numpy() for h in data.heads], axis=1)
    proba = softmax_heads(logits, data.heads).cpu().numpy()
    return cross_entropy, score(metric, proba, labels, data.heads)
