"""PyTorch's optimizers without PyTorch's compiler, which takes longer to import than all the rest of PyTorch.

Every `Optimizer.step` and `zero_grad` of PyTorch 2 imports torch._dynamo, only to tell it to keep out: 3.8 s of a
core in each process that trains (PyTorch 2.14, one core; PyTorch itself takes 2.7 s).
"""

from __future__ import annotations

import inspect

import torch


def _lean(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """`kind` with its own update and without the wrapper around it; torch.compile would want that wrapper."""
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(inspect.unwrap(kind.step))})


for _member in vars(torch.optim.Optimizer).values():
    # where torch/_compile.py looks for the function to call before it imports the compiler to make one
    if (_function := getattr(_member, "__wrapped__", None)) is not None:
        _function.__dict__.setdefault("__dynamo_disable", _function)

SGD = _lean(torch.optim.SGD)
Adam = _lean(torch.optim.Adam)
AdamW = _lean(torch.optim.AdamW)
RAdam = _lean(torch.optim.RAdam)
NAdam = _lean(torch.optim.NAdam)
RMSprop = _lean(torch.optim.RMSprop)
