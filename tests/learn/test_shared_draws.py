"""What two configurations with the same seed and fold share, as docs/fidelity.md says it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn.augment import draw
from tune_digits.learn.batches import batches
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import start_training

CPU = torch.device("cpu")
ROWS = np.arange(60)


def config(width: int = 8, batch: int = 16, lr: float = 1e-3, **augment: float) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "model": {"name": "lean_cnn", "width": width, "depth": 1},
            "augment": augment,
            "optimizer": {"name": "adamw", "lr": lr},
            "train": {"batch_size": batch},
        }
    )


def order_of(of: TrialConfig) -> list[int]:
    """The rows of one pass, told by their labels: every row is a class of its own."""
    images = np.zeros((60, 1, 8, 8), np.uint8)
    data = to_device(images, np.eye(60, dtype=np.float32), (Target("row", tuple(map(str, ROWS))),), CPU)
    passed = batches(data, torch.from_numpy(ROWS), of, seed=5, mixes=False)
    return [int(row) for batch in passed for row in batch.targets.argmax(1)]


@pytest.mark.parametrize(
    "other",
    [config(16), config(batch=20), config(lr=0.1), config(rotate=10), config(elastic=0.02, cutout=0.2)],
)
def test_the_order_of_rows_is_shared_by_all(other: TrialConfig) -> None:
    assert order_of(config()) == order_of(other)
    assert order_of(config()) != list(ROWS)


def weights(of: TrialConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    return start_training(of, images, ROWS, 10, seed, 0, CPU).model.state_dict()


def test_initial_weights_are_shared_by_networks_of_one_shape() -> None:
    one, other = weights(config()), weights(config(lr=0.1, rotate=10))
    assert all(torch.equal(one[name], other[name]) for name in one)
    fresh = weights(config(), seed=1)
    assert not all(torch.equal(one[name], fresh[name]) for name in one)


def drawn(**augment: float) -> dict[str, torch.Tensor]:
    params = draw(config(**augment).augment, 32, 14, 14, torch.Generator().manual_seed(1))
    names = ("rotate", "shear", "shift", "zoom")
    return {name: value for name in names if (value := getattr(params, name)) is not None}


def test_draws_of_configurations_with_the_same_operations_differ_by_their_strength_alone() -> None:
    one, other = drawn(rotate=10, shift=0.1), drawn(rotate=20, shift=0.05)
    assert torch.allclose(one["rotate"] * 2, other["rotate"]) and torch.allclose(
        one["shift"], other["shift"] * 2
    )


def test_an_operation_that_one_alone_has_changes_the_draws_of_those_after_it() -> None:
    """One generator, in sequence: zoom is drawn before rotate, shear after it."""
    one = drawn(rotate=10, zoom=0.1)
    assert torch.allclose(one["rotate"], drawn(rotate=10, zoom=0.1, shear=5)["rotate"])
    assert not torch.allclose(one["rotate"], drawn(rotate=10)["rotate"])
    assert not torch.allclose(one["rotate"], drawn(rotate=10, zoom=0.1, elastic=0.02)["rotate"])
