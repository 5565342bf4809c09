"""The squeeze-and-excitation network of the Kannada-MNIST competition's kernels, in PyTorch."""

from __future__ import annotations

from torch import nn

from tune_digits.config.model import SeCnn
from tune_digits.learn.models.blocks import ACTIVATIONS, conv_norm_act, halving, squeeze_excite, vector_of
from tune_digits.learn.models.classifier import Network


def se_cnn(config: SeCnn, channels: int, height: int, width: int, classes: int) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 8.

    3x3 convolutions, each with BatchNorm and SiLU: w, w, w | 2w, 2w, 2w | 4w, squeeze-and-excitation, 4w; each
    stage ends with 2x2 max-pooling and dropout. Then dense layers of 4w and 2w, each with BatchNorm and SiLU,
    and the classifier.
    """
    w, bias = config.width, config.conv_bias
    layers: list[nn.Module] = []
    inputs = channels
    for stage in ((w, w, w), (2 * w, 2 * w, 2 * w), (4 * w, 4 * w)):
        for index, outputs in enumerate(stage):
            layers += conv_norm_act(inputs, outputs, config.activation, bias=bias)
            if outputs == 4 * w and index == 0:
                layers += squeeze_excite(outputs, config.se_ratio)
            inputs = outputs
        layers += [halving(config.blur_pool), nn.Dropout(config.dropout)]
    pool, features = vector_of(config.pooling, inputs, height // 8, width // 8)
    layers += pool
    for hidden in (4 * w, 2 * w):
        # BatchNorm subtracts a bias again
        layers += [
            nn.Linear(features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            ACTIVATIONS[config.activation](),
        ]
        features = hidden
    classifier = nn.Linear(features, classes)
    return Network(nn.Sequential(*layers, classifier), (classifier,))
