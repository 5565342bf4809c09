"""Every network says which of its layers is the classifier, and it is: what it gives are the logits."""

from __future__ import annotations

import copy

import pytest
import torch
from small_networks import OWN, small, turned
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.config.listed import Timm, Torchvision
from tune_digits.config.model import LeanCnn, Model
from tune_digits.config.optimizer import Muon, Sgd
from tune_digits.errors import ConfigError
from tune_digits.learn.centers import classifier_inputs
from tune_digits.learn.models import build_model
from tune_digits.learn.models.classifier import ImageClassifier, Layer
from tune_digits.learn.optim import lr_scales, parameter_groups
from tune_digits.learn.state import create_state

K = 7
# with their defaults, and with another value of everything that is a switch or a choice
SMALL = [make(cls) for cls in OWN.values() for make in (small, turned)]
# each of the ways in which torchvision and timm lay out and name their last layers
TORCHVISION = ["resnet18", "densenet121", "squeezenet1_1", "mobilenet_v3_small", "convnext_tiny", "swin_t"]
# of dpn and resnetv2 it is a convolution
TIMM = ["resnet10t", "dpn48b", "resnetv2_18", "mobilenetv3_small_050", "vit_tiny_patch16_224", "levit_128s"]
LISTED = [
    *(
        Torchvision(name=f"torchvision:{name}", dropout=0.1 * (i % 2), bn_before_classifier=i % 3 == 0)
        for i, name in enumerate(TORCHVISION)
    ),
    *(
        Timm(name=f"timm:{name}", dropout=0.1 * (i % 2), bn_before_classifier=i % 3 < 2)
        for i, name in enumerate(TIMM)
    ),
]
TWO_HEADS = ("levit_128s",)  # a distilled network answers with the mean of two classifiers


def named(config: Model) -> str:
    return config.name.partition(":")[2] or config.name


def build(config: Model) -> ImageClassifier:
    if config.name.startswith("timm:"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    return build_model(config, 1, 28, 28, K, (0.5,), (0.3,)).eval()


@torch.no_grad()
def logits_with(model: ImageClassifier, images: Tensor, change: Tensor, factor: float) -> Tensor:
    """The logits with factor * change added to the weights of the (first) classifier."""
    changed = copy.deepcopy(model)
    changed.classifiers[0].weight += factor * change
    return changed(images)


@pytest.mark.parametrize("config", [*SMALL, *LISTED], ids=named)
def test_the_classifier_makes_the_logits(config: Model) -> None:
    model = build(config)
    assert len(model.classifiers) == (2 if named(config) in TWO_HEADS else 1)
    for layer in model.classifiers:
        assert layer.weight.shape[0] == K
    # linear in its weights, class by class: nothing but scaling comes after it. In double precision, since untrained
    # norms let some networks' features all but vanish
    model, images = (
        model.double(),
        torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(1)).double(),
    )
    change = torch.zeros_like(model.classifiers[0].weight)
    change[2] = torch.randn(change[2].shape, generator=torch.Generator().manual_seed(2))
    plain = logits_with(model, images, change, 0)
    change /= (logits_with(model, images, change, 1) - plain).abs().max()
    once, twice = (logits_with(model, images, change, factor) - plain for factor in (1, 2))
    torch.testing.assert_close(twice, 2 * once, rtol=1e-4, atol=1e-6)
    assert once[:, 2].abs().max() == pytest.approx(1, rel=1e-4)
    assert once[:, [0, 1, 3, 4, 5, 6]].abs().max() < 1e-9


@pytest.mark.parametrize("config", [*SMALL, *LISTED], ids=named)
def test_no_other_layer_is_as_late(config: Model) -> None:
    """layer_decay counts layers back from the classifier in the order of registration, so it must come last there."""
    model = build(config)
    weights = [name for name, p in model.named_parameters() if p.ndim >= 2]
    heads = [f"{name}.weight" for name in model.classifier_names]
    assert weights[-len(heads) :] == heads
    scales = lr_scales(model, Sgd(layer_decay=0.5, head_lr=3.0))
    assert {scales[name] for name in heads} == {3.0}
    assert scales[weights[-len(heads) - 1]] == 0.5
    spared = {id(p) for g in parameter_groups(model, Muon()) if not g["use_muon"] for p in g["params"]}
    assert {id(model.get_parameter(name)) for name in heads} <= spared


@pytest.mark.parametrize("config", [LeanCnn(width=4), Timm(name="timm:resnetv2_18")], ids=named)
def test_center_loss_is_of_what_the_classifier_takes_in(config: Model) -> None:
    model = build(config)
    layer: Layer = model.classifier
    with classifier_inputs(model) as inputs, torch.no_grad():
        logits = model(torch.rand(3, 1, 28, 28))
    (features,) = inputs
    assert features.shape == (3, layer.weight.shape[1])
    torch.testing.assert_close(features @ layer.weight.flatten(1).mT + layer.bias, logits)


def test_a_copy_has_a_classifier_of_its_own() -> None:
    model = build(LeanCnn(width=4))
    twin = copy.deepcopy(model)
    assert twin.classifier is not model.classifier
    assert any(module is twin.classifier for module in twin.modules())


def test_center_loss_wants_one_classifier() -> None:
    pytest.importorskip("timm")
    config = TrialConfig.model_validate(
        {"model": {"name": "timm:levit_128s"}, "loss": {"name": "cross_entropy", "center_weight": 0.1}}
    )
    with pytest.raises(ConfigError, match="mean of 2 classifiers"):
        create_state(
            config,
            channels=1,
            height=28,
            width=28,
            classes=K,
            mean=(0.5,),
            std=(0.3,),
            seed=0,
            device=torch.device("cpu"),
        )
