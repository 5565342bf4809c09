"""Every classification network that torchvision lists, for small images."""

from __future__ import annotations

from typing import Any

from torch import nn

from tune_digits.config.listed import Torchvision
from tune_digits.learn.models.classifier import Network, last_layer
from tune_digits.learn.models.listed import (
    Size,
    adapt_stem,
    finished,
    first_fitting,
    set_pooling,
    sizes_to_try,
)

# images must be this many pixels or a multiple, after which MaxViT's four halvings still divide into its windows
MAXVIT_UNIT = {"small": 112, "as_is": 224}
# what torchvision calls the part of a network that ends in its classifier
CLASSIFIERS = ("fc", "classifier", "head", "heads")


def torchvision_net(config: Torchvision, channels: int, height: int, width: int, classes: int) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 8.

    `stem: small` replaces what `listed.adapt_stem` says; `as_is` leaves the network as it was published. Images
    that are too small for the network are enlarged in front of it (bilinear, proportions kept) to the first of
    `listed.SIDES` that works. Two families take squares of certain sizes only: ViT a multiple of its patch (4
    pixels with the small stem, else 14, 16 or 32), MaxViT one of 112 pixels (small) or 224. GoogLeNet and Inception
    come without their auxiliary classifiers. SqueezeNet's last convolution and the ReLU on its logits become a mean
    and a dense layer, so that logits can be negative. Raises ConfigError where no size works.
    """
    arch = config.name.partition(":")[2]
    small = config.stem == "small"
    built: dict[str, Any] = {}

    def build(size: Size) -> Any:
        if arch.startswith(("vit_", "maxvit")) or not built:
            built["network"] = _plain(arch, config.stem, size, classes)
            adapt_stem(built["network"], channels, small)
            if arch.startswith("vit_") and small:
                # the positions were laid out for patches of 4
                built["network"].patch_size, built["network"].image_size = 4, size[0]
        return built["network"]

    sizes = _sizes(arch, config, height, width)
    network, size = first_fitting(config.name, sizes, build, channels, classes)
    set_pooling(network, "avgpool", network, config.pooling)
    classifier = last_layer(getattr(network, next(name for name in CLASSIFIERS if hasattr(network, name))))
    return finished(network, (classifier,), config, channels, size, height, width)


def _sizes(arch: str, config: Torchvision, height: int, width: int) -> list[Size]:
    unit = 0
    if arch.startswith("vit_"):
        unit = 4 if config.stem == "small" else _patch(arch)
    elif arch.startswith("maxvit"):
        unit = MAXVIT_UNIT[config.stem]
    if not unit:
        return sizes_to_try(height, width, config.input_size)
    side = -(-(config.input_size or max(height, width)) // unit) * unit
    return [(side, side)]


def _patch(arch: str) -> int:
    return int(arch.rsplit("_", 1)[1])


def _plain(arch: str, stem: str, size: Size, classes: int) -> Any:
    from torchvision import models

    options: dict[str, Any] = {}
    if arch in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True, "transform_input": False}
    elif arch.startswith("vit_"):
        # as many patches as the small stem will cut
        options = {"image_size": size[0] // 4 * _patch(arch) if stem == "small" else size[0]}
    elif arch.startswith("maxvit"):
        # it counts on a first convolution that halves the image
        options = {"input_size": (2 * size[0], 2 * size[1]) if stem == "small" else size}
    network = models.get_model(arch, weights=None, num_classes=classes, **options)
    if arch.startswith("squeezenet"):
        network.classifier = nn.Sequential(
            # SqueezeNet.forward flattens once more, which changes nothing
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, classes),
        )
    return network
