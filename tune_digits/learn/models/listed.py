"""Networks of other libraries adapted to small images: their first layers, the size of their input, their last ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_digits.config.listed import Listed
from tune_digits.errors import ConfigError
from tune_digits.learn.models.blocks import POOLINGS
from tune_digits.learn.models.classifier import Layer, Network
from tune_digits.learn.models.exchange import exchange_activations, exchange_max_pools

Size = tuple[int, int]
# shorter sides, pixels, tried where images are too small for a network
SIDES = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 299)


class Resize(nn.Module):
    """(B, C, H, W) -> (B, C, *size), bilinear."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, size=self.size, mode="bilinear", align_corners=False)


def resized(network: nn.Module, size: Size, height: int, width: int) -> nn.Module:
    """The network after a Resize to `size`, or alone where images have that size."""
    if size == (height, width):
        return network
    return nn.Sequential(OrderedDict(resize=Resize(size), body=network))


def scaled(height: int, width: int, side: int) -> Size:
    """(height, width) scaled so that the shorter one is `side` pixels."""
    short = min(height, width)
    return round(height * side / short), round(width * side / short)


def sizes_to_try(height: int, width: int, input_size: int | None) -> list[Size]:
    """The one size asked for; or the images' own and then ever larger ones of the same proportions."""
    if input_size is not None:
        return [scaled(height, width, input_size)]
    larger = [scaled(height, width, side) for side in SIDES if side > min(height, width)]
    return [(height, width), *larger]


def first_fitting(
    name: str, sizes: Iterable[Size], build: Callable[[Size], nn.Module], channels: int, classes: int
) -> tuple[nn.Module, Size]:
    """The first of `sizes` at which build(size) takes (1, C, H, W) and gives (1, classes), with that network.

    Raises ConfigError with the network's own reason where none does.
    """
    reason = ""
    for size in sizes:
        try:
            network = build(size)
            was = network.training
            with torch.no_grad():
                logits = network.eval()(torch.zeros(1, channels, *size))
            network.train(was)
        except ConfigError:
            raise
        # networks report in many ways that their maps have shrunk to nothing
        except (
            RuntimeError,
            ValueError,
            AssertionError,
            IndexError,
            TypeError,
            NotImplementedError,
        ) as error:
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            continue
        if isinstance(logits, Tensor) and logits.shape == (1, classes):
            return network, size
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        reason = f"its output is {shape} and not logits (1, {classes})"
    raise ConfigError(
        f"model.name: {name} takes images of no size up to {size[0]}x{size[1]} with this stem and input_size ({reason})"
    )


# ── first layers ─────────────────────────────────────────────────────────────────────────────────────


def first_conv(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the first convolution; a 1x1 convolution of no network where there is none."""
    found = ((name, m) for name, m in network.named_modules() if isinstance(m, nn.Conv2d))
    return next(found, ("", nn.Conv2d(1, 1, 1)))


def adapt_stem(network: nn.Module, channels: int, small: bool) -> None:
    """Make the first convolution take `channels` channels, and where `small` keep the resolution there, in place.

    small: a strided first convolution becomes 3x3 at stride 1 (7x7, 11x11 and strided 3x3 stems: ResNet, DenseNet,
    EfficientNet, MobileNet, RegNet, ...); one that cuts patches (stride = kernel) cuts 2x2 instead of 4x4
    patches, 4x4 instead of larger ones (ConvNeXt, Swin; ViT); a max-pool that follows within three convolutions
    is removed (ResNet, DenseNet, GoogLeNet, Inception, SqueezeNet, ShuffleNet, AlexNet, VGG). A replaced
    convolution starts with He's initial weights.
    """
    name, conv = first_conv(network)
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    padding: Any = conv.padding
    if small and stride > 1:
        if kernel == stride:
            kernel = stride = 4 if kernel > 4 else 2
            padding = 0
        else:
            kernel, stride, padding = min(kernel, 3), 1, min(kernel, 3) // 2
    if channels != conv.in_channels or (kernel, stride) != (conv.kernel_size[0], conv.stride[0]):
        bias = conv.bias is not None
        new = nn.Conv2d(channels, conv.out_channels, kernel, stride, padding, bias=bias)
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
        if new.bias is not None:
            nn.init.zeros_(new.bias)
        network.set_submodule(name, new)
    if small:
        _drop_first_pool(network)


def _drop_first_pool(network: nn.Module) -> None:
    convolutions = 0
    for name, module in network.named_modules():
        convolutions += isinstance(module, nn.Conv2d)
        if convolutions > 3:
            return
        if isinstance(module, nn.MaxPool2d) and module.stride not in (1, (1, 1)):
            network.set_submodule(name, nn.Identity())
            return


# ── last layers ──────────────────────────────────────────────────────────────────────────────────────


def add_dropout(network: nn.Module, classifiers: Iterable[Layer], dropout: float) -> None:
    """Put dropout before each of the classifiers, in place."""
    if dropout == 0:
        return
    for classifier in classifiers:
        name = next(name for name, module in network.named_modules() if module is classifier)
        network.set_submodule(name, nn.Sequential(nn.Dropout(dropout), classifier))


def add_batchnorm(network: nn.Module, classifiers: Iterable[Layer]) -> None:
    """Put a BatchNorm of the features before each of the classifiers, in place.

    It comes before a dropout that stands directly before the classifier in a Sequential.
    """
    for classifier in classifiers:
        modules = dict(network.named_modules())
        name = next(name for name, module in modules.items() if module is classifier)
        if isinstance(classifier, nn.Linear):
            norm: nn.Module = nn.BatchNorm1d(classifier.in_features)
        else:
            norm = nn.BatchNorm2d(classifier.in_channels)
        parent, _, child = name.rpartition(".")
        before = f"{parent}.{int(child) - 1}" if child.isdigit() else ""
        place = before if isinstance(modules.get(before), nn.Dropout) else name
        network.set_submodule(place, nn.Sequential(norm, modules[place]))


def set_pooling(network: nn.Module, name: str, owner: nn.Module, pooling: str) -> None:
    """Replace the network's global mean, which is the child `name` of `owner`, by `pooling`, in place.

    Raises ConfigError where there is no such child.
    """
    if pooling == "avg":
        return
    pool = getattr(owner, name, None)
    if not isinstance(pool, nn.AdaptiveAvgPool2d) or pool.output_size not in (1, (1, 1)):
        raise ConfigError(
            f"model.pooling: {pooling} does not go with this network, which has no module for its global mean; use avg"
        )
    setattr(owner, name, POOLINGS[pooling]())


# ── all of it ────────────────────────────────────────────────────────────────────────────────────────


def finished(
    network: nn.Module,
    classifiers: tuple[Layer, ...],
    config: Listed,
    channels: int,
    size: Size,
    height: int,
    width: int,
) -> Network:
    """The network with the configuration's activation, max-pooling, and layers before the classifiers, in place.

    It takes images (B, channels, height, width), which are resized to `size` in front of it. Raises ConfigError where
    the network has nothing that could be exchanged.
    """
    if config.activation is not None:
        exchange_activations(network, config.activation, torch.zeros(1, channels, *size))
    if config.blur_pool:
        exchange_max_pools(network)
    if config.bn_before_classifier:
        add_batchnorm(network, classifiers)
    add_dropout(network, classifiers, config.dropout)
    return Network(resized(network, size, height, width), classifiers)
