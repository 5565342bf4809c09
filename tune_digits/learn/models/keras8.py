"""The public eight-convolution Keras network of the Kannada-MNIST competition, in PyTorch."""

from __future__ import annotations

from torch import nn

from tune_digits.config.model import Keras8
from tune_digits.learn.models.blocks import ACTIVATIONS, conv_norm_act, halving, vector_of
from tune_digits.learn.models.classifier import Network
from tune_digits.learn.models.norm import FixedBatchNorm1d, bias_variance


def keras8(config: Keras8, channels: int, height: int, width: int, classes: int) -> Network:
    """Normalised images (B, channels, height, width) -> logits (B, classes); height and width >= 8.

    3 + 3 + 2 convolutions of 3x3 with w, 2w and 4w channels, each followed by BatchNorm and LeakyReLU; every
    stage ends with 2x2 max-pooling and dropout; then a dense layer of 4w and the classifier. 1.9 M parameters
    and 175 M multiply-adds at w = 64 on 28x28x1: six times lean_cnn.

    The Keras original is conv_bias: true, init: keras, bn_gamma_init: uniform, bn_variance: biased, dense_bn: keras
    (search_spaces/keras8.yaml, docs/keras-parity.md).
    """
    layers: list[nn.Module] = []
    inputs = channels
    for convolutions, outputs in ((3, config.width), (3, 2 * config.width), (2, 4 * config.width)):
        for _ in range(convolutions):
            layers += conv_norm_act(inputs, outputs, config.activation, bias=config.conv_bias)
            inputs = outputs
        layers += [halving(config.blur_pool), nn.Dropout(config.dropout)]
    pool, features = vector_of(config.pooling, inputs, height // 8, width // 8)
    hidden = 4 * config.width
    norm = nn.BatchNorm1d(hidden)
    if config.dense_bn == "keras":
        norm = FixedBatchNorm1d(hidden, eps=1e-3, momentum=0.01)
    # flatten needs no pooling layer, and its absence keeps the names of weights saved before there was one
    layers += pool[1:] if config.pooling == "flatten" else pool
    layers += [nn.Linear(features, hidden), ACTIVATIONS[config.activation](), norm]
    classifier = nn.Linear(hidden, classes)
    body = nn.Sequential(*layers, classifier)
    if config.bn_variance == "biased":
        bias_variance(body)
    return Network(body, (classifier,))
