"""Ralamb, the optimizer inside Over9000: RAdam with a trust ratio for each tensor."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class Ralamb(torch.optim.Optimizer):
    """RAdam (arXiv:1908.03265) whose update of a tensor is multiplied by a trust ratio, as published by Grankin
    (github.com/mgrankin/over9000, ralamb.py).

    The ratio is min(|w|, 10) / |w - u|, where w is the tensor before weight decay and w - u what RAdam would make of
    it; 1 where either is 0. LARS and LAMB divide by |u| instead. So the ratio is about 1 for tensors with a norm below
    10, and makes the updates of larger ones smaller. While the variance of the gradient cannot be rectified, in the
    first five updates for beta2 = 0.999, u is the mean gradient times the learning rate. Weight decay is decoupled.
    """

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of all parameters that have a gradient; closures are not supported."""
        assert closure is None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(group, params, [p.grad for p in params])

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for p in params:
            if "exp_avg" not in self.state[p]:
                self.state[p].update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
            self.state[p]["step"] += 1
        means = [self.state[p]["exp_avg"] for p in params]
        squares = [self.state[p]["exp_avg_sq"] for p in params]
        torch._foreach_lerp_(means, grads, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)

        before = [norm.clamp(max=10) for norm in torch._foreach_norm(params)]
        if group["weight_decay"] > 0:
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        size, rectified = radam_step_size(self.state[params[0]]["step"], beta1, beta2)
        updates = list(torch._foreach_mul(means, -group["lr"] * size))
        if rectified:
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["eps"])
            torch._foreach_div_(updates, roots)
        after = torch._foreach_norm(torch._foreach_add(params, updates))
        ratios = [
            torch.where((a == 0) | (b == 0), torch.ones_like(a), a / b)
            for a, b in zip(before, after, strict=True)
        ]
        torch._foreach_mul_(updates, ratios)
        torch._foreach_add_(params, updates)


def radam_step_size(step: int, beta1: float, beta2: float) -> tuple[float, bool]:
    """Factor of the learning rate in update number `step` (from 1), and whether the update is divided by the root of
    the mean squared gradient.

    >>> radam_step_size(1, 0.9, 0.999)[1], radam_step_size(6, 0.9, 0.999)[1]
    (False, True)
    """
    decay = beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * decay / (
        1 - decay
    )  # of a moving average that is as certain; rho in the paper
    corrected = 1 / (1 - beta1**step)
    if length < 5:
        return corrected, False
    rectified = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
    return math.sqrt((1 - decay) * rectified) * corrected, True
