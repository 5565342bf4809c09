"""Initial weights taken from another network, as far as names and shapes fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tune_digits.errors import ConfigError

# what may stand before a weight's name, outermost first: wrappers of other programs, then our own modules
PREFIXES = ("_orig_mod.", "module.", "model.", "network.", "body.")


@dataclass(frozen=True, slots=True)
class Transfer:
    """copied: names of the model's weights that were replaced; left_out: names of given ones that did not fit."""

    copied: tuple[str, ...]
    left_out: tuple[str, ...]


def bare(name: str) -> str:
    """The name as the network itself has it.

    >>> bare("module.network.fc.weight")
    'fc.weight'
    """
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def load_matching(model: nn.Module, tensors: Mapping[str, Tensor]) -> Transfer:
    """Copy into `model`, in place, the tensors of equal name (prefixes aside) and shape.

    The normalisation stays the model's own: it belongs to its own images. Another number of classes, channels or
    positions leaves out the layers whose shape depends on it. Raises ConfigError where no weight at all fits.
    """
    own = {
        bare(name): (name, t) for name, t in model.state_dict().items() if not name.startswith("normalize.")
    }
    copied, left_out = [], []
    for given, tensor in tensors.items():
        if given.startswith("normalize."):
            continue
        name, target = own.get(bare(given), ("", None))
        if target is None or target.shape != tensor.shape:
            left_out.append(given)
            continue
        with torch.no_grad():
            target.copy_(tensor)
        copied.append(name)
    # a bias or a counter alone may fit by chance
    if not any(dict(own.values())[name].ndim > 1 for name in copied):
        examples = [
            ", ".join(f"{n} {tuple(t.shape)}" for n, t in list(d)[:3])
            for d in (tensors.items(), own.values())
        ]
        raise ConfigError(f"no weight fits this model: given are {examples[0]} ..., it has {examples[1]} ...")
    return Transfer(tuple(copied), tuple(left_out))
