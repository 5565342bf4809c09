"""M3, M5 and M7: plain convolutions without pooling, whose ensemble is among the best on MNIST."""

from __future__ import annotations

from torch import nn

from tune_digits.config.model import SimpleM3, SimpleM5, SimpleM7
from tune_digits.learn.models.blocks import conv_norm_act
from tune_digits.learn.models.classifier import Network

KERNELS = {"simple_m3": 3, "simple_m5": 5, "simple_m7": 7}


def simple_m(
    config: SimpleM3 | SimpleM5 | SimpleM7, channels: int, height: int, width: int, classes: int
) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 8.

    `depth` convolutions without pooling or padding, each with BatchNorm and ReLU, then one dense layer without
    bias, and BatchNorm. The first has w channels, each further one w/2 (M3) or w (M5, M7) more. On 28x28 the
    defaults are the paper's: M3 has ten of 3x3 with 32..176 channels, M5 five of 5x5 with 32..160, M7 four of 7x7
    with 48..192. Each layer makes the map kernel - 1 pixels smaller; on images too small for that, as many of the
    first layers are padded as it takes to end with 2 pixels or more. An et al. 2020, arXiv 2008.10400.
    """
    kernel = KERNELS[config.name]
    growth = config.width // 2 if kernel == 3 else config.width
    unpadded = min(config.depth, (min(height, width) - 2) // (kernel - 1))
    layers: list[nn.Module] = []
    inputs = channels
    for index in range(config.depth):
        outputs = config.width + growth * index
        padding = kernel // 2 if index < config.depth - unpadded else 0
        layers += conv_norm_act(
            inputs, outputs, config.activation, kernel=kernel, padding=padding, bias=config.conv_bias
        )
        inputs = outputs
    lost = unpadded * (kernel - 1)
    features = inputs * (height - lost) * (width - lost)
    classifier = nn.Linear(features, classes, bias=False)
    layers += [nn.Flatten(), nn.Dropout(config.dropout), classifier, nn.BatchNorm1d(classes)]
    return Network(nn.Sequential(*layers), (classifier,))
