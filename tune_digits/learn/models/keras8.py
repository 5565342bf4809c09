"""The public eight-convolution Keras network of the Kannada-MNIST competition, in PyTorch."""

from __future__ import annotations

from torch import nn

from tune_digits.config import Keras8

LEAK = 0.1


def keras8(config: Keras8, channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 8.

    3 + 3 + 2 convolutions of 3x3 with w, 2w and 4w channels, each followed by BatchNorm and LeakyReLU; every
    stage ends with 2x2 max-pooling and dropout; then a dense layer of 4w and the classifier. 1.9 M parameters
    and 175 M multiply-adds at w = 64 on 28x28x1: six times lean_cnn.
    """
    layers: list[nn.Module] = []
    inputs = channels
    for convolutions, outputs in ((3, config.width), (3, 2 * config.width), (2, 4 * config.width)):
        for _ in range(convolutions):
            layers += [
                # BatchNorm removes a bias again
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs, eps=config.bn_eps, momentum=config.bn_momentum),
                nn.LeakyReLU(LEAK, inplace=True),
            ]
            inputs = outputs
        layers += [nn.MaxPool2d(2), nn.Dropout(config.dropout)]
    hidden = 4 * config.width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(inputs * (height // 8) * (width // 8), hidden),
        nn.LeakyReLU(LEAK, inplace=True),
        nn.BatchNorm1d(hidden, eps=config.bn_eps, momentum=config.bn_momentum),
        nn.Linear(hidden, classes),
    )
