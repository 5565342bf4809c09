"""Optimizers in the arithmetic of Keras 3, where it differs from PyTorch's. docs/keras-parity.md says what it changes.

Weight decay is decoupled in all of them, as in Keras: w <- w - lr * weight_decay * w before the update.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tune_digits.patches import torch_optimizers


class _Keras(torch.optim.Optimizer):
    """Goes over the groups; `update` takes parameters and gradients of one of them."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of all parameters that have a gradient; closures are not supported."""
        assert closure is None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            if group["weight_decay"] > 0:
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            self.update(group, params, [p.grad for p in params])

    def update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Change `params` in place."""
        raise NotImplementedError

    def buffers(self, params: list[Tensor], name: str) -> list[Tensor]:
        """The parameters' state `name`, zeros at first."""
        for p in params:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p)
        return [self.state[p][name] for p in params]


class KerasSGD(_Keras):
    """m <- momentum * m - lr * g; w <- w + m, or w + momentum * m - lr * g (nesterov).

    PyTorch multiplies the whole sum by the newest learning rate; the two differ once the rate changes.
    """

    def __init__(self, groups: Any, lr: float, momentum: float, nesterov: bool) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0})

    def update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        moments = self.buffers(params, "momentum")
        torch._foreach_mul_(moments, group["momentum"])
        torch._foreach_add_(moments, grads, alpha=-group["lr"])
        if group["nesterov"]:
            torch._foreach_add_(params, moments, alpha=group["momentum"])
            torch._foreach_add_(params, grads, alpha=-group["lr"])
        else:
            torch._foreach_add_(params, moments)


class KerasRMSprop(_Keras):
    """v <- rho * v + (1 - rho) * g²; w <- w - lr * g / sqrt(v + eps), or by way of a momentum that contains lr.

    PyTorch divides by sqrt(v) + eps. Keras's eps of 1e-7 matters for gradients below 3e-4, PyTorch's of 1e-8 only for
    gradients below 1e-8.
    """

    def __init__(self, groups: Any, lr: float, rho: float, momentum: float, eps: float) -> None:
        super().__init__(
            groups, {"lr": lr, "rho": rho, "momentum": momentum, "eps": eps, "weight_decay": 0.0}
        )

    def update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        squares = self.buffers(params, "velocity")
        torch._foreach_mul_(squares, group["rho"])
        torch._foreach_addcmul_(squares, grads, grads, 1 - group["rho"])
        roots = list(torch._foreach_add(squares, group["eps"]))
        torch._foreach_sqrt_(roots)
        if group["momentum"] > 0:
            moments = self.buffers(params, "momentum")
            torch._foreach_mul_(moments, group["momentum"])
            torch._foreach_addcdiv_(moments, grads, roots, group["lr"])
            torch._foreach_add_(params, moments, alpha=-1)
        else:
            torch._foreach_addcdiv_(params, grads, roots, -group["lr"])


class KerasAdam(torch_optimizers.AdamW):
    """Adam whose eps is added before the bias of v is corrected, `epsilon hat` in arXiv:1412.6980.

    That is PyTorch's Adam with eps / sqrt(1 - beta2^t) in the place of eps, 32 times as much at first.
    """

    def step(self, closure: Any = None) -> Any:
        """One update of all parameters that have a gradient."""
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        # counted here: asking PyTorch's own counter, a tensor on the device, would wait for the device
        step = max((self.state[p]["updates"] for p in params if p in self.state), default=0) + 1
        for group in self.param_groups:
            group["eps"] = self.defaults["eps"] / math.sqrt(1 - group["betas"][1] ** step)
        loss = super().step(closure)
        for p in params:
            self.state[p]["updates"] = step
        return loss
