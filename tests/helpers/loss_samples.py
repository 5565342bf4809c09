"""Logits and targets that the tests of losses share."""

from __future__ import annotations

import torch
import torch.nn.functional as F

B, K = 12, 7
ONE_HEAD = (slice(0, K),)


def generator():
    return torch.Generator().manual_seed(0)


def some_logits(count=B, classes=K, scale=3.0):
    return torch.randn(count, classes, generator=generator()) * scale


def some_labels(count=B, classes=K):
    return torch.randint(classes, (count,), generator=generator())


def one_hot(labels, classes=K):
    return F.one_hot(labels, classes).float()


def soft_targets():
    return torch.rand(B, K, generator=generator()).square().softmax(1)
