"""keras8 and se_cnn against Keras itself: the same weights in, the same numbers out, before and after updates."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="keras is not installed: pip install 'tune_digits[dev]'")

from tune_digits.config import TrialConfig  # noqa: E402
from tune_digits.config.loss import CrossEntropy  # noqa: E402
from tune_digits.config.model import Keras8, Model, SeCnn  # noqa: E402
from tune_digits.config.optimizer import Adam, AdamW, NAdam, RmsProp, Sgd  # noqa: E402
from tune_digits.learn.losses import loss_per_sample  # noqa: E402
from tune_digits.learn.models import build_model  # noqa: E402
from tune_digits.learn.models.classifier import ImageClassifier, Network  # noqa: E402
from tune_digits.learn.models.norm import BiasedBatchNorm1d, BiasedBatchNorm2d  # noqa: E402
from tune_digits.learn.optim import build_optimizer, set_lr  # noqa: E402
from tune_digits.study import find_space, load_study  # noqa: E402

# Keras's own business with NumPy
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH, SIZE, BATCH = 4, 16, 32
BASELINE = Keras8(
    width=WIDTH,
    dropout=0.0,  # two libraries' draws cannot be the same
    conv_bias=True,
    init="keras",
    bn_gamma_init="uniform",
    bn_variance="biased",
    dense_bn="keras",
)
# its defaults are the original's
SQUEEZED = SeCnn(width=WIDTH, dropout=0.0)


def third_place(width: int = WIDTH, size: int = SIZE) -> keras.Model:
    """The network of the Kannada competition's third place, as its author wrote it, but for its dropout."""
    layers = [keras.layers.Input((size, size, 1))]
    for convolutions, filters in ((3, width), (3, 2 * width), (2, 4 * width)):
        for _ in range(convolutions):
            layers += [
                keras.layers.Conv2D(filters, (3, 3), padding="same"),
                keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer="uniform"),
                keras.layers.LeakyReLU(negative_slope=0.1),
            ]
        layers += [keras.layers.MaxPooling2D(2, 2)]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(4 * width),
        keras.layers.LeakyReLU(negative_slope=0.1),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(10, activation="softmax"),
    ]
    return keras.Sequential(layers)


def squeezed(width: int = WIDTH, size: int = SIZE) -> keras.Model:
    """The competition's public network with squeeze-and-excitation as its author wrote it, but for its dropout."""
    dense, norm = keras.layers.Dense, keras.layers.BatchNormalization

    def conv(maps, filters):
        maps = keras.layers.Conv2D(filters, (3, 3), padding="same", kernel_initializer="he_normal")(maps)
        return keras.activations.swish(norm()(maps))

    images = maps = keras.layers.Input((size, size, 1))
    for filters in (width, 2 * width):
        for _ in range(3):
            maps = conv(maps, filters)
        maps = keras.layers.MaxPooling2D(2, 2)(maps)
    maps = conv(maps, 4 * width)
    gates = dense(2 * width, activation="swish")(keras.layers.GlobalAveragePooling2D()(maps))
    gates = keras.layers.Reshape((1, 1, 4 * width))(dense(4 * width, activation="sigmoid")(gates))
    maps = conv(keras.layers.Multiply()([maps, gates]), 4 * width)
    features = keras.layers.Flatten()(maps)
    for units in (4 * width, 2 * width):
        features = keras.activations.swish(norm()(dense(units)(features)))
    return keras.Model(images, dense(10, activation="softmax")(features))


ORIGINALS: dict[str, tuple[Model, Callable[..., keras.Model]]] = {
    "keras8": (BASELINE, third_place),
    "se_cnn": (SQUEEZED, squeezed),
}
both = pytest.mark.parametrize("name", ORIGINALS)


def weighted(model: nn.Module) -> list[nn.Module]:
    return [
        m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.modules.batchnorm._BatchNorm)
    ]


def with_weights(model: keras.Model) -> list:
    return [layer for layer in model.layers if layer.weights]


def from_keras(layer, maps: int = 4 * WIDTH) -> dict[str, torch.Tensor]:
    """A Keras layer's weights under PyTorch's names and in its order of axes; maps: channels before the flattening."""
    values = [w.value.detach().clone() for w in layer.weights]
    if isinstance(layer, keras.layers.BatchNormalization):
        return dict(zip(("weight", "bias", "running_mean", "running_var"), values, strict=True))
    kernel, bias = values
    if isinstance(layer, keras.layers.Conv2D):
        return {"weight": kernel.permute(3, 2, 0, 1), "bias": bias}
    kernel = kernel.T
    if kernel.shape[1] > maps:
        # Keras flattens (H, W, C), PyTorch (C, H, W)
        side = round((kernel.shape[1] / maps) ** 0.5)
        kernel = kernel.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2).flatten(1)
    return {"weight": kernel, "bias": bias}


def twins(name: str, dtype: str):
    """Keras's model and ours with its weights."""
    config, original = ORIGINALS[name]
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    theirs = original()
    keras.config.set_dtype_policy(before)
    ours = build_model(config, 1, SIZE, SIZE, 10, (0.0,), (1.0,)).to(getattr(torch, dtype))
    for module, layer in zip(weighted(ours), with_weights(theirs), strict=True):
        module.load_state_dict(from_keras(layer), strict=False)
    return theirs, ours


def batches(count):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.rand(BATCH, 1, SIZE, SIZE, generator=generator)
        labels = torch.randint(10, (BATCH,), generator=generator)
        yield images, nn.functional.one_hot(labels, 10).float()


def bound_of(weight: torch.Tensor, init: str) -> float:
    """The largest absolute value that an initial weight may have."""
    if weight.ndim == 1:
        return 0.05
    if init == "keras_he" and weight.ndim == 4:
        return 2 * np.sqrt(2 / weight[0].numel()) / 0.87962566
    return np.sqrt(6 / sum(nn.init._calculate_fan_in_and_fan_out(weight)))


@both
def test_the_networks_first_weights_are_drawn_alike(name):
    config, original = ORIGINALS[name]
    keras.utils.set_random_seed(0)
    theirs = with_weights(original())
    torch.manual_seed(0)
    ours = build_model(config, 1, SIZE, SIZE, 10, (0.0,), (1.0,))
    for module, layer in zip(weighted(ours), theirs, strict=True):
        for key, expected in from_keras(layer).items():
            drawn = module.state_dict()[key]
            assert drawn.shape == expected.shape
            if expected.std() == 0:
                torch.testing.assert_close(drawn, expected)
            else:
                bound = bound_of(drawn, config.init)
                for values in (drawn, expected):
                    # none beyond it, and among many some near it
                    assert values.abs().max() <= bound
                    assert values.numel() < 40 or 0.8 * bound < values.abs().max()
                # as wide: of n numbers, a standard deviation is known to about 1 / sqrt(2n) of itself
                slack = 4 / drawn.numel() ** 0.5
                assert drawn.std().item() == pytest.approx(expected.std().item(), rel=slack)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert (module.eps, 1 - module.momentum) == pytest.approx((layer.epsilon, layer.momentum))


@both
def test_forward_is_keras(name):
    theirs, ours = twins(name, "float32")
    assert sum(p.numel() for p in ours.parameters()) == sum(w.value.numel() for w in theirs.trainable_weights)
    with torch.no_grad():
        # so that no gate and no scale is by chance what it is in every other network
        for layer, module in zip(with_weights(theirs), weighted(ours), strict=True):
            for weight in layer.trainable_weights:
                weight.assign(weight.value + 0.1 * torch.randn(weight.shape))
            module.load_state_dict(from_keras(layer), strict=False)
    for training in (True, False, True, False):
        ((images, _),) = batches(1)
        ours.train(training)
        proba = theirs(images.permute(0, 2, 3, 1), training=training)
        torch.testing.assert_close(ours(images).softmax(1), proba, rtol=1e-5, atol=1e-5)


RECIPES = {"keras8": "kannada_3rd", "se_cnn": "kannada_se"}


@both
def test_the_recipes_network_is_keras_at_full_size(name):
    space = load_study(find_space(f"recipes/{RECIPES[name]}")).space
    config = TrialConfig.model_validate(space.point(space.baseline)[1])
    small, original = ORIGINALS[name]
    assert config.model.model_copy(update={"width": WIDTH, "dropout": 0.0}) == small
    keras.utils.set_random_seed(0)
    theirs = original(64, 28)
    model = config.model.model_copy(update={"dropout": 0.0})
    ours = build_model(model, 1, 28, 28, 10, (0.5,), (0.5,), train=config.train)
    assert sum(p.numel() for p in ours.parameters()) == sum(w.value.numel() for w in theirs.trainable_weights)
    for module, layer in zip(weighted(ours), with_weights(theirs), strict=True):
        module.load_state_dict(from_keras(layer, 256), strict=False)
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for training in (True, False):
            ours.train(training)
            proba = theirs(images.permute(0, 2, 3, 1), training=training)
            torch.testing.assert_close(ours(images).softmax(1), proba, rtol=1e-5, atol=1e-5)


def symmetric_cross_entropy(targets, proba):
    """The second Kannada kernel's loss in Keras's operations, as its author wrote it."""
    clipped, clipped_targets = keras.ops.clip(proba, 1e-7, 1.0), keras.ops.clip(targets, 1e-7, 1.0)
    forward = -keras.ops.sum(targets * keras.ops.log(clipped), axis=-1)
    reverse = -keras.ops.sum(proba * keras.ops.log(clipped_targets), axis=-1)
    return keras.ops.mean(forward) + keras.ops.mean(reverse)


def test_the_recipes_symmetric_loss_is_keras_while_it_is_minimised():
    space = load_study(find_space("recipes/kannada_se")).space
    config = TrialConfig.model_validate(space.point(space.baseline)[1]).loss
    generator = torch.Generator().manual_seed(3)
    targets = nn.functional.one_hot(torch.randint(10, (BATCH,), generator=generator), 10).double()
    start = torch.randn(BATCH, 10, generator=generator, dtype=torch.float64)
    start[0] = 20 - 40 * targets[0]  # a probability below 1e-7 for its label
    ours, theirs = start.float().requires_grad_(), start.float().requires_grad_()
    for _ in range(10):
        loss = loss_per_sample(ours, targets, config, (slice(0, 10),)).mean()
        expected = symmetric_cross_entropy(targets.float(), keras.ops.softmax(theirs))
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        (step,), (other,) = torch.autograd.grad(loss, ours), torch.autograd.grad(expected, theirs)
        torch.testing.assert_close(step, other, rtol=1e-4, atol=1e-6)
        ours, theirs = (
            (ours - 20 * step).detach().requires_grad_(),
            (theirs - 20 * other).detach().requires_grad_(),
        )
    assert loss < 0.8 * loss_per_sample(start, targets, config, (slice(0, 10),)).mean()


def test_the_loss_is_keras():
    theirs = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    ((images, targets),) = batches(1)
    logits = 5 * images.flatten(1)[:, :10]
    config = CrossEntropy(label_smoothing=0.1)
    ours = loss_per_sample(logits, targets, config, (slice(0, 10),)).mean()
    torch.testing.assert_close(ours, theirs(targets, logits.softmax(1)), rtol=1e-5, atol=1e-5)


@both
def test_ten_steps_of_rmsprop_are_keras(name):
    # In float64: ahead of a BatchNorm a bias has a gradient of nothing but rounding (Keras's is of float32's size
    # even so), and in float32 it soon makes a visible difference, whoever takes the steps.
    theirs, ours = twins(name, "float64")
    optimizer = build_optimizer(ours, RmsProp(lr=0.0025, eps=1e-7, arithmetic="keras"))
    keras_optimizer = keras.optimizers.RMSprop(0.0025)
    set_lr(optimizer, 0.0025)
    ours.train()
    start = [p.detach().clone() for p in ours.parameters()]
    for images, targets in batches(10):
        images, targets = images.double(), 0.9 * targets.double() + 0.01
        loss = -(targets * ours(images).log_softmax(1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected = -(targets * theirs(images.permute(0, 2, 3, 1), training=True).log()).sum(1).mean()
        theirs.zero_grad()
        expected.backward()
        variables = theirs.trainable_variables
        with torch.no_grad():
            keras_optimizer.apply([v.value.grad for v in variables], variables)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    before_norm = [a for a, b in pairwise(ours.network) if isinstance(b, nn.modules.batchnorm._BatchNorm)]
    for module, layer in zip(weighted(ours), with_weights(theirs), strict=True):
        for key, value in from_keras(layer).items():
            # the biases that are rounding alone, and the means that take them off again
            rounding = (key == "bias" and module in before_norm) or key == "running_mean"
            close = {"rtol": 0, "atol": 1e-3} if rounding else {"rtol": 1e-5, "atol": 1e-6}
            torch.testing.assert_close(
                module.state_dict()[key], value, **close, msg=lambda m, n=key: f"{n}: {m}"
            )
    moved = [(p - q).abs().max() > 1e-3 for p, q in zip(ours.parameters(), start, strict=True) if p.ndim > 1]
    assert all(moved)


OPTIMIZERS = [
    (RmsProp(eps=1e-7, arithmetic="keras"), keras.optimizers.RMSprop(0.1)),
    (
        RmsProp(alpha=0.8, momentum=0.5, eps=1e-3, weight_decay=0.1, arithmetic="keras"),
        keras.optimizers.RMSprop(0.1, rho=0.8, momentum=0.5, epsilon=1e-3, weight_decay=0.1),
    ),
    (Adam(eps=1e-7, arithmetic="keras"), keras.optimizers.Adam(0.1)),
    (
        AdamW(beta1=0.8, beta2=0.9, eps=1e-2, weight_decay=0.1, arithmetic="keras"),
        keras.optimizers.AdamW(0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-2, weight_decay=0.1),
    ),
    (NAdam(eps=1e-7, momentum_decay=1.0), keras.optimizers.Nadam(0.1)),
    (Sgd(momentum=0.8, arithmetic="keras"), keras.optimizers.SGD(0.1, momentum=0.8, nesterov=True)),
    (
        Sgd(momentum=0.8, nesterov=False, weight_decay=0.1, arithmetic="keras"),
        keras.optimizers.SGD(0.1, momentum=0.8, weight_decay=0.1),
    ),
]


@pytest.mark.parametrize(("config", "reference"), OPTIMIZERS, ids=lambda v: getattr(v, "name", None))
def test_an_optimizer_is_keras_while_the_rate_changes(config, reference):
    generator = torch.Generator().manual_seed(2)
    dense = nn.Linear(5, 3)
    model = ImageClassifier(nn.Identity(), Network(dense, (dense,)))
    start = dense.weight.detach().clone()
    variables = [keras.Variable(p.detach().numpy().copy()) for p in model.parameters()]
    optimizer = build_optimizer(model, config.model_copy(update={"decay_all": True}))
    for lr in (0.1, 0.1, 0.01, 0.3, 0.05, 0.1):
        # gradients of every size, so that each epsilon is felt
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator) * 10 ** (
                6 * torch.rand(p.shape, generator=generator) - 5
            )
        set_lr(optimizer, lr)
        reference.learning_rate = lr
        gradients = [p.grad.clone() for p in model.parameters()]
        optimizer.step()
        with torch.no_grad():
            reference.apply(gradients, variables)
    assert not torch.allclose(dense.weight, start)
    for p, variable in zip(model.parameters(), variables, strict=True):
        torch.testing.assert_close(p.detach(), variable.value.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "shape"), [(BiasedBatchNorm1d, (7, 3)), (BiasedBatchNorm2d, (2, 3, 2, 2))])
def test_the_biased_running_variance_is_its_formula(kind, shape):
    norm = kind(3, momentum=0.2)
    plain = nn.BatchNorm2d(3, momentum=0.2) if len(shape) == 4 else nn.BatchNorm1d(3, momentum=0.2)
    expected = torch.ones(3)
    for seed in range(3):
        values = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(norm(values), plain(values))
        expected = 0.8 * expected + 0.2 * values.transpose(0, 1).flatten(1).var(1, correction=0)
    torch.testing.assert_close(norm.running_var, expected)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    norm.eval()(values)
    torch.testing.assert_close(norm.running_var, expected)


def test_the_space_is_the_baseline():
    space = load_study(find_space("keras8.yaml")).space
    trial = space.point(space.baseline)[1]
    config = TrialConfig.model_validate(trial)
    assert config.model.model_copy(update={"width": WIDTH, "dropout": 0.0}) == BASELINE
    assert config.optimizer == RmsProp(lr=0.0025, eps=1e-7, arithmetic="keras")
    assert config.loss == CrossEntropy(label_smoothing=0.1)
    # each start point puts one of Keras's defaults back, with the epsilon that belongs to the arithmetic
    changes = [{k for k in point if point[k] != space.baseline[k]} for point in space.start]
    assert sorted(map(len, changes)) == [1] * 6 + [2] and set.union(*changes) == space.baseline.keys()
