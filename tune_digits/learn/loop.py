"""What the epochs of one training have in common, whether it is trained by itself or fused with others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.learn import mix
from tune_digits.learn.batches import Batch, DeviceData, batches
from tune_digits.learn.ema import refresh_batchnorm, swa_begins, swa_update
from tune_digits.learn.predict import use_bfloat16
from tune_digits.learn.state import TrainState, derive_seed

# SWA's BatchNorm statistics are of this many training images: enough for a mean, and a small part of an epoch
REFRESH_IMAGES = 4096


@dataclass(frozen=True, slots=True)
class Loop:
    """What the epochs of one training share. class_counts: float32 (K,), of the training rows; seeds: seed and fold."""

    state: TrainState
    config: TrialConfig
    data: DeviceData
    rows: Tensor
    class_counts: Tensor
    seeds: tuple[int, int]
    workers: int

    @property
    def steps(self) -> int:
        """Weight updates in an epoch."""
        return math.ceil(len(self.rows) / self.config.train.batch_size)

    def batches(self, epoch: int, purpose: int, rows: Tensor) -> Iterator[Batch]:
        """One pass over `rows`; purpose keeps the random numbers of an epoch's passes apart."""
        mixes = mix.is_active(self.config.mix, epoch, self.config.train.epochs)
        seed = derive_seed(*self.seeds, epoch, purpose)
        return batches(self.data, rows, self.config, seed, mixes=mixes, workers=self.workers)

    def autocast(self) -> torch.autocast:
        device = self.data.images.device
        enabled = use_bfloat16(self.config.train.precision, device)
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def average_epoch(loop: Loop, epoch: int) -> None:
    """Where SWA has begun, take the weights at an epoch's end into its average, and give that its own statistics."""
    state, train = loop.state, loop.config.train
    if epoch + 1 < swa_begins(train.epochs, train.swa_start):
        return
    swa_update(state.swa, state.current_model, state.averaged)
    state.averaged += 1
    generator = torch.Generator(loop.rows.device).manual_seed(derive_seed(*loop.seeds, epoch, 2))
    order = torch.randperm(len(loop.rows), generator=generator, device=loop.rows.device)
    some = loop.batches(epoch, 3, loop.rows[order[:REFRESH_IMAGES]])
    with loop.autocast():
        refresh_batchnorm(state.swa, (batch.images for batch in some))
