"""The weights that a training starts from where the configuration names a file: another run's, or anyone's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tune_digits import disk
from tune_digits.config.given import SameFolds
from tune_digits.config.model import Model
from tune_digits.disk import file_digest
from tune_digits.errors import ConfigError, RunError
from tune_digits.tune.kept_folds import kept_digest, kept_network
from tune_digits.tune.weight_files import read_weights

if TYPE_CHECKING:
    from torch import Tensor


def initial_weights_file(config: Model, fold: int) -> Path | None:
    """The file that holds the initial weights of a training of this fold; None where they are random.

    Of model.init_from, a run folder or ensemble folder, it is the ensemble's first member, or what fold `fold` of the
    run ended with; of model.weights, that file itself. Raises ConfigError where the folder holds none.
    """
    if isinstance(config.init_from, SameFolds):
        return kept_network(config.init_from, fold, "model.init_from")
    if config.init_from is not None:
        return _first_member(Path(config.init_from))
    return None if config.weights is None else Path(config.weights)


def read_initial_weights(config: Model, fold: int) -> dict[str, Tensor] | None:
    """The initial weights of a training of this fold by name; None where they are random. Raises ConfigError."""
    file = initial_weights_file(config, fold)
    if file is None:
        return None
    if config.init_from is None:
        return read_weights(file)
    try:
        return disk.read_tensors(file)[0]
    except RunError as error:
        raise ConfigError(f"model.init_from: {file.parent} holds no readable weights: {error}") from None


def initial_weights_digest(config: Model) -> str | None:
    """A hash of the files that `read_initial_weights` reads for any fold; None where it reads none.

    What was trained from other contents of a file of the same name is thus told apart. Raises ConfigError.
    """
    if isinstance(config.init_from, SameFolds):
        return kept_digest(config.init_from, "model.init_from")
    file = initial_weights_file(config, 0)
    if file is None:
        return None
    try:
        return file_digest(file)
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
    raise ConfigError(f"model.init_from: {folder} holds no ensemble; make one with tune-digits ensemble")
