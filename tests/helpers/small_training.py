"""A small training that the tests of the loop share: bars in one of three places, dark or light, two targets."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn.device import to_device
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.state import TrainState

CPU = torch.device("cpu")
TARGETS = (Target("shape", ("a", "b", "c")), Target("tone", ("dark", "light")))
HEADS = (slice(0, 3), slice(3, 5))
TRAIN, ALL, K = 90, 120, 5
PLAIN = {
    "model": {"name": "lean_cnn", "width": 4, "depth": 1, "dropout": 0},
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0, "nesterov": False},
    "schedule": {"name": "constant"},
    "train": {"epochs": 4, "batch_size": 30},
}


def make_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 (ALL, 1, 8, 8) with a bar at one of three places, dark or light; proba; a teacher's proba."""
    rng = np.random.default_rng(0)
    place, light = rng.integers(0, 3, ALL), rng.integers(0, 2, ALL)
    images = rng.integers(0, 60, (ALL, 1, 8, 8))
    for i in range(ALL):
        images[i, 0, :, 3 * place[i] : 3 * place[i] + 2] += 80 + 80 * light[i]
    proba = np.concatenate([np.eye(3)[place], np.eye(2)[light]], 1).astype(np.float32)
    teacher = np.concatenate([rng.dirichlet(np.ones(3), ALL), rng.dirichlet(np.ones(2), ALL)], 1)
    return images.astype(np.uint8), proba, teacher.astype(np.float32)


IMAGES, PROBA, TEACHER = make_data()


def config_of(change: dict[str, Any]) -> TrialConfig:
    """PLAIN, with `change` laid over it part by part; a part with another name takes nothing over."""
    raw = copy.deepcopy(PLAIN)
    for part, values in change.items():
        old = raw.get(part, {})
        raw[part] = values if values.get("name", old.get("name")) != old.get("name") else {**old, **values}
    raw.setdefault("loss", {}).setdefault("name", "cross_entropy")
    return TrialConfig.model_validate(raw)


def training(change: dict[str, Any], seed: int = 0) -> tuple[TrainState, Iterator[EpochReport]]:
    """The state before the first update, and the epochs that change it, on the first TRAIN rows."""
    config = config_of(change)
    state = start_training(config, IMAGES, np.arange(TRAIN), K, seed, 0, CPU)
    data = to_device(IMAGES, PROBA, TARGETS, CPU, TEACHER if config.loss.teacher_weight else None)
    return state, fit(state, config, data, torch.arange(TRAIN), torch.arange(TRAIN, ALL), seed=seed)


def scores(epochs: Iterable[EpochReport]) -> list[tuple[float, float | None, float | None]]:
    return [(r.train_loss, r.valid_loss, r.score) for r in epochs]
