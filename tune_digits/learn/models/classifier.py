"""The classifier of a network: the layer that makes the logits from the features before it.

Every network says itself which layer that is: its builder returns it beside the network. The optimizer gives it a rate
of its own (`head_lr`, `layer_decay`, Muon), center loss looks at its input, and dropout may stand before it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, TypeAlias

from torch import nn

from tune_digits.errors import ConfigError

Layer: TypeAlias = nn.Linear | nn.Conv2d


class Network(NamedTuple):
    """What a builder makes: the network, normalised images (B, C, H, W) -> logits (B, K), and its classifier.

    classifiers: the layers whose output is the logits, weights (K, D) or, of a 1x1 convolution, (K, D, 1, 1). Usually
    one; a few networks of timm (distilled ones) answer with the mean of two.
    """

    body: nn.Module
    classifiers: tuple[Layer, ...]


class ImageClassifier(nn.Sequential):
    """Images float32 (B, C, H, W) in [0, 1] -> logits (B, K): the module `normalize`, then the module `network`."""

    def __init__(self, normalize: nn.Module, network: Network) -> None:
        super().__init__(OrderedDict(normalize=normalize, network=network.body))
        # by name, since a copy of the whole has layers of its own
        self.classifier_names = tuple(
            name for name, module in self.named_modules() if any(module is c for c in network.classifiers)
        )

    @property
    def classifiers(self) -> tuple[Layer, ...]:
        """The layers whose output is the logits."""
        return tuple(_as_layer(self.get_submodule(name)) for name in self.classifier_names)

    @property
    def classifier(self) -> Layer:
        """The one layer whose output is the logits. Raises ConfigError where there are several."""
        if len(self.classifiers) > 1:
            raise ConfigError(
                f"this network answers with the mean of {len(self.classifiers)} classifiers, "
                f"and center loss (loss.center_weight) needs one: choose another model.name"
            )
        return self.classifiers[0]


def last_layer(module: nn.Module) -> Layer:
    """The last dense layer or convolution in `module`. Raises ConfigError where there is none.

    >>> last_layer(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(3, 2))).out_features
    2
    """
    found = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not found:
        raise ConfigError("model.name: this network has no layer that makes logits from features")
    return found[-1]


def _as_layer(module: nn.Module) -> Layer:
    assert isinstance(module, nn.Linear | nn.Conv2d)
    return module
