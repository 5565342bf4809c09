"""Optimizers around another optimizer. Both share one state, so that it is saved and loaded as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Wrapper(torch.optim.Optimizer):
    """Does what the optimizer inside does, with the same groups and the same state per parameter."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        super().__init__(base.param_groups, base.defaults)
        self.base = base
        self._share()

    def _share(self) -> None:
        self.state, self.param_groups = self.base.state, self.base.param_groups

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch.optim.Optimizer.load_state_dict."""
        self.base.load_state_dict(state_dict)
        self._share()

    def step(self, closure: Any = None) -> Any:
        """One update of all parameters that have a gradient."""
        return self.base.step(closure)

    def _updated(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"] if p.grad is not None]


class CountInState(Wrapper):
    """Keeps the number of updates, which pytorch-optimizer counts in its groups, in each parameter's state.

    Only the state is saved with a training; the groups are made from the configuration.
    """

    def step(self, closure: Any = None) -> Any:
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            states = (self.state[p] for p in group["params"] if p in self.state)
            group["step"] = max((state.get("updates", 0) for state in states), default=0)
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.state[p]["updates"] = group["step"]
        return loss


class Lookahead(Wrapper):
    """Slow weights beside the weights (Zhang et al. 2019, arXiv:1907.08610).

    After every k-th update of the optimizer inside, the slow weights move by the fraction alpha of the way towards the
    weights, and the weights are set to the slow ones. k >= 1; alpha in 0..1. Both start from the initial weights.
    """

    def __init__(self, base: torch.optim.Optimizer, k: int, alpha: float) -> None:
        super().__init__(base)
        self.k, self.alpha = k, alpha

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of all parameters that have a gradient."""
        params = self._updated()
        # an optimizer initialises a parameter whose state is empty, so ours is added after its first update
        start = {p: p.detach().clone() for p in params if "slow" not in self.state.get(p, {})}
        loss = super().step(closure)
        due = []
        for p in params:
            state = self.state[p]
            if p in start:
                state["slow"], state["fast_updates"] = start[p], 0
            state["fast_updates"] += 1
            if state["fast_updates"] == self.k:
                state["fast_updates"] = 0
                due.append(p)
        if due:
            slow = [self.state[p]["slow"] for p in due]
            torch._foreach_lerp_(slow, due, self.alpha)
            torch._foreach_copy_(due, slow)
        return loss
