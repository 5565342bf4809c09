"""The training loop: a generator that trains one epoch and yields its report.

The caller saves, logs, reports or stops; `fit` knows no files, no Ray and no TensorBoard. Every epoch is seeded
from (seed, fold, epoch) alone, so a training taken up again at an epoch's start goes on exactly as it would have.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target, head_slices
from tune_digits.learn import augment, losses, mix
from tune_digits.learn.ema import ema_decay_at, ema_update
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.metrics import ACCURACY, Metric, score
from tune_digits.learn.optim import set_lr
from tune_digits.learn.predict import predict_logits, softmax_heads, to_float, use_bfloat16
from tune_digits.learn.schedule import multiplier
from tune_digits.learn.state import TrainState, create_state, derive_seed

# several small batches are augmented in one go: below about this many images the fixed cost per call shows
AUGMENT_TOGETHER = 1024


@dataclass(frozen=True, slots=True)
class DeviceData:
    """A data set on its device: images uint8 (N, C, H, W), targets float32 (N, K) probabilities per head."""

    images: Tensor
    targets: Tensor
    heads: tuple[slice, ...]


def one_hot(labels: np.ndarray, targets: tuple[Target, ...]) -> np.ndarray:
    """Labels int64 (N, T) -> float32 (N, K), the one form in which the loop sees what is to be learnt."""
    columns = np.concatenate(
        [np.eye(len(t.classes), dtype=np.float32)[labels[:, i]] for i, t in enumerate(targets)], axis=1
    )
    return np.ascontiguousarray(columns)


def to_device(
    images: np.ndarray, proba: np.ndarray, targets: tuple[Target, ...], device: torch.device
) -> DeviceData:
    """Move images uint8 (N, C, H, W) and target probabilities float32 (N, K) to `device`, once.

    On a CPU nothing is copied: the arrays may be read-only views into Ray's shared memory, and are never written.
    """
    return DeviceData(_tensor(images).to(device), _tensor(proba).to(device), head_slices(targets))


def _tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        # Ray's shared memory is read-only, and so is our use of it
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)


def channel_stats(images: np.ndarray, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (C,) of uint8 images (N, C, H, W) at `rows`, on the scale 0..1; std >= 1e-3."""
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for part in np.array_split(rows, math.ceil(len(rows) / 4096)):
            # a histogram of bytes is exact and needs no float copy of the images
            counts += np.bincount(images[part, channel].reshape(-1), minlength=256)
        values = np.arange(256) / 255
        mean = float(counts @ values / counts.sum())
        means.append(mean)
        stds.append(max(1e-3, math.sqrt(float(counts @ (values - mean) ** 2 / counts.sum()))))
    return tuple(means), tuple(stds)


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
    """Train `state` in place until config.train.epochs are done, yielding after each epoch.

    train_rows, valid_rows: int64 (n,) rows of data, on its device. seed and fold seed each epoch's shuffle,
    augmentation, mixing and dropout. workers: threads of the albumentations backend. A training whose loss is no
    longer finite yields that epoch (score 0) and ends.
    """
    steps_per_epoch = math.ceil(len(train_rows) / config.train.batch_size)
    for epoch in range(len(state.history), config.train.epochs):
        generator = torch.Generator(data.images.device).manual_seed(derive_seed(seed, fold, epoch, 1))
        started = time.perf_counter()
        train_loss, lr = _train_epoch(state, config, data, train_rows, steps_per_epoch, generator, workers)
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
        yield report
        if not finite:
            return


def _train_epoch(
    state: TrainState,
    config: TrialConfig,
    data: DeviceData,
    rows: Tensor,
    steps: int,
    generator: torch.Generator,
    workers: int,
) -> tuple[float, float]:
    """One pass over `rows`; the mean loss and the last learning rate."""
    device = data.images.device
    bfloat16 = use_bfloat16(config.train.precision, device)
    total_steps = steps * config.train.epochs
    history = [r.train_loss if r.valid_loss is None else r.valid_loss for r in state.history]
    total = torch.zeros((), device=device)
    lr = 0.0
    state.model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # nn.Dropout knows only the global generator
        torch.manual_seed(generator.initial_seed())
        for images, targets in _batches(data, rows, steps, config, generator, workers):
            lr = config.optimizer.lr * multiplier(config.schedule, state.step, steps, total_steps, history)
            set_lr(state.optimizer, lr)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                logits = state.model(images)
            loss = losses.loss_per_sample(logits.float(), targets, config.loss, data.heads).mean()
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            state.optimizer.step()
            if state.ema is not None:
                ema_update(state.ema, state.model, ema_decay_at(state.step, config.train.ema_decay))
            state.step += 1
            total += loss.detach() * len(images)
    return total.item() / len(rows), lr


def _batches(
    data: DeviceData,
    rows: Tensor,
    steps: int,
    config: TrialConfig,
    generator: torch.Generator,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented, mixed: images float32 (B, C, H, W) in 0..1, targets float32 (B, K).

    The sizes of the batches differ by one at most, so that no sample is left out and none stands alone.
    """
    order = rows[torch.randperm(len(rows), generator=generator, device=rows.device)]
    parts = order.tensor_split(steps)
    together = max(1, AUGMENT_TOGETHER // config.train.batch_size)
    groups = [parts[i : i + together] for i in range(0, steps, together)]
    for group, images in zip(groups, _augmented(data, groups, config, generator, workers), strict=True):
        sizes = [len(part) for part in group]
        targets = data.targets[torch.cat(group)]
        for x, y in zip(images.split(sizes), targets.split(sizes), strict=True):
            params = mix.draw(config.mix, *x.shape[0:1], *x.shape[2:], generator)
            yield (x, y) if params is None else mix.apply(x, y, params)


def _augmented(
    data: DeviceData,
    groups: list[tuple[Tensor, ...]],
    config: TrialConfig,
    generator: torch.Generator,
    workers: int,
) -> Iterator[Tensor]:
    """The images of each group of batches in one tensor float32 (n, C, H, W), channels innermost."""
    if config.augment.backend == "albumentations":
        from tune_digits.learn.albumentations_backend import augment_batches

        seed = generator.initial_seed()
        host = data.images.cpu()
        indices = [torch.cat(group).cpu() for group in groups]
        for images in augment_batches(host, indices, config.augment, seed, workers):
            yield images.to(data.images.device, memory_format=torch.channels_last)
        return
    for group in groups:
        images = to_float(data.images[torch.cat(group)])
        images = augment.augment(images, config.augment, generator)
        yield images.contiguous(memory_format=torch.channels_last)


def evaluate(
    state: TrainState, config: TrialConfig, data: DeviceData, rows: Tensor, metric: Metric
) -> tuple[float, float]:
    """(cross-entropy, score) of the weights to keep on `rows`."""
    logits = predict_logits(state.best_model, data.images, rows, precision=config.train.precision)
    targets = data.targets[rows]
    cross_entropy = sum(
        (-(targets[:, h] * logits[:, h].log_softmax(1)).sum(1).mean()).item() for h in data.heads
    ) / len(data.heads)
    labels = np.stack([targets[:, h].argmax(1).cpu().numpy() for h in data.heads], axis=1)
    proba = softmax_heads(logits, data.heads).cpu().numpy()
    return cross_entropy, score(metric, proba, labels, data.heads)
