"""A small DenseNet: each convolution sees all maps made before it in its block (arXiv:1608.06993)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tune_digits.config.model import DenseCnn
from tune_digits.learn.models.blocks import conv_norm_act, halving, vector_of
from tune_digits.learn.models.classifier import Network


class DenseBlock(nn.Module):
    """(B, C, H, W) -> (B, C + depth * growth, H, W): the input and each convolution's maps side by side.

    Every convolution (3x3, BatchNorm, activation) takes all maps so far. Huang et al. 2017, arXiv 1608.06993.
    """

    def __init__(self, inputs: int, growth: int, depth: int, activation: str, bias: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(*conv_norm_act(inputs + i * growth, growth, activation, bias=bias))
            for i in range(depth)
        )

    def forward(self, maps: Tensor) -> Tensor:
        for layer in self.layers:
            maps = torch.cat((maps, layer(maps)), dim=1)
        return maps


def dense_cnn(config: DenseCnn, channels: int, height: int, width: int, classes: int) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 4.

    A 3x3 convolution to 2w channels, a dense block of `depth` convolutions and two of `depth + 1` (two and
    three in the default), each adding w channels per convolution; between blocks a 1x1 convolution to half
    the channels and 2x2 max-pooling. Then the mean over all positions, dropout and the classifier.
    """
    act, bias = config.activation, config.conv_bias
    inputs = 2 * config.width
    layers = conv_norm_act(channels, inputs, act, bias=bias)
    for stage, depth in enumerate((config.depth, config.depth + 1, config.depth + 1)):
        if stage:
            layers += [
                *conv_norm_act(inputs, inputs // 2, act, kernel=1, bias=bias),
                halving(config.blur_pool),
            ]
            inputs //= 2
        layers.append(DenseBlock(inputs, config.width, depth, act, bias))
        inputs += depth * config.width
    pool, features = vector_of(config.pooling, inputs, height // 4, width // 4)
    classifier = nn.Linear(features, classes)
    return Network(nn.Sequential(*layers, *pool, nn.Dropout(config.dropout), classifier), (classifier,))
