"""The centers of center loss: the features that they are centers of, and how they move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tune_digits.learn.models.classifier import ImageClassifier


@contextmanager
def classifier_inputs(model: ImageClassifier) -> Iterator[list[Tensor]]:
    """Within the block, a list whose one entry is the classifier's last input: (B, D), with its gradient."""
    inputs: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor]) -> None:
        # a 1x1 convolution takes (B, D, 1, 1)
        inputs[:] = [args[0].flatten(1)]

    handle = model.classifier.register_forward_pre_hook(keep)
    try:
        yield inputs
    finally:
        handle.remove()


@torch.no_grad()
def move_centers(centers: Tensor, features: Tensor, targets: Tensor, rate: float) -> None:
    """Move centers (K, D) towards the features (B, D) of their classes, in place; targets (B, K).

    A step of gradient descent on center loss with a rate of its own, in 0..1, the gradient of each center divided by
    1 + its samples in the batch: equation 4 of Wen et al. 2016 (ECCV), for soft targets too.
    """
    count = targets.sum(0)[:, None]
    pull = targets.mT @ features.float() - count * centers
    centers += rate * pull / (1 + count)
