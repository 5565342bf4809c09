"""The weights that a training starts from where the configuration names a file: another run's, or anyone's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from tune_digits import disk
from tune_digits.config.model import Model
from tune_digits.errors import ConfigError, RunError
from tune_digits.tune.weight_files import read_weights

if TYPE_CHECKING:
    from torch import Tensor


def initial_weights_file(config: Model) -> Path | None:
    """The file that holds the initial weights; None where the network starts from random ones.

    Of model.init_from, a run folder or ensemble folder, it is the ensemble's first member; of model.weights, that file
    itself. Raises ConfigError where the folder holds no ensemble.
    """
    if config.init_from is not None:
        return _first_member(Path(config.init_from))
    return None if config.weights is None else Path(config.weights)


def read_initial_weights(config: Model) -> dict[str, Tensor] | None:
    """The initial weights by name; None where the network starts from random ones. Raises ConfigError."""
    file = initial_weights_file(config)
    if file is None:
        return None
    if config.init_from is None:
        return read_weights(file)
    try:
        return disk.read_tensors(file)[0]
    except RunError as error:
        raise ConfigError(f"model.init_from: {file.parent} holds no readable ensemble: {error}") from None


def initial_weights_digest(config: Model) -> str | None:
    """sha256, in hexadecimal, of the file that `read_initial_weights` reads; None where it reads none.

    What was trained from other contents of a file of the same name is thus told apart. Raises ConfigError.
    """
    file = initial_weights_file(config)
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"model.{'weights' if config.init_from is None else 'init_from'}: {error}"
        ) from None


def _first_member(folder: Path) -> Path:
    for place in (folder, folder / "ensemble"):
        if (place / "manifest.json").is_file():
            try:
                members = disk.read_json(place / "manifest.json")["members"]
                return place / str(members[0])
            except (RunError, KeyError, IndexError, TypeError) as error:
                raise ConfigError(f"model.init_from: {place} holds no readable ensemble: {error}") from None
    raise ConfigError(f"model.init_from: {folder} holds no ensemble; make one with scripts/ensemble.py")
