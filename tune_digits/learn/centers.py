"""The centers of center loss: which features they are of, and how they move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tune_digits.learn.optim import classifier


@contextmanager
def classifier_inputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within the block, a list whose one entry is what the classifier last took in: (B, D), with its gradient."""
    inputs: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor]) -> None:
        inputs[:] = args

    handle = classifier(model).register_forward_pre_hook(keep)
    try:
        yield inputs
    finally:
        handle.remove()


@torch.no_grad()
def move_centers(centers: Tensor, features: Tensor, targets: Tensor, rate: float) -> None:
    """Move centers (K, D) towards the features (B, D) of their classes, in place; targets (B, K).

    A step of gradient descent on center loss, of the centers' own rate in 0..1, with the gradient of each center
    divided by 1 + its samples in the batch: equation 4 of Wen et al. 2016 (ECCV), for soft targets too.
    """
    count = targets.sum(0)[:, None]
    pull = targets.mT @ features.float() - count * centers
    centers += rate * pull / (1 + count)
