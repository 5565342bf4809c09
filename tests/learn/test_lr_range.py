"""The range test: rates rise as they should, it ends where the loss explodes, and its suggestion trains well."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_training import ALL, IMAGES, PROBA, TARGETS, TRAIN, K, config_of

from tune_digits.learn import lr_range
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.lr_range import LEAST, RangeTest, range_test, smooth, suggest
from tune_digits.learn.state import TrainState

CPU = torch.device("cpu")


def tried(change: dict[str, Any], **given: Any) -> tuple[RangeTest, TrainState]:
    config = config_of(change)
    state = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    data = to_device(IMAGES, PROBA, TARGETS, CPU)
    args = {"low": 1e-6, "high": 10.0, "steps": 120, "seed": 0, **given}
    return range_test(state, config, data, torch.arange(TRAIN), **args), state


def test_the_rate_rises_evenly_on_a_logarithmic_scale_and_reaches_the_optimizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_to: list[float] = []
    before = lr_range.set_lr

    def noting(optimizer: Any, lr: float) -> None:
        set_to.append(lr)
        before(optimizer, lr)
        assert optimizer.param_groups[0]["lr"] == lr

    monkeypatch.setattr(lr_range, "set_lr", noting)
    seen, _ = tried({}, low=1e-5, high=1e-3, steps=25)
    np.testing.assert_allclose(np.diff(np.log(seen.lr)), math.log(100) / 24)
    assert (seen.lr[0], seen.lr[-1]) == pytest.approx((1e-5, 1e-3)) and not seen.diverged
    assert set_to == pytest.approx(seen.lr.tolist())


def test_each_update_changes_the_weights_and_is_told() -> None:
    told: list[tuple[int, float]] = []
    seen, state = tried({}, low=1e-3, high=1e-2, steps=25, each=lambda done, loss: told.append((done, loss)))
    start = start_training(config_of({}), IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    moved = [
        not torch.equal(a, b) for a, b in zip(state.model.parameters(), start.model.parameters(), strict=True)
    ]
    assert all(moved)
    assert told == list(zip(range(1, 26), seen.loss.tolist(), strict=True))


def test_it_ends_where_the_loss_explodes() -> None:
    seen, _ = tried({}, low=1e-3, high=1e6)
    assert seen.diverged and len(seen.lr) < 120
    assert np.isfinite(seen.loss).all() and len(seen.loss) == len(seen.lr) == len(seen.smoothed)


def test_all_rows_are_passed_over_before_one_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    before = lr_range.batches

    def noting(data: Any, rows: Any, config: Any, seed: int, **given: Any) -> Any:
        asked.append(seed)
        return before(data, rows, config, seed, **given)

    monkeypatch.setattr(lr_range, "batches", noting)
    tried({}, steps=20, high=1e-3)  # three batches of thirty rows in an epoch
    assert len(asked) == 7 and len(set(asked)) == 7


def test_the_same_seed_gives_the_same_curve() -> None:
    first, again, other = (tried({}, seed=seed, steps=30)[0].loss for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_smoothing_keeps_a_line_where_it_is_and_removes_noise() -> None:
    line = np.linspace(3, 1, 200)
    np.testing.assert_allclose(smooth(line, 200)[30:-30], line[30:-30], atol=1e-9)
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    assert np.std(smooth(line + noise, 200)[30:-30] - line[30:-30]) < 0.04


def curve_of(values: np.ndarray) -> RangeTest:
    lr = np.geomspace(1e-6, 1, len(values))
    return RangeTest(lr, values, values, False)


def test_the_suggestion_lies_between_the_steepest_fall_and_the_least_loss() -> None:
    at = np.linspace(-6, 0, 601)
    fall = 2 / (1 + np.exp(4 * (at + 4))) + np.where(at > -2, (at + 2) ** 2, 0) - 0.01 * at
    found = suggest(curve_of(fall))
    assert found is not None
    assert math.log10(found.steepest) == pytest.approx(-4, abs=0.02)
    assert math.log10(found.least) == pytest.approx(-2, abs=0.03)
    assert math.log10(found.lr) == pytest.approx(-3, abs=0.03)
    steady = suggest(curve_of(fall), constant=True)
    assert steady is not None and steady.lr == pytest.approx(found.lr / 3)


def test_a_fall_after_the_least_loss_does_not_count() -> None:
    at = np.linspace(-6, 0, 601)
    spike = 2 / (1 + np.exp(4 * (at + 4))) + 5 * np.exp(-(((at + 1) / 0.1) ** 2))
    found = suggest(curve_of(spike + np.where(at > -2, at + 2, 0)))
    assert found is not None and found.steepest < 1e-3


def test_a_loss_that_never_falls_gives_no_suggestion() -> None:
    assert suggest(curve_of(np.linspace(1, 3, 100))) is None
    assert suggest(curve_of(np.linspace(3, 1, LEAST - 1))) is None


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "momentum": 0.9}, {"name": "adamw"}])
def test_the_suggestion_trains_better_than_ten_times_less_or_more(optimizer: dict[str, Any]) -> None:
    change = {
        "model": {"name": "lean_cnn", "width": 8},
        "optimizer": optimizer,
        "schedule": {"name": "one_cycle"},
        "train": {"epochs": 4, "batch_size": 15},
    }
    found = suggest(tried(change, steps=150)[0])
    assert found is not None

    def loss_with(lr: float) -> float:
        config = config_of({**change, "optimizer": {**optimizer, "lr": lr}})
        data = to_device(IMAGES, PROBA, TARGETS, CPU)
        losses = []
        for seed in (1, 2, 3):
            state = start_training(config, IMAGES, np.arange(TRAIN), K, seed, 0, CPU)
            *_, last = fit(state, config, data, torch.arange(TRAIN), torch.arange(TRAIN, ALL), seed=seed)
            assert last.valid_loss is not None
            losses.append(last.valid_loss)
        return float(np.mean(losses))

    ours = loss_with(found.lr)
    assert ours < loss_with(found.lr / 10) and ours < loss_with(found.lr * 10)
