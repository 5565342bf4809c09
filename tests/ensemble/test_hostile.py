"""An ensemble's folder from somebody else: nothing outside it is read, and what is odd about it is said in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tune_digits.cli.predict import main
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import RowForm, Target
from tune_digits.data.formats import Auto
from tune_digits.ensemble.members import Manifest, write_manifest
from tune_digits.ensemble.vote import Ballot
from tune_digits.learn.metrics import ACCURACY
from tune_digits.learn.models import build_model
from tune_digits.tune.networks import save_network

TARGETS = (Target("label", ("rust", "mould")),)
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound ensemble of one member, and an image to predict."""
    monkeypatch.chdir(tmp_path)
    config = TrialConfig()
    torch.manual_seed(0)
    model = build_model(config.model, 3, 8, 8, 2, (0.5,) * 3, (0.3,) * 3)
    folder = tmp_path / "ensemble"
    save_network(folder / "m.safetensors", model, config, {})
    form = RowForm.wide(TARGETS)
    write_manifest(
        folder,
        Manifest(("m.safetensors",), TARGETS, (3, 8, 8), Ballot(), 1, None, Auto(), form, ACCURACY, ""),
    )
    (tmp_path / "new").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "new/a.png")
    return folder


def predict() -> int:
    return main(["--run", "ensemble", "--data", "new", "--out", "out.csv"])


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    assert predict() == 2
    assert not Path("out.csv").exists()
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "Traceback" not in err
    return err


def edit(folder: Path, change: Edit) -> None:
    """Change the manifest as somebody would who means to: without a checksum."""
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    del raw["checksum"]
    change(raw)
    path.write_text(json.dumps(raw))


def test_a_sound_one_predicts(folder: Path) -> None:
    edit(folder, lambda raw: None)
    assert predict() == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: raw.update(members=["../m.safetensors"]), "no file of weights in the ensemble's folder"),
        (lambda raw: raw.update(members=["a/../../m.safetensors"]), "no file of weights in"),
        (lambda raw: raw.update(members=["/etc/m.safetensors"]), "no file of weights in"),
        (lambda raw: raw.update(members=["..\\m.safetensors"]), "no file of weights in"),
        (lambda raw: raw.update(members=["C:m.safetensors"]), "no file of weights in"),
        (lambda raw: raw.update(members=["m.pt"]), "no file of weights in"),
        (lambda raw: raw.update(members=[7]), "damaged (AttributeError"),
        (lambda raw: raw.update(members=[]), "no members"),
        (lambda raw: raw.update(shape=[3, 10**6, 10**6]), "not that of small images"),
        (lambda raw: raw.update(shape=[3, 8]), "damaged (ValueError"),
        (lambda raw: raw.update(tta=10**9), "10000000"),
        (lambda raw: raw["vote"].update(rule="__class__"), "it votes '__class__'"),
        (lambda raw: raw["targets"][0].update(classes=["a", "\x1b[2J"]), "controls a terminal"),
        (lambda raw: raw["submission"].update(heads=[[7]]), "a target that is not there"),
        (lambda raw: raw.update(format=99), "is of format 99"),
        (
            lambda raw: raw.update(shape=[3, 16, 16], members=["gone.safetensors"]),
            "gone.safetensors: missing",
        ),
    ],
)
def test_a_hostile_manifest_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], change: Edit, told: str
) -> None:
    shutil.copy(folder / "m.safetensors", folder.parent)
    edit(folder, change)
    assert told in refused(capsys)


def test_a_key_that_stands_twice_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(folder, lambda raw: None)
    path = folder / "manifest.json"
    path.write_text('{"members": ["other.safetensors"], ' + path.read_text()[1:])
    assert "the key 'members' stands twice" in refused(capsys)


def test_weights_of_another_shape_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "m.safetensors"
    tensors = load_file(path)
    config = TrialConfig().model_dump(mode="json")
    key = next(key for key in tensors if tensors[key].dim() == 4)
    tensors[key] = torch.zeros(1, 1, 1, 1)
    save_file(tensors, path, {"meta": json.dumps({"config": config})})
    assert "the weights do not fit the manifest" in refused(capsys)


@pytest.mark.parametrize(
    "config", [{}, {"model": {"name": "lean_cnn", "width": 10**9}}, {"model": {"name": "none"}}]
)
def test_a_configuration_that_is_none_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], config: dict[str, Any]
) -> None:
    path = folder / "m.safetensors"
    save_file(load_file(path), path, {"meta": json.dumps({"config": config} if config else {})})
    assert f"{Path('ensemble/m.safetensors')}: damaged" in refused(capsys)


def test_a_header_of_ten_gigabytes_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "m.safetensors").open("wb") as file:
        file.write((10 << 30).to_bytes(8, "little"))
        file.truncate(11 << 30)
    assert "m.safetensors: damaged" in refused(capsys)
