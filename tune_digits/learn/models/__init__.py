"""Networks for small images. Each contains its own preprocessing, so saved weights are all that a prediction needs.

Shape letters: B batch, C channels, H W pixels, K class columns (all targets side by side).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tune_digits.config.model import TIMM, TORCHVISION, Model, model_kind
from tune_digits.config.train import Train
from tune_digits.errors import ConfigError
from tune_digits.learn.models.classifier import ImageClassifier, Network
from tune_digits.learn.models.dense_cnn import dense_cnn
from tune_digits.learn.models.init import initialise, set_batchnorm
from tune_digits.learn.models.keras8 import keras8
from tune_digits.learn.models.lean_cnn import lean_cnn
from tune_digits.learn.models.normalize import first_module
from tune_digits.learn.models.se_cnn import se_cnn
from tune_digits.learn.models.simple_m import simple_m
from tune_digits.learn.models.timm_net import timm_net
from tune_digits.learn.models.torchvision_net import torchvision_net
from tune_digits.learn.models.transfer import Transfer, load_matching

# kind of name in the configuration -> builder: (its part of the configuration, C, H, W, K) -> the network of
# normalised images, and which of its layers is the classifier
MODELS: dict[str, Callable[[Any, int, int, int, int], Network]] = {
    "lean_cnn": lean_cnn,
    "keras8": keras8,
    "se_cnn": se_cnn,
    "dense_cnn": dense_cnn,
    "simple_m3": simple_m,
    "simple_m5": simple_m,
    "simple_m7": simple_m,
    TORCHVISION: torchvision_net,
    TIMM: timm_net,
}


PLAIN = Train()


def build_model(
    config: Model,
    channels: int,
    height: int,
    width: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    train: Train = PLAIN,
    weights: Mapping[str, Tensor] | None = None,
) -> ImageClassifier:
    """A network from images float32 (B, C, H, W) in [0, 1] to logits (B, K); H and W >= 8.

    mean, std: (C,) of the training images on that scale, std > 0. train: how images are normalised, by these or other
    numbers, and whether the network sees their one channel three times. The initial weights come from torch's global
    generator; those in `weights` whose names and shapes fit replace them. Give model and images `torch.channels_last`:
    1.2 to 1.4 times as fast on one CPU core. Raises ConfigError where the network cannot be made for these images, or
    nothing in `weights` fits.
    """
    preparation = first_module(train, mean, std)
    model = _fresh(config, train.seen_channels(channels), height, width, classes, preparation)
    if weights is not None:
        load_matching(model, weights)
    return model


def _fresh(
    config: Model, channels: int, height: int, width: int, classes: int, normalize: nn.Module
) -> ImageClassifier:
    network = MODELS[model_kind(config.name)](config, channels, height, width, classes)
    initialise(network.body, config.init)
    set_batchnorm(network.body, config.bn_momentum, config.bn_eps, config.bn_gamma_init)
    return ImageClassifier(normalize, network)


def check_model(
    config: Model,
    channels: int,
    height: int,
    width: int,
    classes: int,
    weights: Mapping[str, Tensor] | None = None,
) -> Transfer | None:
    """Raise ConfigError, with the reason, where a model cannot be made for these images or gives no logits.

    Builds the model and sends two blank images through it; the global generator is left as it was. Returns what was
    taken from `weights`, None where there are none.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            model = _fresh(config, channels, height, width, classes, nn.Identity())
            transfer = None if weights is None else load_matching(model, weights)
            logits = model.eval()(torch.zeros(2, channels, height, width))
        except ConfigError as error:
            raise ConfigError(f"trial.model ({config.name}): {error}") from None
        except (RuntimeError, ValueError) as error:
            size = f"images of {height}x{width} with {channels} channel(s)"
            raise ConfigError(f"trial.model ({config.name}) does not work on {size}: {error}") from None
    if logits.shape != (2, classes):
        raise ConfigError(
            f"trial.model ({config.name}) gives {tuple(logits.shape)} for logits (2, {classes})"
        )
    return transfer
