"""Each option of a training replays from its seed, and goes on exactly after a stop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_training import scores, training

from tune_digits import disk
from tune_digits.learn.state import pack, unpack

TRICKS: dict[str, dict[str, Any]] = {
    "ohem and weights": {
        "loss": {
            "reduction": "ohem",
            "ohem_rate": 0.8,
            "ohem_start": 1,
            "ohem_decay": 3,
            "ohem_min": 0.4,
            "class_weights": "balanced",
            "head_weights": [0.7, 0.3],
        }
    },
    "center loss": {"loss": {"center_weight": 0.1}},
    "jsd": {"augment": {"augmix_jsd": 4.0, "rotate": 20, "shift": 0.1}, "loss": {"center_weight": 0.1}},
    "distillation and mix": {
        "loss": {"teacher": "teacher.npz", "teacher_weight": 0.6},
        "mix": {"mixup_alpha": 0.4, "cutmix_alpha": 1, "fmix_alpha": 1, "off_last": 1},
    },
    "swa": {"train": {"swa_start": 0.25}, "augment": {"rotate": 20}, "mix": {"mixup_alpha": 1}},
    "swa of ema": {"train": {"swa_start": 0.25, "ema_decay": 0.9}},
    "snapshots": {"train": {"snapshots": True}, "schedule": {"name": "cosine_restarts", "first": 1}},
    "early stopping": {"train": {"early_stopping": 1}, "optimizer": {"lr": 1e-9}},
    "clipped": {"optimizer": {"clip_norm": 0.1, "momentum": 0.9, "lookahead_k": 4, "centralize": True}},
    "each image": {"train": {"normalize": "image", "layout": "contiguous"}},
    "as it is": {"train": {"normalize": "none"}, "optimizer": {"name": "adam", "arithmetic": "keras"}},
    "watched training": {"schedule": {"name": "plateau", "monitor": "train", "patience": 0}},
    "best score": {"train": {"keep": "best_score", "epochs": 6, "ema_decay": 0.5}, "optimizer": {"lr": 0.4}},
    "best loss": {"train": {"keep": "best_loss", "swa_start": 0.5}, "optimizer": {"lr": 0.4}},
    "loss watched": {
        "train": {"early_stopping": 1, "early_stopping_on": "loss", "valid_loss": "trained"},
        "optimizer": {"lr": 1e-9},
        "loss": {"label_smoothing": 0.1},
    },
    "hard samples of each target": {
        "loss": {
            "reduction": "ohem",
            "ohem_form": "separate",
            "ohem_unit": "training",
            "ohem_start": 0.25,
            "ohem_decay": 0.5,
            "ohem_on": "mixed",
        },
        "mix": {"mixup_alpha": 1.0, "cutmix_alpha": 1.0, "alpha_low": 0.8, "p": 0.8},
    },
    "watched as in Keras": {
        "schedule": {
            "name": "plateau",
            "arithmetic": "keras",
            "patience": 1,
            "min_delta": 0.1,
            "min_lr": 0.01,
        }
    },
    "cycles of updates": {
        "schedule": {"name": "cosine_restarts", "first": 4, "unit": "updates", "growth": 2, "change_every": 2}
    },
    "whole batches": {"train": {"batch_size": 40, "drop_last": True}},
    "float16": {"train": {"precision": "float16"}, "loss": {"center_weight": 0.1}},
    "over9000": {"optimizer": {"name": "over9000"}},
    "radam": {"optimizer": {"name": "radam"}, "schedule": {"name": "triangular", "cycle": 2}},
}


@pytest.mark.parametrize("trick", TRICKS)
def test_stop_save_load_go_on_equals_straight_training_bitwise(trick: str, tmp_path) -> None:
    straight, epochs = training(TRICKS[trick])
    expected = scores(epochs)
    stopped, epochs = training(TRICKS[trick])
    first = [report for _, report in zip(range(2), epochs, strict=False)]
    disk.write_tensors(tmp_path / "state.safetensors", *pack(stopped))
    resumed, epochs = training(TRICKS[trick])
    unpack(resumed, *disk.read_tensors(tmp_path / "state.safetensors"))
    assert scores(first) + scores(epochs) == expected
    (tensors, meta), (again, meta_again) = pack(straight), pack(resumed)
    assert tensors.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in tensors.items())
    assert {k: v for k, v in meta.items() if k != "history"} == {
        k: v for k, v in meta_again.items() if k != "history"
    }


@pytest.mark.parametrize("trick", ["center loss", "jsd", "distillation and mix", "swa"])
def test_a_seed_replays_and_a_trick_changes_the_training(trick: str) -> None:
    one, two, other = (scores(training(TRICKS[trick], seed)[1]) for seed in (3, 3, 4))
    assert one == two != other
    assert one != scores(training({}, 3)[1])
