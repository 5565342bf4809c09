import copy
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
import torchvision
from pydantic import ValidationError
from small_networks import OWN, small
from torch import nn

from tune_digits.config import Train, variants
from tune_digits.config.model import DenseCnn, Keras8, LeanCnn, Model, SeCnn, SimpleM3, SimpleM5, SimpleM7
from tune_digits.config.train import Named
from tune_digits.errors import ConfigError
from tune_digits.learn.models import MODELS, build_model
from tune_digits.learn.models.normalize import IMAGENET, NORMALIZATIONS, Normalize, NormalizeEach

# the networks written here; those of other libraries are in test_model_libraries.py
SMALL = {name: small(cls, bn_momentum=0.3, bn_eps=2e-4) for name, cls in OWN.items()}


def with_field(field):
    return [name for name, config in SMALL.items() if hasattr(config, field)]


STATS = {1: ((0.2,), (0.4,)), 3: ((0.1, 0.4, 0.7), (0.2, 0.3, 0.5))}
SIZES = ((8, 8), (28, 28), (17, 23), (64, 40))


def build(config, channels=1, size=(28, 28), classes=10):
    torch.manual_seed(0)
    return build_model(config, channels, *size, classes, *STATS[channels])


def images(channels=1, size=(28, 28), count=6):
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(1))


def count(model, kind):
    return sum(isinstance(m, kind) for m in model.modules())


def weights_of(config):
    """The number of trained weights, on 28x28x1 with ten classes."""
    return sum(p.numel() for p in build(config).parameters())


def assert_trains(model, channels, size, classes):
    """One step's logits and gradients: of the right shape, finite, and none of them nothing."""
    logits = model.train()(images(channels, size))
    assert logits.shape == (6, classes) and logits.dtype == torch.float32
    logits.square().mul(torch.linspace(0.5, 1.5, logits.numel()).view_as(logits)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


def test_models_are_those_of_the_configuration():
    assert MODELS.keys() == variants(Model).keys()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("channels", "size", "classes"), [(1 + 2 * (i % 2), s, k) for i, s in enumerate(SIZES) for k in (2, 23)]
)
def test_every_model_gives_logits_and_finite_gradients(name, channels, size, classes):
    assert_trains(build(SMALL[name], channels, size, classes), channels, size, classes)


@pytest.mark.parametrize("name", SMALL)
def test_batchnorm_takes_its_knobs_everywhere(name):
    model = build(SMALL[name])
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    # none is of a class that this test does not know, and every convolution has one
    assert len(norms) == sum(key.endswith("running_mean") for key in model.state_dict())
    assert len(norms) >= count(model, nn.Conv2d) > 0
    assert {(m.momentum, m.eps) for m in norms} == {(0.3, 2e-4)}
    assert all((m.weight == 1).all() for m in norms)
    gammas = [
        m.weight
        for m in build(SMALL[name].model_copy(update={"bn_gamma_init": "uniform"})).modules()
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    together = torch.cat(gammas)
    assert together.abs().max() <= 0.05 and together.unique().numel() > 0.9 * together.numel()


@pytest.mark.parametrize("name", SMALL)
def test_prediction_is_deterministic_and_leaves_the_model_alone(name):
    model, batch = build(SMALL[name]), images()
    model(batch)
    model.eval()
    before = copy.deepcopy(model.state_dict())
    first, second = model(batch), model(batch)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first[:1], model(batch[:1]))
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


@pytest.mark.parametrize("name", SMALL)
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
    model = build(LeanCnn(width=4), 3)
    assert {"normalize.mean", "normalize.std"} <= model.state_dict().keys()
    assert not any(name.startswith("normalize") for name, _ in model.named_parameters())


def test_the_configuration_knows_the_normalisations() -> None:
    assert set(get_args(Named)) == set(NORMALIZATIONS)


def prepared(train: dict, batch: torch.Tensor) -> torch.Tensor:
    """What the network itself sees of a batch."""
    model = build_model(
        SMALL["lean_cnn"], batch.shape[1], 28, 28, 10, *STATS[batch.shape[1]], train=Train(**train)
    )
    seen = []
    model.network.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.eval()(batch)
    return seen[0]


def test_given_numbers_are_normalised_by() -> None:
    batch = images(3)
    out = prepared({"normalize": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 1, 2]}}, batch)
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 1), (0.3, 2))):
        torch.testing.assert_close(out[:, channel], (batch[:, channel] - mean) / std)
    torch.testing.assert_close(prepared({"normalize": {"mean": 0.5, "std": 0.2}}, batch), (batch - 0.5) / 0.2)


def test_imagenet_s_numbers_are_those_of_torchvision_s_weights() -> None:
    preset = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    assert (tuple(preset.mean), tuple(preset.std)) == (IMAGENET.mean, IMAGENET.std)
    batch = images(3)
    torch.testing.assert_close(
        prepared({"normalize": "imagenet"}, batch),
        torchvision.transforms.functional.normalize(batch, preset.mean, preset.std),
    )


@pytest.mark.parametrize("normalize", ["none", "dataset", "image", "imagenet", {"mean": 0.3, "std": 0.2}])
def test_a_repeated_channel_is_an_image_of_three_equal_ones(normalize) -> None:
    grey = images(1)
    seen = prepared({"normalize": normalize, "channels": "repeat"}, grey)
    assert seen.shape == (len(grey), 3, 28, 28)
    if normalize == "dataset":  # the statistics are those of the one channel
        (mean,), (std,) = STATS[1]
        normalize = {"mean": mean, "std": std}
    torch.testing.assert_close(seen, prepared({"normalize": normalize}, grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("train", "channels", "words"),
    [
        ({"channels": "repeat"}, 3, "repeat makes three channels of one, but these images have 3"),
        (
            {"normalize": "imagenet"},
            1,
            r"imagenet has numbers for three channels, but these images have 1: set",
        ),
        ({"normalize": {"mean": [0.1, 0.2, 0.3], "std": 1}}, 1, "3 channels, but the network sees 1"),
        (
            {"normalize": {"mean": [0.1] * 2, "std": 1}, "channels": "repeat"},
            1,
            "2 channels, but the network sees 3",
        ),
    ],
)
def test_numbers_for_other_channels_are_refused(train, channels, words) -> None:
    with pytest.raises(ConfigError, match=words):
        prepared(train, images(channels))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"mean": [0.1, 0.2], "std": [1, 1, 1]}, "mean has 2 numbers and std 3"),
        ({"mean": [], "std": 1}, "mean has 0 numbers"),
        ({"mean": 0, "std": 0}, "greater than 0"),
        ({"mean": 0}, "required"),
        ({"mean": 0, "std": float("inf")}, "finite"),
    ],
)
def test_numbers_that_cannot_be_normalised_by_are_refused(numbers, words) -> None:
    with pytest.raises(ValidationError, match=words):
        Train(normalize=numbers)


def test_each_image_is_normalised_by_itself() -> None:
    images = torch.rand(5, 3, 6, 7)
    flat = images.numpy().reshape(5, -1)
    expected = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    np.testing.assert_allclose(NormalizeEach()(images).numpy().reshape(5, -1), expected, rtol=1e-4, atol=1e-5)
    assert NormalizeEach()(torch.full((1, 1, 4, 4), 0.3)).abs().max() < 1e-5
    brighter = NormalizeEach()(images * 0.5 + 0.2)
    torch.testing.assert_close(brighter, NormalizeEach()(images), atol=1e-4, rtol=1e-4)


def test_saved_weights_carry_the_preprocessing():
    model = build(LeanCnn(width=4)).eval()
    other = build_model(LeanCnn(width=4), 1, 28, 28, 10, (0.0,), (1.0,)).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images()), model(images()), rtol=0, atol=0)


# ── knobs ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("depth", "width"), [(1, 4), (3, 8)])
def test_depth_and_width(depth, width):
    model = build(LeanCnn(depth=depth, width=width))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [
        w for w in (width, 2 * width, 4 * width) for _ in range(depth)
    ]
    assert all(c.bias is None for c in convolutions)


def test_size_of_the_defaults():
    sizes = {name: weights_of(cls()) for name, cls in OWN.items()}
    assert {n: sizes[n] for n in ("lean_cnn", "keras8")} == {"lean_cnn": 288_170, "keras8": 1_923_018}
    # counted by hand from the paper's layers: convolutions + 2 per BatchNorm channel + dense + its BatchNorm
    widths = {
        3: [32 + 16 * i for i in range(10)],
        5: [32 + 32 * i for i in range(5)],
        7: [48 + 48 * i for i in range(4)],
    }
    for kernel, last in ((3, 8), (5, 8), (7, 4)):
        channels = widths[kernel]
        convolutions = sum(kernel**2 * a * b for a, b in zip([1, *channels], channels, strict=False))
        dense = channels[-1] * last**2 * 10 + 2 * 10
        assert sizes[f"simple_m{kernel}"] == convolutions + 2 * sum(channels) + dense


@pytest.mark.parametrize(
    ("config", "table"),
    [
        (SimpleM3(), [(32 + 16 * i, 26 - 2 * i) for i in range(10)]),
        (SimpleM5(), [(32 + 32 * i, 24 - 4 * i) for i in range(5)]),
        (SimpleM7(), [(48 + 48 * i, 22 - 6 * i) for i in range(4)]),
    ],
)
def test_simple_m_has_the_papers_layers(config, table):
    seen = []
    model = build(config)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    model(images(count=2))
    assert seen == [(channels, side, side) for channels, side in table]


def test_the_two_public_keras_networks_have_the_weights_of_the_originals():
    convolutions = [
        *[(1, 64), (64, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 256)],
    ]
    # kernel, bias, and BatchNorm's scale and shift
    conv = sum(9 * a * b + 3 * b for a, b in convolutions)

    def dense(a, b, norm=2):
        return a * b + (1 + norm) * b

    third_place = conv + dense(3 * 3 * 256, 256) + dense(256, 10, 0)
    assert weights_of(Keras8(conv_bias=True)) == third_place == 1_924_106
    squeeze = dense(256, 128, 0) + dense(128, 256, 0)
    kernel = conv + squeeze + dense(7 * 7 * 256, 256) + dense(256, 128) + dense(128, 10, 0)
    assert weights_of(SeCnn()) == kernel == 4_643_338


def test_se_cnn_and_dense_cnn_have_their_layers():
    model = build(SeCnn())
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 64, 64, 128, 128, 128, 256, 256]
    layers = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert layers == [(256, 128), (128, 256), (256 * 49, 256), (256, 128), (128, 10)]
    assert (count(model, nn.MaxPool2d), count(model, nn.SiLU)) == (2, 8 + 1 + 2)
    # squeeze-and-excitation between the last two convolutions
    kinds = [type(m).__name__ for m in model.network]
    assert kinds.index("SqueezeExcite") == kinds.index("Conv2d", kinds.index("SqueezeExcite")) - 1
    widths = [
        (m.in_channels, m.out_channels)
        for m in build(DenseCnn(width=8)).modules()
        if isinstance(m, nn.Conv2d)
    ]
    assert widths == [
        *[(1, 16), (16, 8), (24, 8)],
        *[(32, 16), (16, 8), (24, 8), (32, 8)],
        *[(40, 20), (20, 8), (28, 8), (36, 8)],
    ]


@pytest.mark.parametrize("name", with_field("dropout"))
def test_dropout_takes_its_knob(name):
    model = build(SMALL[name].model_copy(update={"dropout": 0.35}))
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.35}


def test_dropout_stands_after_each_stage_or_before_the_classifier():
    places = {"lean_cnn": 1, "keras8": 3, "se_cnn": 3, "dense_cnn": 1, "simple_m3": 1}
    assert {name: count(build(SMALL[name]), nn.Dropout) for name in places} == places


@pytest.mark.parametrize("name", with_field("pooling"))
@pytest.mark.parametrize("pooling", ["avg", "max", "gem", "flatten"])
def test_every_pooling_trains_in_every_model(name, pooling):
    config = SMALL[name].model_copy(update={"pooling": pooling, "blur_pool": pooling == "gem"})
    model = build(config, 1, (16, 19), 3)
    assert_trains(model, 1, (16, 19), 3)
    if pooling == "gem":
        assert count(model, nn.MaxPool2d) == 0


@pytest.mark.parametrize(
    ("activation", "kind"),
    {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "silu": nn.SiLU, "mish": nn.Mish, "gelu": nn.GELU}.items(),
)
def test_activations_take_their_knob(activation, kind):
    for name in with_field("activation"):
        model = build(SMALL[name].model_copy(update={"activation": activation}))
        kinds = {type(m) for m in model.modules() if type(m).__module__.endswith("activation")}
        assert kinds - {nn.Sigmoid} == {kind}, name


@pytest.mark.parametrize("name", with_field("conv_bias"))
def test_biases_of_convolutions_take_their_knob(name):
    for bias in (False, True):
        model = build(SMALL[name].model_copy(update={"conv_bias": bias}))
        assert {m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d)} == {bias}


def test_squeeze_and_excitation_is_a_knob_of_lean_cnn():
    assert_trains(build(LeanCnn(width=4, se_ratio=2), 3), 3, (28, 28), 10)
    assert count(build(LeanCnn(width=4, se_ratio=2)), nn.Sigmoid) == 3
    assert count(build(LeanCnn(width=4)), nn.Sigmoid) == 0
    assert count(build(SeCnn(width=4, se_ratio=0)), nn.Sigmoid) == 0


@pytest.mark.parametrize(("init", "channels"), list(product(("keras", "he", "keras_he"), (1, 3))))
def test_first_weights_have_the_statistics_of_their_scheme(init, channels):
    model = build(Keras8(width=16, init=init, conv_bias=True), channels)
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        weight = module.weight
        fan_in, fan_out = weight[0].numel(), weight.shape[0] * weight[0, 0].numel()
        assert (module.bias == 0).all(), name
        # n draws: the sample deviation lies within 4 standard errors of the true one
        slack = 4 / weight.numel() ** 0.5
        if init == "keras" or (init == "keras_he" and isinstance(module, nn.Linear)):
            limit = (6 / (fan_in + fan_out)) ** 0.5
            assert weight.abs().max() <= limit, name
            assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=slack), name
        else:
            assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=slack), name
            # a normal distribution cut at 2 standard deviations, stretched until its own is what it should be
            cut = 2 / 0.8796 * (2 / fan_in) ** 0.5
            assert (weight.abs().max() <= cut) == (init == "keras_he"), name
