"""The weights that a training starts from: where they lie, what is read, and what tells their content apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tune_digits import disk
from tune_digits.config import TrialConfig
from tune_digits.config.model import LeanCnn
from tune_digits.data.dataset import Target
from tune_digits.errors import ConfigError
from tune_digits.execute.slots import Slots
from tune_digits.learn.metrics import ACCURACY
from tune_digits.learn.models import build_model
from tune_digits.study import make_study
from tune_digits.tune.initial_weights import (
    initial_weights_digest,
    initial_weights_file,
    read_initial_weights,
)
from tune_digits.tune.training import TrainingData, TrainingPlan, train, train_plans
from tune_digits.validate import validate

SMALL = {"width": 4, "depth": 1}


def weights(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    model = build_model(LeanCnn(**SMALL), 1, 12, 12, 5, (0.1 * seed,), (1.0 + seed,))
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with an ensemble of two members."""
    folder = tmp_path / "run" / "ensemble"
    members = ["members/a.safetensors", "members/b.safetensors"]
    for seed, name in enumerate(members, 1):
        disk.write_tensors(folder / name, weights(seed), {})
    (folder / "manifest.json").write_text(json.dumps({"members": members}))
    return folder.parent


@pytest.mark.parametrize("below", ["", "ensemble"])
def test_init_from_takes_the_first_member_of_a_run(run: Path, below: str) -> None:
    config = LeanCnn(**SMALL, init_from=str(run / below))
    assert initial_weights_file(config, 0) == run / "ensemble/members/a.safetensors"
    torch.testing.assert_close(read_initial_weights(config, 0), weights(1), rtol=0, atol=0)


def test_without_a_file_there_are_no_weights() -> None:
    config = LeanCnn(**SMALL)
    assert (
        read_initial_weights(config, 0)
        is initial_weights_file(config, 0)
        is initial_weights_digest(config)
        is None
    )


def test_weights_takes_the_tensors_of_a_file(tmp_path: Path) -> None:
    torch.save(weights(1), tmp_path / "w.pt")
    config = LeanCnn(**SMALL, weights=str(tmp_path / "w.pt"))
    torch.testing.assert_close(read_initial_weights(config, 0), weights(1), rtol=0, atol=0)


def test_folders_that_cannot_be_used_are_named(tmp_path: Path, run: Path) -> None:
    from_run = LeanCnn(**SMALL, init_from=str(run))
    (run / "ensemble/members/a.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"init_from.*a\.safetensors: missing"):
        read_initial_weights(from_run, 0)
    with pytest.raises(ConfigError, match=r"init_from.*a\.safetensors"):
        initial_weights_digest(from_run)
    (run / "ensemble/manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"init_from.*holds no readable ensemble"):
        read_initial_weights(from_run, 0)
    with pytest.raises(ConfigError, match=r"holds no ensemble"):
        read_initial_weights(LeanCnn(**SMALL, init_from=str(tmp_path)), 0)


def test_the_digest_is_of_the_content_that_is_read(tmp_path: Path, run: Path) -> None:
    def of(**model: str) -> str | None:
        return initial_weights_digest(LeanCnn(**SMALL, **model))

    first = of(init_from=str(run))
    member = run / "ensemble/members/a.safetensors"
    assert first == of(init_from=str(run / "ensemble")) == of(weights=str(member))
    run.rename(tmp_path / "moved")
    assert of(init_from=str(tmp_path / "moved")) == first
    disk.write_tensors(tmp_path / "moved/ensemble/members/b.safetensors", weights(3), {})
    assert of(init_from=str(tmp_path / "moved")) == first  # b is not read
    disk.write_tensors(tmp_path / "moved/ensemble/members/a.safetensors", weights(3), {})
    assert of(init_from=str(tmp_path / "moved")) != first
    with pytest.raises(ConfigError, match=r"model\.weights.*none\.pt"):
        of(weights=str(tmp_path / "none.pt"))


@pytest.mark.parametrize("fused", [False, True])
def test_a_training_starts_from_the_file_that_its_configuration_names(tmp_path: Path, fused: bool) -> None:
    disk.write_tensors(tmp_path / "w.safetensors", weights(1), {})
    raw = {
        "model": {"name": "lean_cnn", **SMALL, "weights": str(tmp_path / "w.safetensors")},
        "optimizer": {"name": "sgd", "lr": 1e-12},
        "train": {"epochs": 1, "batch_size": 20},
    }
    config = TrialConfig.model_validate(raw)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 1, 12, 12), dtype=np.uint8)
    proba = np.eye(5, dtype=np.float32)[rng.integers(0, 5, 40)]
    data = TrainingData(images, proba, (Target("digit", tuple("abcde")),), ACCURACY)
    rows, slots = np.arange(40), Slots(1, 0, 1)
    if fused:
        parts = [TrainingPlan(rows, seed, 0) for seed in (1, 2)]
        states = [state for state, _ in train_plans(config, data, parts, slots)]
    else:
        states = [state for _, state, _ in train(config, data, rows, None, seed=1, fold=0, slots=slots)]
    for state in states:
        for name, parameter in state.model.named_parameters():
            torch.testing.assert_close(parameter, weights(1)[name], atol=1e-6, rtol=0)


def test_paths_are_checked_where_a_study_is_read_and_nowhere_else(tmp_path: Path, run: Path) -> None:
    def read(**model: str) -> TrialConfig:
        return validate(TrialConfig, {"model": {"name": "lean_cnn", **model}}, "my.yaml: trial")

    with pytest.raises(ConfigError, match=r"trial\.model\.init_from: is no run with an ensemble"):
        read(init_from=str(tmp_path))
    with pytest.raises(ConfigError, match=r"trial\.model\.weights: there is no such file"):
        read(weights=str(tmp_path / "none.pt"))
    with pytest.raises(ConfigError, match=r"trial\.model\.weights: a file of weights ends in .*\.pth\.gz"):
        read(weights=str(tmp_path / "none.h5"))
    assert read(init_from=str(run)).model.init_from == str(run)
    with pytest.raises(ConfigError, match="exclude each other"):
        read(init_from=str(run), weights=str(run / "ensemble/members/a.safetensors"))
    # a trained network outlives the weights it started from
    gone = TrialConfig.model_validate({"model": {"name": "lean_cnn", "init_from": "gone"}})
    assert gone.model.without_start() == LeanCnn()


def test_a_study_makes_its_paths_absolute(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    raw = {
        "trial": {
            "model": {
                "one_of": [{"name": "lean_cnn", "init_from": {"choice": [None, "run"]}}, {"name": "keras8"}]
            }
        },
        "baseline": {"model.init_from": "run"},
    }
    study = make_study(raw, "my.yaml", "my", {})
    node = study.space.parameters()["model.lean_cnn.init_from"]
    assert node.values == (None, str(run.resolve()))
    assert study.space.point(study.space.baseline)[1]["model"]["init_from"] == str(run.resolve())
