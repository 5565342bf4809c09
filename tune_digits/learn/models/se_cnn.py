"""The public Keras network with squeeze-and-excitation of the Kannada-MNIST competition, in PyTorch."""

from __future__ import annotations

from torch import nn

from tune_digits.config.model import SeCnn
from tune_digits.learn.models.blocks import ACTIVATIONS, conv_norm_act, halving, squeeze_excite, vector_of
from tune_digits.learn.models.classifier import Network
from tune_digits.learn.models.norm import bias_variance


def se_cnn(config: SeCnn, channels: int, height: int, width: int, classes: int) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 4.

    3x3 convolutions, each with BatchNorm and SiLU: w, w, w | 2w, 2w, 2w | 4w, squeeze-and-excitation, 4w. The first two
    stages end with 2x2 max-pooling, all three with dropout. Then dense layers of 4w and 2w, each with BatchNorm and
    SiLU, and the classifier. The gates of the squeeze-and-excitation have SiLU between their layers. 4.64 M parameters
    at w = 64 on 28x28x1. With the same weights it computes what the Keras original does
    (tests/learn/test_keras_parity.py).
    """
    w, act = config.width, config.activation
    layers: list[nn.Module] = []
    inputs = channels
    for stage, widths in enumerate(((w, w, w), (2 * w, 2 * w, 2 * w), (4 * w, 4 * w))):
        for index, outputs in enumerate(widths):
            layers += conv_norm_act(inputs, outputs, act, bias=config.conv_bias)
            if stage == 2 and index == 0:
                layers += squeeze_excite(outputs, config.se_ratio, act)
            inputs = outputs
        if stage < 2:
            layers.append(halving(config.blur_pool))
        layers.append(nn.Dropout(config.dropout))
    pool, features = vector_of(config.pooling, inputs, height // 4, width // 4)
    layers += pool
    for hidden in (4 * w, 2 * w):
        layers += [nn.Linear(features, hidden), nn.BatchNorm1d(hidden), ACTIVATIONS[act]()]
        features = hidden
    classifier = nn.Linear(features, classes)
    body = nn.Sequential(*layers, classifier)
    if config.bn_variance == "biased":
        bias_variance(body)
    return Network(body, (classifier,))
