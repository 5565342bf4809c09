"""Weights to start from: those of an earlier run, or a file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tune_digits import disk
from tune_digits.errors import ConfigError, RunError

# what may stand before a weight's name, outermost first: wrappers of other programs, then our own parts
PREFIXES = ("_orig_mod.", "module.", "model.", "network.", "body.")


@dataclass(frozen=True, slots=True)
class Transfer:
    """Names of the model's weights that were copied, and of those given (left_out) that had no place there."""

    copied: tuple[str, ...]
    left_out: tuple[str, ...]


def bare(name: str) -> str:
    """The name as the network itself has it: `network.fc.weight` is `fc.weight`."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def load_matching(model: nn.Module, tensors: Mapping[str, Tensor]) -> Transfer:
    """Copy into `model`, in place, the tensors of equal name (prefixes aside) and shape.

    Normalisation stays the model's own: it is of its own images. Another number of classes, channels or positions
    leaves out the layers that depend on it. Raises ConfigError where no weight at all fits.
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


def read_run(folder: Path) -> dict[str, Tensor]:
    """The weights of the first member of the ensemble in a run folder or ensemble folder. Raises ConfigError."""
    for place in (folder, folder / "ensemble"):
        if (place / "manifest.json").is_file():
            try:
                first = disk.read_json(place / "manifest.json")["members"][0]
                return disk.read_tensors(place / first)[0]
            except (RunError, KeyError, IndexError, TypeError) as error:
                raise ConfigError(f"model.init_from: {place} holds no readable ensemble: {error}") from None
    raise ConfigError(f"model.init_from: {folder} holds no ensemble; make one with scripts/ensemble.py")


def read_weights(file: Path) -> dict[str, Tensor]:
    """Named tensors from .safetensors, or from .pt/.pth/.bin that torch reads without pickled code.

    The tensors may lie one level down, under `state_dict`, `model` or `model_state_dict`. Raises ConfigError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"model.weights: {file}: cannot be read as tensors alone: {error}") from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    tensors = (
        {k: v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, Mapping) else {}
    )
    if not tensors:
        raise ConfigError(f"model.weights: {file}: holds no named tensors (a state_dict is what is wanted)")
    return tensors
