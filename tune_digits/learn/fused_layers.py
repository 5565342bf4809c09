"""Layers as torch.func.vmap needs them, put into a copy of a network that several trainings share (`fused`)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Mean(nn.Module):
    """nn.AdaptiveAvgPool2d(1), which vmap would compute network by network."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((-2, -1), keepdim=True)


def replace_means(model: nn.Module) -> None:
    """Replace each pooling to one position by `Mean`, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            model.set_submodule(name, Mean())


class Masked(nn.Module):
    """Multiplies by `mask`, a buffer that `torch.func.functional_call` replaces for each call."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.mask.to(values.dtype)


@dataclass(frozen=True, slots=True)
class Dropout:
    """What nn.Dropout was: its probability, and its input's shape (2, ...) and order in memory."""

    p: float
    shape: torch.Size
    layout: torch.memory_format

    def mask(self, batch: int, generator: torch.Generator) -> Tensor:
        """(batch, ...) of 0 and 1 / (1 - p), the very numbers that nn.Dropout would draw from this generator."""
        shape = (batch, *self.shape[1:])
        mask = torch.empty(shape, device=generator.device, memory_format=self.layout)
        keep = 1 - self.p
        return mask.bernoulli_(keep, generator=generator).div_(keep) if keep else mask.zero_()


def replace_dropout(model: nn.Module, images: Tensor) -> dict[str, Dropout]:
    """Replace each nn.Dropout with p > 0 by `Masked`, in place: name of its mask -> what it was, in the order of use.

    images: two images uint8 (2, C, H, W), sent through once to see that order and the shapes.
    """
    found: dict[str, Dropout] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(module, nn.Dropout)
            values: Tensor = args[0]
            last = values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if last else torch.contiguous_format
            found[f"{name}.mask"] = Dropout(module.p, values.shape, layout)

        return note

    probe = copy.deepcopy(model).eval()
    for name, module in probe.named_modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            module.register_forward_pre_hook(noting(name))
    with torch.no_grad():
        probe(images.float().contiguous(memory_format=torch.channels_last))
    for name in found:
        model.set_submodule(name.removesuffix(".mask"), Masked())
    return found
