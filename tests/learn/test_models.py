import copy
from itertools import product

import pytest
import torch
from torch import nn

from tune_digits.config import Keras8, LeanCnn, Model, variants
from tune_digits.learn.models import MODELS, Normalize, build_model

SMALL = {
    "lean_cnn": LeanCnn(width=4, bn_momentum=0.3, bn_eps=2e-4),
    "keras8": Keras8(width=4, bn_momentum=0.3, bn_eps=2e-4),
}
STATS = {1: ((0.2,), (0.4,)), 3: ((0.1, 0.4, 0.7), (0.2, 0.3, 0.5))}
SIZES = ((8, 8), (28, 28), (17, 23))


def build(config, channels=1, size=(28, 28), classes=10):
    torch.manual_seed(0)
    return build_model(config, channels, *size, classes, *STATS[channels])


def images(channels=1, size=(28, 28), count=6):
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(1))


def test_models_are_those_of_the_configuration():
    assert MODELS.keys() == variants(Model).keys() == SMALL.keys()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("channels", "size", "classes"), list(product((1, 3), SIZES, (2, 23))))
def test_every_model_gives_logits_and_finite_gradients(name, channels, size, classes):
    model = build(SMALL[name], channels, size, classes)
    logits = model(images(channels, size))
    assert logits.shape == (6, classes) and logits.dtype == torch.float32
    logits.square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", MODELS)
def test_batchnorm_takes_its_knobs_everywhere(name):
    norms = [m for m in build(SMALL[name]).modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == {"lean_cnn": 6, "keras8": 9}[name]
    assert {(m.momentum, m.eps) for m in norms} == {(SMALL[name].bn_momentum, SMALL[name].bn_eps)}


@pytest.mark.parametrize("name", MODELS)
def test_prediction_is_deterministic_and_leaves_the_model_alone(name):
    model, batch = build(SMALL[name]), images()
    model(batch)
    model.eval()
    before = copy.deepcopy(model.state_dict())
    first, second = model(batch), model(batch)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first[:1], model(batch[:1]))
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_memory_format_changes_nothing_but_rounding(name):
    model, batch = build(SMALL[name]).eval(), images()
    plain = model(batch)
    inner = model.to(memory_format=torch.channels_last)(batch.to(memory_format=torch.channels_last))
    torch.testing.assert_close(inner, plain, rtol=1e-4, atol=1e-5)


def test_normalize_is_its_formula_and_saved_but_not_trained():
    mean, std = STATS[3]
    batch = images(3)
    before = batch.clone()
    out = Normalize(mean, std)(batch)
    for channel in range(3):
        torch.testing.assert_close(out[:, channel], (batch[:, channel] - mean[channel]) / std[channel])
    torch.testing.assert_close(batch, before, rtol=0, atol=0)
    model = build(SMALL["lean_cnn"], 3)
    assert {"normalize.mean", "normalize.std"} <= model.state_dict().keys()
    assert not any(name.startswith("normalize") for name, _ in model.named_parameters())


def test_saved_weights_carry_the_preprocessing():
    model = build(SMALL["lean_cnn"]).eval()
    other = build_model(SMALL["lean_cnn"], 1, 28, 28, 10, (0.0,), (1.0,)).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images()), model(images()), rtol=0, atol=0)


@pytest.mark.parametrize(("depth", "width"), [(1, 4), (3, 8)])
def test_depth_and_width(depth, width):
    model = build(LeanCnn(depth=depth, width=width))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [
        w for w in (width, 2 * width, 4 * width) for _ in range(depth)
    ]
    assert all(c.bias is None for c in convolutions)


def test_size_of_the_defaults():
    sizes = {name: sum(p.numel() for p in build(m()).parameters()) for name, m in variants(Model).items()}
    assert sizes == {"lean_cnn": 288_170, "keras8": 1_923_018}


@pytest.mark.parametrize(("name", "count"), [("lean_cnn", 1), ("keras8", 3)])
def test_dropout_takes_its_knob(name, count):
    model = build(SMALL[name].model_copy(update={"dropout": 0.35}))
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.35] * count
