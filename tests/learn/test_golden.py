"""Golden numbers: what a configuration, a data set and a seed train to does not change unawares.

Where one of these fails on purpose (a formula, a default, the order of random numbers), raise TRAINING_VERSION in
tune_digits/learn/version.py by one, so that saved members and scores of the old meaning are not taken again, and write
the new numbers here with its new value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_training import scores, training

from tune_digits.learn.seeds import derive_seed
from tune_digits.learn.version import TRAINING_VERSION

VERSION = 2
MESSAGE = "trains to other weights than before: where that is meant, raise learn.version.TRAINING_VERSION"
AUGMENT = {"rotate": 15, "shift": 0.1, "elastic": 0.02, "cutout": 0.3, "brightness": 0.1, "p": 0.9}
# configuration -> (train_loss, valid_loss) of its two epochs
GOLDEN: dict[str, tuple[dict[str, Any], list[tuple[float, float]]]] = {
    "plain": ({}, [(0.9153975, 0.8867168), (0.81128, 0.8780624)]),
    "augmented and mixed": (
        {"augment": AUGMENT, "mix": {"mixup_alpha": 0.4, "cutmix_alpha": 1}},
        [(0.9236488, 0.8881842), (0.8660011, 0.8820066)],
    ),
    "adamw, one cycle, moving average": (
        {
            "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.05},
            "schedule": {"name": "one_cycle"},
            "train": {"ema_decay": 0.9},
        },
        [(0.892238, 0.8785638), (0.6674383, 0.865202)],
    ),
    "dropout, weights, the hardest": (
        {
            "model": {"dropout": 0.3},
            "loss": {
                "class_weights": "balanced",
                "reduction": "ohem",
                "ohem_rate": 0.7,
                "label_smoothing": 0.1,
            },
        },
        [(0.9349849, 0.887999), (0.8553555, 0.8821519)],
    ),
    "averaged epochs, center loss": (
        {"train": {"swa_start": 0.5}, "loss": {"center_weight": 0.1}, "augment": AUGMENT},
        [(1.1630376, 0.888121), (0.9680635, 0.7765073)],
    ),
    "keras8, focal, cosine": (
        {
            "model": {"name": "keras8", "width": 4},
            "loss": {"name": "focal"},
            "schedule": {"name": "cosine", "warmup_epochs": 1},
        },
        [(0.4085738, 0.88615), (0.3883948, 0.8941726)],
    ),
    "se_cnn": ({"model": {"name": "se_cnn", "width": 4}}, [(0.9951054, 0.8966621), (0.8848406, 0.8925439)]),
}
SEEDS = [7896617691030780094, 2832498210068510468]
FIRST_WEIGHTS = [-0.11860566, -0.05485293, 0.20660047]


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_stay_what_they_were(name: str) -> None:
    change, expected = GOLDEN[name]
    _, epochs = training({**change, "train": {**change.get("train", {}), "epochs": 2}}, seed=1)
    found = [(train, valid) for train, valid, _ in scores(epochs)]
    # other processors round otherwise
    assert np.allclose(found, expected, rtol=2e-4), f"{name} {MESSAGE}; found {found}"


def test_seeds_and_first_weights_stay_what_they_were() -> None:
    assert [derive_seed(0), derive_seed(3, 1, 4, 1)] == SEEDS, MESSAGE
    state, _ = training({}, seed=1)
    first = next(state.model.parameters()).flatten()[:3]
    assert torch.allclose(first, torch.tensor(FIRST_WEIGHTS), rtol=1e-5), f"{MESSAGE}; found {first.tolist()}"


def test_the_numbers_here_are_of_this_version() -> None:
    assert TRAINING_VERSION == VERSION, "write the new numbers here, and the version that they belong to"
