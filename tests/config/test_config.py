"""What the configuration's classes say of themselves, and which of a network's fields shape its tensors."""

from __future__ import annotations

import pytest

from tune_digits.config import Confirm, Cv, Ensemble, Part, Resources, Search, TrialConfig, variants
from tune_digits.config.chances import Chances, Group
from tune_digits.config.listed import Torchvision
from tune_digits.config.model import Model, SimpleM3
from tune_digits.config.network import SHAPE_NEUTRAL, STARTS
from tune_digits.config.train import GivenNumbers
from tune_digits.learn.models import build_model

MODELS = {name: cls for name, cls in variants(Model).items() if ":" not in name}
CHANGED = {
    "bn_momentum": 0.7, "bn_eps": 0.01, "bn_gamma_init": "uniform", "dropout": 0.4, "init": "he",
    "init_from": "runs/a", "weights": "a.pt",
}  # fmt: skip


def public_classes() -> list[type[Part]]:
    classes: list[type[Part]] = [
        TrialConfig,
        Chances,
        Group,
        GivenNumbers,
        Cv,
        Search,
        Confirm,
        Ensemble,
        Resources,
    ]
    for field in TrialConfig.model_fields.values():
        classes += variants(field.annotation).values() if field.discriminator else [type(field.default)]
    return classes


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: cls.__name__)
def test_every_class_has_a_docstring_of_its_own_in_whole_sentences(cls: type[Part]) -> None:
    text = cls.__dict__.get("__doc__") or ""
    first = text.split("\n\n")[0].strip()
    assert len(first) > 20 and not first[0].islower() and first.endswith(".")
    assert first.count(". ") <= 1, "one or two sentences"


def shapes(config) -> dict:
    model = build_model(config, 1, 28, 28, 10, (0.5,), (0.5,))
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", MODELS)
def test_shape_neutral_fields_change_no_tensors_shape(name: str) -> None:
    assert set(CHANGED) == SHAPE_NEUTRAL
    small = MODELS[name](**{"width": 8} | ({"depth": 2} if "depth" in MODELS[name].model_fields else {}))
    changed = small.model_copy(update={field: CHANGED[field] for field in SHAPE_NEUTRAL - STARTS})
    assert shapes(changed) == shapes(small)
    assert shapes(small.model_copy(update={"width": 16})) != shapes(small)


def test_a_network_without_fields_has_their_defaults() -> None:
    config = SimpleM3(width=8, dropout=0.3, bn_momentum=0.5, weights="a.pt")
    assert config.without({"dropout", "bn_momentum"}) == SimpleM3(width=8, weights="a.pt")
    assert config.without_start() == SimpleM3(width=8, dropout=0.3, bn_momentum=0.5)
    # of a field that another class redefines it is that class's default, and unknown ones do not matter
    keras8 = MODELS["keras8"](dropout=0.1, activation="relu")
    assert keras8.without({"dropout", "activation", "stem"}) == MODELS["keras8"]()
    assert "stem" in Torchvision.model_fields and "stem" not in SimpleM3.model_fields
