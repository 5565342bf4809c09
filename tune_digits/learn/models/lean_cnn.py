"""A small network made for CPUs: three stages of 3x3 convolutions and one dense layer."""

from __future__ import annotations

from torch import nn

from tune_digits.config.model import LeanCnn
from tune_digits.learn.models.blocks import ACTIVATIONS, halving, squeeze_excite, vector_of
from tune_digits.learn.models.classifier import Network


def lean_cnn(config: LeanCnn, channels: int, height: int, width: int, classes: int) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 4.

    `depth` convolutions in each stage, with w, 2w and 4w channels, each with BatchNorm and ReLU; 2x2
    max-pooling after the first two stages, then the mean over all positions, dropout and the classifier. At
    w = 32, depth = 2 on 28x28x1: 0.29 M parameters, 29 M multiply-adds. The weights do not depend on height and
    width, unless `pooling` is flatten.
    """
    layers: list[nn.Module] = []
    inputs = channels
    for stage in range(3):
        outputs = config.width * 2**stage
        for index in range(config.depth):
            # BatchNorm subtracts a bias again
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=config.conv_bias))
            if stage < 2 and index == config.depth - 1:
                # before the norm, as in airbench: BatchNorm and ReLU then touch a quarter of the positions,
                # 1.1 times as many images per second on one CPU core
                layers.append(halving(config.blur_pool))
            layers += [nn.BatchNorm2d(outputs), ACTIVATIONS[config.activation]()]
            inputs = outputs
        layers += squeeze_excite(outputs, config.se_ratio)
    pool, features = vector_of(config.pooling, inputs, height // 4, width // 4)
    classifier = nn.Linear(features, classes)
    return Network(nn.Sequential(*layers, *pool, nn.Dropout(config.dropout), classifier), (classifier,))
