"""`search` makes each check of `tune/preflight.py`: what cannot be trained is refused before there is a run folder."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import albumentations
import numpy as np
import pandas as pd
import pytest
import torch
from commands import ROWS, records, search, table
from run_samples import folds_of, halves_task, small_study
from safetensors.torch import save_file

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.learn.models import build_model
from tune_digits.tune.preflight import preflight

Output = pytest.CaptureFixture[str]


def refused(capsys: Output, *sets: str, flags: tuple[str, ...] = ()) -> str:
    """What is said of these keys, which end a search with code 2 before there is a run folder."""
    words = [word for key in sets for word in ("--set", key)]
    assert search("--space", "small.yaml", *words, *flags) == 2
    assert not list(Path("runs").glob("2*"))
    err = str(capsys.readouterr().err)
    assert err.startswith("error: ") and "Traceback" not in err
    return err


def taken(*sets: str) -> None:
    """A search with these keys begins, and ends well."""
    assert (
        search("--space", "small.yaml", "--trials", 1, *(word for key in sets for word in ("--set", key)))
        == 0
    )


def test_weights_of_targets_that_are_not_there(here: Path, capsys: Output) -> None:
    assert "colour" in refused(capsys, "cv.score_weights={colour: 2}")
    study, task = small_study(cv={"folds": 3, "score_weights": {"colour": 2}}), halves_task()
    with pytest.raises(ConfigError, match="colour"):
        preflight(study, task, folds_of(study, task))
    taken("cv.score_weights={label: 2}")


def test_a_fold_that_the_column_of_folds_does_not_have(here: Path, capsys: Output) -> None:
    rows = table(ROWS)
    rows.insert(1, "part", np.arange(ROWS) // 2 % 2)
    rows.to_csv(here / "halves/train.csv", index=False)
    column = "cv.fold_column=part"
    assert "search.fold is 2" in refused(capsys, column, "search.fold=2")
    assert "confirm.folds is 3" in refused(capsys, column, "confirm.folds=3")
    taken(column, "search.fold=1", "confirm.folds=2")


def test_batches_larger_than_a_fold(here: Path, capsys: Output) -> None:
    said = refused(capsys, "train.drop_last=true", "train.batch_size=500")
    assert re.search(r"train\.drop_last leaves no batch: \d+ rows .* fewer than train\.batch_size 500", said)
    taken("train.drop_last=true")


def pipeline(*transforms: albumentations.BasicTransform) -> str:
    return "augment.pipeline=" + json.dumps(albumentations.to_dict(albumentations.Compose(list(transforms))))


def test_a_pipeline_that_changes_the_shape(here: Path, capsys: Output) -> None:
    backend = "augment.backend=albumentations"
    assert "shape" in refused(capsys, backend, pipeline(albumentations.Resize(9, 9)))
    taken(backend, pipeline(albumentations.HorizontalFlip(p=0.5)))


def test_a_normalisation_for_other_channels(here: Path, capsys: Output) -> None:
    assert "train.channels: repeat" in refused(capsys, "train.normalize=imagenet")
    assert "numbers for 2 channels" in refused(capsys, "train.normalize={mean: [0.1, 0.2], std: 1}")
    taken("train.normalize=imagenet", "train.channels=repeat")


def test_a_network_of_another_library_sees_the_repeated_channels(here: Path) -> None:
    study = small_study({"model": {"name": "torchvision:squeezenet1_1"}, "train": {"channels": "repeat"}})
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tune_digits.learn.models.check_model", lambda model, *sizes: seen.append(sizes[:3]))
        preflight(study, halves_task(), folds_of(study, halves_task()))
    assert seen == [(3, *halves_task().train.images.shape[2:])]


def test_a_policy_of_autoaugment_for_two_channels() -> None:
    study, task = small_study({"augment": {"autoaugment": "svhn"}}), halves_task()
    preflight(study, task, folds_of(study, task))
    two = replace(task, train=replace(task.train, images=task.train.images.repeat(2, axis=1)))
    with pytest.raises(ConfigError, match="these have 2 channels"):
        preflight(study, two, folds_of(study, two))


def searched_pipeline(low: str, high: str) -> str:
    """A pipeline whose rotation has an end that is searched."""
    rotate = f"{{uniform: [{low}, {high}]}}"
    affine = f"{{__class_fullname__: Affine, p: 1, rotate: [-10, {rotate}], scale: [0.9, 1.1]}}"
    return f"augment.pipeline={{transform: {{__class_fullname__: Compose, p: 1, transforms: [{affine}]}}}}"


def test_a_domain_inside_a_pipeline_is_searched(here: Path) -> None:
    taken("augment.backend=albumentations", searched_pipeline("5", "20"))
    (run,) = Path("runs").glob("2*")
    key = "augment.pipeline.transform.transforms.0.rotate.1"
    found = [(r.searched[key], r.config.augment.pipeline) for r in records(run)]
    assert found
    for value, built in found:
        assert 5 <= value <= 20
        assert built["transform"]["transforms"][0]["rotate"][1] == value


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["search", "dry run"])
def test_a_pipeline_that_cannot_be_built_at_an_end_of_its_domains(
    here: Path, capsys: Output, flags: tuple[str, ...]
) -> None:
    pipeline = searched_pipeline("5", "20").replace("Affine, p: 1", "Affine, p: {uniform: [0.5, 2]}")
    said = refused(capsys, "augment.backend=albumentations", pipeline, flags=flags)
    assert "augment.pipeline cannot be built" in said
    if flags:
        assert "transforms.0.p 2.0" in said


def test_weights_of_classes_that_are_not_there(here: Path, capsys: Output) -> None:
    assert "3 weights" in refused(capsys, "loss.given_weights=[1, 2, 3]")
    assert "head_weights" in refused(capsys, "loss.head_weights=[1, 2]")


def teach(rows: int) -> tuple[str, str]:
    np.savez("teacher.npz", proba=np.full((rows, 2), 0.5, np.float32))
    return "loss.teacher=teacher.npz", "loss.teacher_weight=0.5"


def test_a_teacher_of_other_rows(here: Path, capsys: Output) -> None:
    assert f"{ROWS - 1}" in refused(capsys, *teach(ROWS - 1))
    taken(*teach(ROWS))


def test_a_network_that_cannot_be_made_for_the_images(here: Path, capsys: Output) -> None:
    network = "{name: 'torchvision:squeezenet1_1', bn_gamma_init: zero_last}"
    assert "squeezenet1_1" in refused(capsys, f"model={network}")
    # wherever in the space it is
    assert "squeezenet1_1" in refused(capsys, f"model={{one_of: [{{name: lean_cnn}}, {network}]}}")


def test_initial_weights_of_another_network(here: Path, capsys: Output) -> None:
    config = TrialConfig.model_validate({"model": {"name": "lean_cnn", "width": 4, "depth": 1}})
    save_file(build_model(config.model, 1, 6, 6, 2, (0.5,), (0.3,)).state_dict(), "start.safetensors")
    save_file({"elsewhere": torch.zeros(3)}, "other.safetensors")
    assert "elsewhere" in refused(capsys, "model.weights=other.safetensors")
    capsys.readouterr()
    taken("model.weights=start.safetensors")
    out = capsys.readouterr().out
    assert re.search(rf"lean_cnn starts from \d+ tensors of {here}/start\.safetensors\n", out)
    # what is not taken as it is stands behind it, once
    colour = build_model(config.model, 3, 6, 6, 9, (0.5,) * 3, (0.3,) * 3).state_dict()
    save_file({**colour, "head.weight": torch.zeros(2)}, "colour.safetensors")
    taken("model.weights=colour.safetensors", "model.activation={choice: [relu, mish]}")
    out = " ".join(capsys.readouterr().out.split())
    assert out.count("colour.safetensors; summed over the colours: network.0.weight; ") == 1
    assert "; not in this network: head.weight; of another shape: network.14." in out


def test_folds_that_cannot_be_made(here: Path, capsys: Output) -> None:
    rows = table(ROWS)
    pd.concat([rows, rows.iloc[:2].assign(label=7)]).to_csv(here / "halves/train.csv", index=False)
    assert "7" in refused(capsys)
