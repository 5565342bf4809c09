"""PyTorch's optimizers without PyTorch's compiler, which takes longer to import than all the rest of PyTorch.

Every `Optimizer.step` and `zero_grad` of PyTorch 2 imports torch._dynamo, only to tell it to keep out: 3.8 s of a core
in each process that trains (PyTorch 2.14, one core; PyTorch itself takes 2.7 s). What is computed is the same.
tests/learn/test_import_cost.py fails where a new release of PyTorch imports it again.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from tune_digits.patches import enabled


def _unwrapped_step(kind: type[torch.optim.Optimizer]) -> Any:
    """The optimizer's `step` without the wrapper around it, which only torch.compile would want."""
    step = inspect.unwrap(kind.step)
    # a wrapper around something else than the update is left on
    if not enabled() or step is kind.step or list(inspect.signature(step).parameters) != ["self", "closure"]:
        return kind.step
    return torch.no_grad()(step)


def _exempt_from_compiler() -> None:
    """Say of the methods of all optimizers that the compiler keeps out, before PyTorch imports it to say so."""
    for member in vars(torch.optim.Optimizer).values():
        # where torch/_compile.py looks for the function to call, before it imports the compiler to make one
        if (function := getattr(member, "__wrapped__", None)) is not None:
            function.__dict__.setdefault("__dynamo_disable", function)


if enabled():
    _exempt_from_compiler()


class SGD(torch.optim.SGD):
    """torch.optim.SGD."""

    step = _unwrapped_step(torch.optim.SGD)


class Adam(torch.optim.Adam):
    """torch.optim.Adam."""

    step = _unwrapped_step(torch.optim.Adam)


class AdamW(torch.optim.AdamW):
    """torch.optim.AdamW."""

    step = _unwrapped_step(torch.optim.AdamW)


class RAdam(torch.optim.RAdam):
    """torch.optim.RAdam."""

    step = _unwrapped_step(torch.optim.RAdam)


class NAdam(torch.optim.NAdam):
    """torch.optim.NAdam."""

    step = _unwrapped_step(torch.optim.NAdam)


class RMSprop(torch.optim.RMSprop):
    """torch.optim.RMSprop."""

    step = _unwrapped_step(torch.optim.RMSprop)
