"""One training: how it starts, and how it goes on from epoch to epoch.

The caller saves, logs, reports or stops; nothing here knows files, Ray or TensorBoard. Every epoch is seeded from
(seed, fold, epoch) alone, so a training that is resumed at the start of an epoch goes on exactly as it would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.learn import losses, seeds
from tune_digits.learn.batch_loss import batch_loss
from tune_digits.learn.batches import Batch
from tune_digits.learn.centers import classifier_inputs, move_centers
from tune_digits.learn.device import DeviceData, autocast
from tune_digits.learn.ema import ema_decay_at, ema_update
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.loop import Setup, Training, run_epochs
from tune_digits.learn.metrics import ACCURACY, Metric
from tune_digits.learn.state import TrainState, create_state


def start_training(
    config: TrialConfig,
    images: np.ndarray,
    rows: np.ndarray,
    classes: int,
    seed: int,
    fold: int,
    device: torch.device,
    weights: Mapping[str, Tensor] | None = None,
) -> TrainState:
    """A new state for training on uint8 images (N, C, H, W) at `rows`, normalised by the statistics of those rows.

    The initial weights come from (seed, fold), and from `weights` where names and shapes fit.
    """
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
        seed=seeds.derive_seed(seed, fold),
        device=device,
        weights=weights,
    )


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
    """Train `state` in place until the training `is_over`, yielding a report after each epoch.

    train_rows, valid_rows: int64 (n,) rows of data, on its device. seed and fold seed each epoch's shuffle,
    augmentation, mixing and dropout. workers: processes of the albumentations backend. A training whose loss is no
    longer finite yields that epoch (score 0) and ends. data.teacher is there if and only if
    config.loss.teacher_weight > 0. With config.train.drop_last there are at least batch_size train_rows. Afterwards
    state.best_model has the weights that config.train.keep means.
    """
    training = Training(state, train_rows, seed, fold, valid_rows)
    setup = Setup(config, data, metric, workers)
    with ExitStack() as stack:
        features = None if state.centers is None else stack.enter_context(classifier_inputs(state.model))
        for (report,) in run_epochs(OneNetwork(training, setup, features), [training], setup):
            yield report


class OneNetwork:
    """The network of one training, as `loop.Networks`. features: its `classifier_inputs`, where there are centers."""

    def __init__(self, training: Training, setup: Setup, features: list[Tensor] | None) -> None:
        self.training, self.setup = training, setup
        self.features = [] if features is None else features
        self.state = training.state
        self.optimizer = self.state.optimizer
        self.class_counts = setup.data.targets[training.rows].sum(0)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.targets = torch.empty(0)  # of the last batch
        self.forward: Callable[[Tensor], Tensor] = self.state.model
        if setup.config.train.compile:
            # PyTorch tells neither a hook nor, after eight networks in one process, a new network from earlier ones
            torch.compiler.reset()
            self.forward = torch.compile(self.state.model)

    @contextmanager
    def epoch(self, epoch: int) -> Iterator[None]:
        device = self.setup.data.images.device
        self.state.model.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # nn.Dropout draws from the global generator and no other
            torch.manual_seed(self.training.seed_of(epoch, seeds.TRAINING))
            yield

    def losses(self, batches: Sequence[Batch], epoch: int) -> Tensor:
        (batch,) = batches
        config, data = self.setup.config, self.setup.data
        with autocast(config.train.precision, batch.images.device):
            logits = self.forward(batch.images)
        pull = None
        if self.state.centers is not None:
            self.targets = batch.targets
            distance = losses.center_loss(self._centered(), batch.targets, self.state.centers)
            pull = config.loss.center_weight * distance
        return batch_loss(
            logits, batch, config, data.heads, epoch, class_counts=self.class_counts, added=pull
        )[None]

    def _centered(self) -> Tensor:
        """(B, D): the features that center loss pulls, those of the plain images where there are several views."""
        return self.features[0][: len(self.targets)]

    def clip(self, largest: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, largest)

    def after_update(self, step: int) -> None:
        state, config = self.state, self.setup.config
        if state.centers is not None:
            move_centers(state.centers, self._centered().detach(), self.targets, config.loss.center_rate)
        if state.ema is not None:
            ema_update(state.ema, state.model, ema_decay_at(step, config.train.ema_decay))
