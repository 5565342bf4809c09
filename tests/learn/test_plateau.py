"""The plateau schedule with arithmetic: keras, step for step against Keras's own callback."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from small_training import config_of, training

os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="keras is not installed: pip install 'tune_digits[dev]'")

from tune_digits.config import TrialConfig  # noqa: E402
from tune_digits.config.schedule import Plateau  # noqa: E402
from tune_digits.learn.schedule import multiplier  # noqa: E402
from tune_digits.study import find_space, load_study  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
R1 = {"patience": 3, "factor": 0.5, "min_delta": 1e-4}


def rates_of_keras(losses: list[float], lr: float, **knobs: Any) -> list[float]:
    """The learning rate in each epoch, as Keras's ReduceLROnPlateau sets it after the epochs before."""
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(lr), loss="mse")
    callback = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", mode="min", cooldown=0, **knobs)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        rates.append(float(model.optimizer.learning_rate))
        callback.on_epoch_end(epoch, {"val_loss": loss})
    return rates


def ours(losses: list[float], lr: float, **knobs: Any) -> list[float]:
    config = Plateau(arithmetic="keras", **knobs)
    return [
        lr * multiplier(config, 3 * epoch + 1, 3, 3 * len(losses), losses[:epoch], lr)
        for epoch in range(len(losses))
    ]


def noisy(seed: int, epochs: int = 40, noise: float = 0.05) -> list[float]:
    draws = torch.randn(epochs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values: list[float] = (0.5 + 2 / torch.arange(1, epochs + 1) + noise * draws).tolist()
    return values


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("patience", [0, 1, 2, 5])
@pytest.mark.parametrize(("min_delta", "min_lr"), [(1e-4, 0.0), (0.05, 1e-3), (2.0, 1e-8)])
def test_every_rate_is_kerass(seed: int, patience: int, min_delta: float, min_lr: float) -> None:
    knobs = {"patience": patience, "factor": 0.5, "min_delta": min_delta, "min_lr": min_lr}
    theirs = rates_of_keras(noisy(seed), 0.01, **knobs)
    assert ours(noisy(seed), 0.01, **knobs) == pytest.approx(theirs, rel=1e-6)
    assert theirs[-1] < 0.01


@pytest.mark.parametrize("epochs", [30, 90])
def test_the_kannada_kernels_plateau_is_kerass(epochs: int) -> None:
    """R1: RMSprop at 3e-4 and the 30 epochs of a fold, of which the last bring nothing; or many more of them."""
    losses = [*noisy(7, 12), *([0.6] * 4), 0.59995, *([0.6] * (epochs - 17))]
    theirs = rates_of_keras(losses, 3e-4, min_lr=1e-8, **R1)
    assert ours(losses, 3e-4, min_lr=1e-8, **R1) == pytest.approx(theirs, rel=1e-6)
    assert len(set(theirs)) >= 5
    space = load_study(find_space("recipes/kannada_se")).space
    recipe = TrialConfig.model_validate(space.point(space.baseline)[1])
    rates = [
        recipe.optimizer.lr
        * multiplier(recipe.schedule, epoch, 1, epochs, losses[:epoch], recipe.optimizer.lr)
        for epoch in range(epochs)
    ]
    assert rates == pytest.approx(theirs, rel=1e-6)


def test_the_rate_stays_at_min_lr() -> None:
    rates = ours([1.0] * 40, 3e-4, min_lr=1e-5, **R1)
    assert rates[-1] == pytest.approx(1e-5)
    assert rates == pytest.approx(rates_of_keras([1.0] * 40, 3e-4, min_lr=1e-5, **R1), rel=1e-6)


def test_absolute_and_relative_improvements_differ() -> None:
    losses = [100.0, 99.0, 98.0]
    assert multiplier(Plateau(patience=0, factor=0.5, min_delta=0.5), 2, 1, 9, losses) == 0.25
    keras_way = Plateau(patience=0, factor=0.5, min_delta=0.5, arithmetic="keras")
    assert multiplier(keras_way, 2, 1, 9, losses) == 1.0


def test_min_lr_arrives_at_the_optimizer() -> None:
    plateau = {"name": "plateau", "patience": 0, "factor": 0.5, "min_delta": 0.9, "min_lr": 0.004}
    _, epochs = training({"schedule": plateau, "optimizer": {"lr": 0.01}})
    assert [r.lr for r in epochs] == pytest.approx([0.01, 0.01, 0.005, 0.004])


def test_a_relative_improvement_of_one_and_more_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_delta 2 is a fraction of the best loss"):
        Plateau(min_delta=2.0)


def test_a_least_rate_above_the_peak_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"min_lr 0\.1 is more than optimizer\.lr 0\.05"):
        config_of({"schedule": {"name": "plateau", "min_lr": 0.1}})
