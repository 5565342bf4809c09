"""Every classification network that timm lists, for small images."""

from __future__ import annotations

from typing import Any

from torch import nn

from tune_digits.config.listed import Timm
from tune_digits.errors import ConfigError
from tune_digits.learn.models.classifier import Layer, Network, last_layer
from tune_digits.learn.models.listed import (
    Size,
    adapt_stem,
    finished,
    first_conv,
    first_fitting,
    set_pooling,
    sizes_to_try,
)

# sides in pixels, tried for networks whose input size is fixed when they are made
SQUARES = range(32, 385, 32)


def timm_net(config: Timm, channels: int, height: int, width: int, classes: int) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 8.

    `stem: small` replaces what `listed.adapt_stem` says; transformers, which are made for one size, get smaller
    patches instead (2x2 for 4x4, 4x4 for larger ones) where timm lets them. Images that are too small are enlarged
    in front of the network (bilinear) to the first size that works. Raises ConfigError where none does.
    """
    small = config.stem == "small"
    built: dict[str, nn.Module] = {}

    def build(size: Size) -> nn.Module:
        if "any size" not in built:
            fixed = _of_size(config.name, channels, classes, size, small)
            if fixed is not None:
                return fixed
            network = _create(config.name, channels, classes)
            adapt_stem(network, channels, small)
            built["any size"] = network
        return built["any size"]

    sizes = sizes_to_try(height, width, config.input_size)
    if config.input_size is None:
        sizes += [(side, side) for side in SQUARES if side >= max(height, width)]
    network, size = first_fitting(config.name, sizes, build, channels, classes)
    _set_pooling(network, config.pooling)
    classifiers = _classifiers(network)
    return finished(network, classifiers, config, channels, size, height, width)


def _create(name: str, channels: int, classes: int, **options: Any) -> nn.Module:
    import timm

    arch = name.partition(":")[2]
    network: nn.Module = timm.create_model(
        arch, pretrained=False, in_chans=channels, num_classes=classes, **options
    )
    return network


def _classifiers(network: Any) -> tuple[Layer, ...]:
    """What timm says is the network's classifier; distilled networks have two."""
    found = network.get_classifier()
    return tuple(last_layer(module) for module in (found if isinstance(found, tuple) else (found,)))


def _of_size(name: str, channels: int, classes: int, size: Size, small: bool) -> nn.Module | None:
    """A network made for images of `size`; None where it takes images of any size."""
    try:
        network = _create(name, channels, classes, img_size=size)
    except TypeError:
        return None
    patch = first_conv(network)[1].kernel_size[0]
    if not small or first_conv(network)[1].stride[0] != patch or patch <= 2:
        return network
    try:
        return _create(name, channels, classes, img_size=size, patch_size=4 if patch > 4 else 2)
    except TypeError:
        return network


def _set_pooling(network: nn.Module, pooling: str) -> None:
    if pooling == "avg":
        return
    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d

    pools = [m for m in network.modules() if isinstance(m, SelectAdaptivePool2d)]
    if not pools:
        raise ConfigError(f"model.pooling: {pooling} does not go with this network of timm; use avg")
    set_pooling(network, "pool", pools[-1], pooling)
