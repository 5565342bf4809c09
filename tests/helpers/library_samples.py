"""Networks of torchvision and timm, made and tried as their tests do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from tune_digits.config.listed import Timm, Torchvision
from tune_digits.learn.models import build_model
from tune_digits.learn.models.classifier import ImageClassifier

KNOBS = {"bn_momentum": 0.3, "bn_eps": 2e-4}


def tv(name: str, **knobs: Any) -> Torchvision:
    return Torchvision(name=f"torchvision:{name}", **KNOBS, **knobs)


def build(
    config: Torchvision | Timm, channels: int = 1, size: tuple[int, int] = (28, 28), classes: int = 7
) -> ImageClassifier:
    torch.manual_seed(0)
    return build_model(config, channels, *size, classes, (0.5,) * channels, (0.3,) * channels)


def images(channels: int = 1, size: tuple[int, int] = (28, 28), count: int = 4) -> Tensor:
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(1))


def assert_works(config: Torchvision | Timm, channels: int, size: tuple[int, int]) -> ImageClassifier:
    """The network, after gradients that are all finite and two predictions that are the same."""
    model, batch = build(config, channels, size), images(channels, size)
    logits = model.train()(batch)
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert {(m.momentum, m.eps) for m in norms} <= {(0.3, 2e-4)}
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(batch), model(batch), rtol=0, atol=0)
    return model
