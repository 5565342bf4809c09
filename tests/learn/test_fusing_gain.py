"""How many trainings to fuse: measured with the real loop, and chosen where the gain is largest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small_training import CPU, IMAGES, PROBA, TARGETS, TRAIN, config_of

from tune_digits.learn import fusing_gain
from tune_digits.learn.device import DeviceData, to_device
from tune_digits.learn.epoch import EpochReport

ROWS = np.arange(TRAIN)


@pytest.fixture
def data() -> DeviceData:
    return to_device(IMAGES, PROBA, TARGETS, CPU)


def report(seconds: float) -> EpochReport:
    return EpochReport(1, 1.0, None, None, 0.1, seconds, 0.0, 1.0)


def test_the_gain_is_the_median_ratio_without_the_first_round(data: DeviceData, monkeypatch) -> None:
    asked: list[int] = []

    def alone(*args: Any, **kwargs: Any) -> Iterator[EpochReport]:
        yield from map(report, (9.0, 2.0, 6.0))

    def together(trainings: list[Any], *args: Any, **kwargs: Any) -> Iterator[list[EpochReport]]:
        asked.append(len(trainings))
        # the seconds are each training's share already
        yield from ([report(seconds)] * len(trainings) for seconds in (1.0, 1.0, 2.0))

    monkeypatch.setattr(fusing_gain, "fit", alone)
    monkeypatch.setattr(fusing_gain, "fit_fused", together)
    assert fusing_gain.fusing_gain(config_of({}), IMAGES, data, ROWS, 4) == pytest.approx(2.5)
    assert asked == [4]


def test_a_device_without_the_memory_gains_nothing(data: DeviceData, monkeypatch) -> None:
    def too_large(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(fusing_gain, "fit_fused", too_large)
    assert fusing_gain.fusing_gain(config_of({}), IMAGES, data, ROWS, 2) == 0.0


def test_measuring_runs_the_real_loop_and_leaves_everything_as_it_was(data: DeviceData) -> None:
    before = torch.random.get_rng_state()
    config = config_of({"train": {"epochs": 9, "swa_start": 0.5}})
    assert fusing_gain.fusing_gain(config, IMAGES, data, ROWS, 2) > 0
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_best_number_is_where_the_gains_end(monkeypatch) -> None:
    def choose(gains: dict[int, float], most: int) -> tuple[int, list[int]]:
        monkeypatch.setattr(fusing_gain, "fusing_gain", lambda *args: gains[args[-1]])
        best, seen = fusing_gain.best_number(None, None, None, None, most)
        return best, list(seen)

    assert choose({2: 1.8, 4: 3.0, 8: 2.9, 16: 9.9}, 20) == (4, [2, 4, 8])
    assert choose({2: 0.6, 4: 9.9}, 20) == (1, [2])
    assert choose({2: 1.05, 4: 1.02}, 20) == (1, [2, 4])
    assert choose({2: 1.8, 4: 3.0, 5: 3.2}, 5) == (5, [2, 4, 5])
    assert choose({2: 1.2, 4: 0.0}, 9) == (2, [2, 4])  # 0: out of memory
    assert choose({}, 1) == (1, [])
