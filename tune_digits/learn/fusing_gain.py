"""How much faster fused trainings are on this device, measured with the training's own loop."""

from __future__ import annotations

import statistics

import numpy as np
import torch

from tune_digits.config import TrialConfig
from tune_digits.learn.device import DeviceData
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.fused import fit_fused
from tune_digits.learn.loop import Training

WORTH = 1.1  # for less it is not worth it that several trainings end, or are lost, together
ROUNDS = 3  # the first warms up


def fusing_gain(
    config: TrialConfig, images: np.ndarray, data: DeviceData, rows: np.ndarray, networks: int
) -> float:
    """How many times as fast `networks` trainings are as one network, against one after the other.

    images: uint8 (N, C, H, W), the same as data's; rows: int64 (n,) to train on. Takes a few steps of each way in turns
    on states of its own. 0 where the device's memory is too small.
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

    def training(seed: int) -> Training:
        return Training(start_training(short, images, few, classes, seed, 0, device), on_device, seed)

    one = training(0)
    alone = fit(one.state, short, data, one.rows, seed=0)
    try:
        together = fit_fused([training(seed) for seed in range(networks)], short, data)
        seconds = [(next(alone).seconds, next(together)[0].seconds) for _ in range(ROUNDS)]
    except torch.OutOfMemoryError:
        return 0.0
    return statistics.median(a / b for a, b in seconds[1:])


def best_number(
    config: TrialConfig, images: np.ndarray, data: DeviceData, rows: np.ndarray, most: int
) -> tuple[int, dict[int, float]]:
    """How many trainings to fuse (1 = none), and the gain of each number that was tried.

    Tried are 2, 4, 8 and so on up to `most`, as long as the gain grows.
    """
    gains: dict[int, float] = {}
    networks = 1
    while networks < most:
        networks = min(2 * networks, most)
        gains[networks] = fusing_gain(config, images, data, rows, networks)
        if gains[networks] < max(1.0, *gains.values()):
            break
    best = max(gains, key=gains.__getitem__, default=1)
    return (best if gains and gains[best] >= WORTH else 1), gains
