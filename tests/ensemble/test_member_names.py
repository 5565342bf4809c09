"""A member's file is named by all that decides its weights, and by nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tune_digits.config import TrialConfig
from tune_digits.data.fingerprint import hash_array, hash_of
from tune_digits.ensemble import retrain
from tune_digits.ensemble.retrain import member_jobs


def config(**parts: Any) -> TrialConfig:
    return TrialConfig.model_validate({"train": {"epochs": 3}, **parts})


def name(trial: TrialConfig, seed: int = 0, data_key: str = "data") -> str:
    return member_jobs([(7, trial)], seed + 1, data_key)[seed].file


BASE = name(config())


@pytest.mark.parametrize(
    "parts",
    [
        {"train": {"epochs": 4}},
        {"train": {"epochs": 3, "ema_decay": 0.9}},
        {"train": {"epochs": 3, "batch_size": 64}},
        {"model": {"name": "lean_cnn", "width": 16}},
        {"model": {"name": "lean_cnn", "bn_momentum": 0.2}},
        {"optimizer": {"name": "adamw", "lr": 0.001}},
        {"augment": {"rotate": 5}},
        {"mix": {"mixup_alpha": 0.2}},
        {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}},
        {"schedule": {"name": "constant"}},
    ],
)
def test_it_moves_with_the_configuration(parts: dict[str, Any]) -> None:
    assert name(config(**parts)) != BASE


def test_it_moves_with_seed_data_and_training_version(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {BASE, name(config(), seed=1), name(config(), data_key="other data")}
    monkeypatch.setattr(retrain, "TRAINING_VERSION", retrain.TRAINING_VERSION + 1)
    assert len({*names, name(config())}) == 4


def test_it_stays_for_the_same(tmp_path: Path) -> None:
    assert name(config()) == BASE == name(TrialConfig.model_validate(config().model_dump(mode="json")))


def test_a_teacher_counts_by_its_content_and_not_by_its_path(tmp_path: Path) -> None:
    def taught(path: Path, weight: float = 0.5) -> str:
        return name(config(loss={"name": "cross_entropy", "teacher": str(path), "teacher_weight": weight}))

    first, copied, other = (tmp_path / f"{n}.npz" for n in ("first", "copied", "other"))
    np.savez(first, proba=np.full((4, 2), 0.5, np.float32))
    shutil.copy(first, copied)
    np.savez(other, proba=np.full((4, 2), [0.4, 0.6], np.float32))
    before = taught(first)
    assert before == taught(copied) != taught(other)
    shutil.copy(other, first)
    assert taught(first) == taught(other) != before


def test_initial_weights_count_by_their_content_and_not_by_their_path(tmp_path: Path) -> None:
    def started(path: Path) -> str:
        return name(config(model={"name": "lean_cnn", "weights": str(path)}))

    first, copied, other = (tmp_path / f"{n}.safetensors" for n in ("first", "copied", "other"))
    save_file({"w": torch.zeros(2)}, first)
    shutil.copy(first, copied)
    save_file({"w": torch.ones(2)}, other)
    before = started(first)
    assert BASE != before == started(copied) != started(other)
    shutil.copy(other, first)
    assert started(first) == started(other)


def test_the_key_of_the_data_moves_with_images_and_labels() -> None:
    """As build_ensemble makes it."""
    images, proba = np.zeros((3, 1, 8, 8), np.uint8), np.eye(3, dtype=np.float32)
    keys = {
        hash_of([hash_array(i), hash_array(p)]) for i in (images, images + 1) for p in (proba, proba[::-1])
    }
    assert len(keys) == 4
