"""The training loop: a generator that trains one epoch and yields its report.

The caller saves, logs, reports or stops; `fit` knows no files, no Ray and no TensorBoard. Every epoch is seeded
from (seed, fold, epoch) alone, so a training taken up again at an epoch's start goes on exactly as it would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.learn import losses
from tune_digits.learn.batches import DeviceData, channel_stats, to_device
from tune_digits.learn.centers import classifier_inputs, move_centers
from tune_digits.learn.ema import ema_decay_at, ema_update
from tune_digits.learn.epoch import EpochReport, is_over
from tune_digits.learn.loop import Loop, average_epoch
from tune_digits.learn.metrics import ACCURACY, Metric, score
from tune_digits.learn.optim import set_lr
from tune_digits.learn.predict import predict_logits, softmax_heads
from tune_digits.learn.schedule import multiplier, snapshot_epochs, watched
from tune_digits.learn.state import TrainState, create_state, derive_seed

__all__ = ["DeviceData", "channel_stats", "evaluate", "fit", "start_training", "to_device"]


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
    augmentation, mixing and dropout. workers: processes of the albumentations backend. A training whose loss is no
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
        loop = Loop(state, config, data, train_rows, counts, (seed, fold), workers)
        while not is_over(state.history, config.train):
            epoch = len(state.history)
            started = time.perf_counter()
            train_loss, lr = _train_epoch(loop, epoch, forward, features)
            average_epoch(loop, epoch)
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
                state.take_snapshot(report.epoch)
            yield report


def _train_epoch(
    loop: Loop, epoch: int, forward: Callable[[Tensor], Tensor], features: list[Tensor] | None
) -> tuple[float, float]:
    """One pass over the training rows; the mean loss and the last learning rate.

    features: what the classifier last took in, where there are centers.
    """
    state, config, device = loop.state, loop.config, loop.data.images.device
    steps = loop.steps
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
            with loop.autocast():
                logits = forward(batch.images)
            each = losses.of_views(
                logits,
                batch.targets,
                config,
                loop.data.heads,
                class_counts=loop.class_counts,
                teacher=batch.teacher,
            )
            if state.centers is not None:
                inputs = features[0][: len(batch.targets)]
                pull = losses.center_loss(inputs, batch.targets, state.centers)
                each = each + config.loss.center_weight * pull
            loss = losses.reduce(each, config.loss, epoch)
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if config.optimizer.clip_norm > 0:
                torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
            state.optimizer.step()
            if state.centers is not None:
                move_centers(state.centers, inputs.detach(), batch.targets, config.loss.center_rate)
            if state.ema is not None:
                ema_update(state.ema, state.model, ema_decay_at(state.step, config.train.ema_decay))
            state.step += 1
            total += loss.detach() * len(batch.targets)
    return total.item() / len(loop.rows), lr


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
