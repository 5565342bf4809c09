"""The knobs that published recipes need can be searched, as numbers, choices and switches."""

from __future__ import annotations

from typing import Any

import pytest
from run_samples import small_study

SCHEDULES: list[dict[str, Any]] = [
    {"name": "exponential", "change_every": {"choice": [1, 2, "epoch"]}},
    {"name": "cosine", "change_every": {"randint": [1, 9]}},
    {
        "name": "cosine_restarts",
        "first": {"qrandint": [10, 40, 10]},
        "unit": {"choice": ["epochs", "updates"]},
        "growth": {"choice": [1, 2]},
    },
    {
        "name": "plateau",
        "arithmetic": "keras",
        "min_delta": {"loguniform": [1e-5, 2.0]},
        "min_lr": {"loguniform": [1e-9, 1e-5]},
        "patience": {"randint": [0, 6]},
    },
    {"name": "plateau", "arithmetic": {"choice": ["torch", "keras"]}},
]
PARTS: list[dict[str, Any]] = [
    *({"schedule": schedule} for schedule in SCHEDULES),
    {
        "train": {
            "epochs": 4,
            "keep": {"choice": ["last", "best_score", "best_loss"]},
            "early_stopping_on": {"choice": ["score", "loss"]},
            "valid_loss": {"choice": ["cross_entropy", "trained"]},
            "drop_last": {"choice": [True, False]},
            "precision": {"choice": ["float32", "bfloat16", "float16"]},
        }
    },
    {
        "mix": {"mixup_alpha": 1.0, "alpha_low": {"uniform": [0.1, 1.0]}},
        "loss": {
            "name": "cross_entropy",
            "reduction": "ohem",
            "ohem_form": {"choice": ["joint", "separate"]},
            "ohem_on": {"choice": ["all", "mixed"]},
            "ohem_unit": "training",
            "ohem_start": {"uniform": [0.0, 0.9]},
            "ohem_decay": {"uniform": [0.1, 0.9]},
        },
    },
    {"loss": {"name": "symmetric_cross_entropy", "clip": {"loguniform": [1e-9, 1e-3]}}},
    {
        "optimizer": {
            "name": "over9000",
            "lr": {"loguniform": [1e-4, 1e-2]},
            "lookahead_k": {"randint": [0, 9]},
        }
    },
]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_each_can_be_searched(part: dict[str, Any]) -> None:
    study = small_study(part)
    searched = study.space.searched()
    for section, knobs in part.items():
        for name, value in knobs.items():
            assert (f"{section}.{name}" in searched) == isinstance(value, dict)
    assert len({config.model_dump_json() for config in study.space.ends()}) > 1
