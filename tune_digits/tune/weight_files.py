"""Files of weights that other programs have written: safetensors, and what torch.save makes, gzipped or not."""

from __future__ import annotations

import gzip
import io
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_digits.config.network import WEIGHT_FILES
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

# where a checkpoint keeps its tensors, beside the epoch and the optimizer
INSIDE = ("state_dict", "model_state_dict", "model")


def read_weights(file: Path) -> dict[str, Tensor]:
    """Named tensors, on the CPU, from a file that ends in one of `config.network.WEIGHT_FILES`.

    Nothing but tensors is read: no code that a file may contain is run. They may lie one level down, under one of
    INSIDE. Raises ConfigError where the file is of another kind, damaged, or holds no named tensors.
    """
    import torch
    from safetensors import SafetensorError

    # what torch.load raises of a damaged file depends on where it is damaged
    damaged = (EOFError, zlib.error, SafetensorError, RuntimeError, ValueError, LookupError)
    try:
        loaded = _read(file)
    except (OSError, *damaged, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"model.weights: {file}: cannot be read as tensors alone ({_reason(error)}). Where a whole model was "
            f"saved, save its model.state_dict() instead"
        ) from None
    for key in INSIDE:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    named = loaded if isinstance(loaded, Mapping) else {}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ConfigError(f"model.weights: {file}: holds no named tensors (a state_dict is what is wanted)")
    return tensors


def _reason(error: Exception) -> str:
    """The line that says what is wrong; torch.load's own advice is to run the code in the file."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = next((line for line in lines if "WeightsUnpickler error" in line), lines[0])
    return line.strip().partition(". Please")[0]


def _read(file: Path) -> Any:
    import torch
    from safetensors.torch import load_file

    if not file.name.endswith(WEIGHT_FILES):
        raise ConfigError(
            f"model.weights: {file}: a file of weights ends in one of {', '.join(WEIGHT_FILES)}"
        )
    if file.suffix == ".safetensors":
        return load_file(file)
    if file.suffix == ".gz":
        with gzip.open(file) as opened:
            return torch.load(io.BytesIO(opened.read()), map_location="cpu", weights_only=True)
    return torch.load(file, map_location="cpu", weights_only=True)
