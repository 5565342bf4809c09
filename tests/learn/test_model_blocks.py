"""The parts of the networks against their formulas and the libraries that have them."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import SqueezeExcitation

from tune_digits.config import variants
from tune_digits.config.model import Model
from tune_digits.config.network import Activation
from tune_digits.learn.models.blocks import (
    ACTIVATIONS,
    LEAK,
    POOLINGS,
    GeM,
    MaxBlurPool,
    SqueezeExcite,
    vector_of,
)
from tune_digits.learn.models.init import INITS, initialise, set_batchnorm


def maps(*shape, low=0.0):
    return low + torch.rand(*shape, generator=torch.Generator().manual_seed(3)) * (1 - low)


def names(field, model="lean_cnn"):
    return set(variants(Model)[model].model_fields[field].annotation.__args__)


def test_lookups_have_the_names_of_the_configuration():
    assert ACTIVATIONS.keys() == names("activation")
    assert POOLINGS.keys() == names("pooling")
    assert INITS.keys() == names("init")
    assert names("pooling", "torchvision:NAME") == POOLINGS.keys() - {"flatten"}
    assert get_args(Activation) == tuple(ACTIVATIONS)


@pytest.mark.parametrize(
    ("name", "formula"),
    {
        "relu": lambda x: x.clamp(min=0),
        "leaky_relu": lambda x: torch.where(x > 0, x, LEAK * x),
        "silu": lambda x: x / (1 + (-x).exp()),
        "mish": lambda x: x * torch.tanh(torch.log1p(x.exp())),
        "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    }.items(),
)
def test_activations_are_their_formulas(name, formula):
    x = torch.linspace(-5, 5, 41)
    torch.testing.assert_close(ACTIVATIONS[name]()(x.clone()), formula(x))


def test_gem_lies_between_mean_and_maximum_and_reaches_both():
    x = maps(4, 5, 6, 7, low=0.1)
    mean, top = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    torch.testing.assert_close(GeM(1.0)(x), mean)
    torch.testing.assert_close(GeM(3.0)(x), (x**3).mean((2, 3), keepdim=True) ** (1 / 3))
    errors = [(GeM(p)(x) - top).abs().max().item() for p in (1.0, 5.0, 25.0, 100.0)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.04
    gem = GeM()
    assert gem.p.item() == 3.0
    gem(x).sum().backward()
    assert gem.p.grad.abs() > 0
    # what activations below zero and half precision give is finite
    assert GeM()(-x).isfinite().all() and GeM()((100 * x).half()).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gem_is_computed_in_float32_whatever_the_maps_are(dtype):
    x = (90 * maps(2, 5, 6, 7)).to(dtype)  # 90^3 is more than float16 has
    gem = GeM()
    expected = gem(x.float())
    with torch.autocast("cpu", dtype):
        pooled = gem(x)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, expected.to(dtype), rtol=0, atol=0)
    pooled.float().sum().backward()
    assert gem.p.grad.dtype == torch.float32 and gem.p.grad.isfinite().all()
    # also where the whole network is of that type, the power with it
    cast = GeM().to(dtype)(x)
    assert cast.dtype == dtype
    torch.testing.assert_close(cast, expected.to(dtype), rtol=2e-2, atol=0)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 5), (8, 7), (28, 28)])
def test_blur_pool_is_a_maximum_then_a_binomial_filter(height, width):
    x = maps(2, 3, height, width) - 0.5
    out = MaxBlurPool()(x)
    assert out.shape == F.max_pool2d(x, 2).shape
    highest = F.max_pool2d(x, 2, stride=1)
    line = torch.tensor([1.0, 2.0, 1.0])
    expected = torch.zeros_like(out)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            for di in range(3):
                for dj in range(3):
                    row = min(max(2 * i + di - 1, 0), highest.shape[2] - 1)
                    column = min(max(2 * j + dj - 1, 0), highest.shape[3] - 1)
                    expected[:, :, i, j] += line[di] * line[dj] / 16 * highest[:, :, row, column]
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(("size", "padding"), [(2, 0), (3, 0), (3, 1)])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("height", "width"), [(4, 5), (7, 6), (8, 11)])
def test_blur_pool_gives_the_sizes_of_the_max_pool_that_it_stands_for(size, padding, ceil, height, width):
    x = maps(1, 2, height, width)
    plain = nn.MaxPool2d(size, 2, padding, ceil_mode=ceil)(x)
    blur = MaxBlurPool((size, size), (padding, padding), ceil=ceil)
    assert blur(x).shape == plain.shape
    # each position is an average of maxima, of which the one in the middle counts most
    constant = torch.full((1, 2, height, width), 0.7)
    torch.testing.assert_close(blur(constant), torch.full_like(plain, 0.7))
    if size == 3 and padding == 1 and not ceil:
        middle = F.max_pool2d(x, 3, stride=1, padding=1)
        line = torch.tensor([0.25, 0.5, 0.25])
        padded = F.pad(middle, (1, 1, 1, 1), mode="replicate").unfold(2, 3, 2).unfold(3, 3, 2)
        torch.testing.assert_close(blur(x), torch.einsum("bchwij,i,j->bchw", padded, line, line))


def test_blur_pool_moves_less_with_the_image_than_max_pool():
    x = F.interpolate(maps(1, 1, 9, 9), size=(32, 32))
    moved = x.roll(1, dims=3)

    def change(pool):
        return (pool(moved) - pool(x))[..., 2:-2, 2:-2].square().mean().item()

    assert change(MaxBlurPool()) < 0.7 * change(nn.MaxPool2d(2))


@pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU), ("silu", nn.SiLU)])
def test_squeeze_and_excitation_equals_torchvisions(activation, layer):
    ours, theirs = SqueezeExcite(8, 2, activation), SqueezeExcitation(8, 4, activation=layer)
    for dense, convolution in ((ours.gate[0], theirs.fc1), (ours.gate[2], theirs.fc2)):
        convolution.weight.data = dense.weight.data[:, :, None, None]
        convolution.bias.data = dense.bias.data
    x = maps(3, 8, 5, 6) - 0.5
    torch.testing.assert_close(ours(x), theirs(x))


def test_vector_of_says_how_long_the_vector_is():
    x = maps(2, 5, 3, 4)
    for pooling in POOLINGS:
        modules, size = vector_of(pooling, 5, 3, 4)
        assert nn.Sequential(*modules)(x).shape == (2, size) and size == (60 if pooling == "flatten" else 5)


def test_zero_last_finds_the_residual_blocks_of_networks_of_our_own():
    class Block(nn.Module):
        has_skip = True

        def __init__(self):
            super().__init__()
            self.branch = nn.Sequential(
                nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
            )

        def forward(self, maps):
            return maps + self.branch(maps)

    network = nn.Sequential(nn.BatchNorm2d(2), Block())
    set_batchnorm(network, 0.1, 1e-5, "zero_last")
    assert [m.weight.sum().item() for m in network.modules() if isinstance(m, nn.BatchNorm2d)] == [2, 2, 0]
    x = maps(1, 2, 3, 3)
    torch.testing.assert_close(network[1].eval()(x), x, rtol=0, atol=0)


def test_default_init_and_ones_leave_a_network_alone():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    initialise(network, "default")
    set_batchnorm(network, 0.3, 1e-4, "ones")
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
