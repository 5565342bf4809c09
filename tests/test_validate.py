"""Pydantic's errors in words: what a message begins with, which flags it names, and the nearest right name."""

from __future__ import annotations

import pytest

from tune_digits.config import TrialConfig
from tune_digits.config.listed import networks_called
from tune_digits.errors import ConfigError
from tune_digits.study_parts import StudyParts
from tune_digits.validate import did_you_mean, validate


def refusal(
    raw: dict, flags: dict | None = None, cls=TrialConfig, where: str = "a.yaml: trial", note: str = ""
) -> str:
    with pytest.raises(ConfigError) as error:
        validate(cls, raw, where, note, flags)
    return str(error.value)


def test_a_valid_tree_becomes_the_class() -> None:
    config = validate(TrialConfig, {"optimizer": {"name": "sgd", "lr": "1e-2"}}, "a.yaml: trial")
    assert isinstance(config, TrialConfig) and config.optimizer.lr == 0.01


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"optimizer": {"name": "sgd", "lr": -1}},
            "a.yaml: trial.optimizer.lr: input should be greater than 0 (got -1)",
        ),
        (
            {"optimizer": {"lr": 1}},
            "a.yaml: trial.optimizer.name: missing; it says which of the variants is meant",
        ),
        (
            {"augment": {"ps": {"rotate": 2}}},
            "a.yaml: trial.augment.ps.rotate: input should be less than or equal to 1 (got 2)",
        ),
        (
            {"train": {"normalize": "imag"}},
            "a.yaml: trial.train.normalize: unknown value 'imag'; did you mean 'image'? "
            "Allowed: none, dataset, image, imagenet",
        ),
        (
            {"train": {"normalize": {"mean": [0.5], "std": [0.2, 0]}}},
            "a.yaml: trial.train.normalize.std.1: input should be greater than 0 (got 0)",
        ),
        (
            {"train": {"normalize": {"means": 0.5, "mean": 0.5, "std": 1}}},
            "a.yaml: trial.train.normalize.means: unknown key; did you mean 'mean'? Allowed here: mean, std.",
        ),
        (
            {"trian": {}},
            "a.yaml: trial.trian: unknown key; did you mean 'train'? Allowed here: augment, loss, mix, model, "
            "optimizer, schedule, train.",
        ),
        (
            {"loss": {"name": "focal", "head_weights": [1, -1]}},
            "a.yaml: trial.loss.head_weights.1: input should be greater than or equal to 0 (got -1)",
        ),
    ],
    ids=lambda x: "" if isinstance(x, str) else str(x),
)
def test_a_message_says_where_what_and_what_is_allowed(raw: dict, message: str) -> None:
    assert refusal(raw) == message


def test_every_mistake_has_a_line_of_its_own_and_the_note_at_its_end() -> None:
    message = refusal({"train": {"epochs": 0, "batch_size": 1}}, note=", here")
    assert [line.partition(": input")[0] for line in message.splitlines()] == [
        "a.yaml: trial.train.epochs",
        "a.yaml: trial.train.batch_size",
    ]
    assert all(line.endswith(", here") for line in message.splitlines())


def test_without_a_key_the_file_is_named_alone() -> None:
    message = refusal({"search": {"fold": 7}}, cls=StudyParts, where="a.yaml")
    assert message == "a.yaml: search.fold is 7, but the folds are 0..4"


def test_a_key_that_a_flag_has_set_is_called_by_the_flag() -> None:
    flags = {"train.epochs": "--epochs 0", "optimizer": "--set optimizer"}
    raw = {"train": {"epochs": 0, "batch_size": 1}, "optimizer": {"name": "sgd", "lr": 0}}
    assert [line.partition(" input")[0] for line in refusal(raw, flags).splitlines()] == [
        "--set optimizer: lr:",
        "--epochs 0:",
        "a.yaml: trial.train.batch_size:",
    ]


def test_flags_below_a_part_are_named_where_the_message_speaks_of_them() -> None:
    raw = {"optimizer": {"name": "sgd", "momentum": 0}}
    flags = {"optimizer.momentum": "--a", "optimizer.lr": "--b", "model.momentum": "--c"}
    assert refusal(raw, flags) == "a.yaml: trial.optimizer: nesterov needs momentum > 0 (with --a)"


def test_did_you_mean_is_silent_where_nothing_is_near() -> None:
    assert did_you_mean("sdg", ["sgd", "adam"]) == "; did you mean 'sgd'?"
    assert did_you_mean("xyz", ["sgd", "adam"]) == did_you_mean(7, []) == "."


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet18", ["unknown value 'resnet18'; did you mean 'torchvision:resnet18'"]),
        ("torchvison:mobilenet_v2", ["'torchvision:mobilenet_v2'"]),
        ("lean_cn", ["did you mean 'lean_cnn'?"]),
        ("nothing_like_it", ["unknown value 'nothing_like_it'. Allowed: lean_cnn"]),
    ],
)
def test_a_network_of_a_library_is_named_where_its_prefix_is_missing(name: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        validate(TrialConfig, {"model": {"name": name}}, "a.yaml: trial")
    assert all(word in str(error.value) for word in words)


def test_networks_of_all_libraries_are_named() -> None:
    pytest.importorskip("timm")
    assert networks_called("resnet18") == ["torchvision:resnet18", "timm:resnet18"]
