"""Whether it pays to fuse trainings on the device at hand: measured, with the training's own loop."""

from __future__ import annotations

import statistics

import numpy as np
import torch

from tune_digits.config import TrialConfig
from tune_digits.learn.batches import DeviceData
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.fused import Member, fit_fused

WORTH = 1.1  # a gain below is not worth that several trainings end, or are lost, together
ROUNDS = 3  # the first warms up


def fusing_gain(
    config: TrialConfig, images: np.ndarray, data: DeviceData, rows: np.ndarray, networks: int
) -> float:
    """How many times as fast `networks` trainings are as one network, against one after the other.

    images uint8 (N, C, H, W), the same as data's; rows int64 (n,) to train on. Takes a few steps of each way in turns
    and changes nothing; 0 where the device has not the memory.
    """
    device = data.images.device
    # a CPU's step is long and even, a GPU's short
    steps = 2 if device.type == "cpu" else 16
    few = rows[: steps * config.train.batch_size]
    train = config.train.model_copy(
        update={"epochs": ROUNDS, "swa_start": 1.0, "early_stopping": 0, "snapshots": False}
    )
    short = config.model_copy(update={"train": train})
    classes, on_device = data.targets.shape[1], torch.from_numpy(np.array(few)).to(device)

    def member(seed: int) -> Member:
        state = start_training(short, images, few, classes, seed, 0, device)
        return Member(state, on_device, seed, 0)

    one = member(0)
    alone = fit(one.state, short, data, one.rows, seed=0)
    try:
        together = fit_fused([member(seed) for seed in range(networks)], short, data)
        seconds = [(next(alone).seconds, next(together)[0].seconds) for _ in range(ROUNDS)]
    except torch.OutOfMemoryError:
        return 0.0
    return statistics.median(a / b for a, b in seconds[1:])


def best_number(
    config: TrialConfig, images: np.ndarray, data: DeviceData, rows: np.ndarray, most: int
) -> tuple[int, dict[int, float]]:
    """How many trainings to fuse, 1 = none, and the gains by the numbers tried: 2, 4, 8 ... `most`, while they grow."""
    gains: dict[int, float] = {}
    networks = 1
    while networks < most:
        networks = min(2 * networks, most)
        gains[networks] = fusing_gain(config, images, data, rows, networks)
        if gains[networks] < max(1.0, *gains.values()):
            break
    best = max(gains, key=gains.__getitem__, default=1)
    return (best if gains and gains[best] >= WORTH else 1), gains
