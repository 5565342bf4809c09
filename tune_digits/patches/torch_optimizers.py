"""PyTorch's optimizers without PyTorch's compiler, which takes longer to import than all the rest of PyTorch.

Every `Optimizer.step` and `zero_grad` of PyTorch 2 imports torch._dynamo, only to tell it to keep out: 3.8 s of a
core in each process that trains (PyTorch 2.14, one core; PyTorch itself takes 2.7 s). What is computed is the same.
"""

from __future__ import annotations

import inspect

import torch

from tune_digits.patches import enabled


def _without_compiler(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """`kind` with its own update and without the wrapper around it, which torch.compile would want."""
    step = inspect.unwrap(kind.step)
    # a wrapper that hides something else than the update is not ours to take off
    if not enabled() or step is kind.step or list(inspect.signature(step).parameters) != ["self", "closure"]:
        return kind
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(step)})


def _exempt_from_compiler() -> None:
    """Say of the methods of all optimizers that the compiler keeps out, before PyTorch imports it to say so."""
    for member in vars(torch.optim.Optimizer).values():
        # where torch/_compile.py looks for the function to call before it imports the compiler to make one
        if (function := getattr(member, "__wrapped__", None)) is not None:
            function.__dict__.setdefault("__dynamo_disable", function)


if enabled():
    _exempt_from_compiler()

SGD = _without_compiler(torch.optim.SGD)
Adam = _without_compiler(torch.optim.Adam)
AdamW = _without_compiler(torch.optim.AdamW)
RAdam = _without_compiler(torch.optim.RAdam)
NAdam = _without_compiler(torch.optim.NAdam)
RMSprop = _without_compiler(torch.optim.RMSprop)
