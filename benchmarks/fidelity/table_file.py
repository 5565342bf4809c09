"""A table of recorded trainings: one .npz file, and the only code that knows how it is laid out.

Shape letters: E epochs of a training, W watched rows (judged after each epoch), V validated rows (judged at the end,
the watched ones first), 2 sets of weights: those of the last update, and their moving average (EMA).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tune_digits.disk import replacing
from tune_digits.errors import RunError

RAW, EMA = 0, 1  # places in the axis of 2


class Key(NamedTuple):
    """One training: seed, number of the configuration, and the place of its length in `Setting.lengths`."""

    seed: int
    configuration: int
    length: int


@dataclass(frozen=True)
class Record:
    """What is kept of one training.

    off: uint8 (2, E, W), predicted class minus label, modulo the number of classes; 0 is right. loss: float32 (2, E),
    cross-entropy on the watched rows; train_loss: float32 (E,). end_off: uint8 (2, V), as `off`, after the last epoch;
    end_likely: uint8 (V,), the probability that the EMA gives to the true class, in 255ths.
    """

    off: np.ndarray
    loss: np.ndarray
    train_loss: np.ndarray
    end_off: np.ndarray
    end_likely: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Accuracy on the watched rows after each epoch: float64 (2, E)."""
        return np.asarray((self.off == 0).mean(2))


@dataclass(frozen=True)
class Setting:
    """What all trainings of a table share. lengths: epochs of a short, a middle and a full training. watched: W.

    configurations: trees of TrialConfig without the number of epochs. What is not in here must not change a training.
    """

    data: str
    fingerprint: str
    training_version: int
    image: str
    train_rows: int
    watched: int
    validated: int
    rows_per_group: int
    lengths: list[int]
    configurations: list[dict[str, Any]]


@dataclass
class Table:
    """setting; rows, labels, groups: int64 (V,) of the validated rows; trainings: those that are finished."""

    setting: Setting
    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    trainings: dict[Key, Record] = field(default_factory=dict)

    def seeds(self) -> list[int]:
        """The seeds of which every configuration has trained every length."""
        per_seed = len(self.setting.configurations) * len(self.setting.lengths)
        found = [key.seed for key in self.trainings]
        return [seed for seed in sorted(set(found)) if found.count(seed) == per_seed]


def write_table(path: Path, table: Table) -> None:
    """Write the whole file, or leave the one that is there."""
    arrays: dict[str, np.ndarray] = {name: getattr(table, name) for name in ("rows", "labels", "groups")}
    for key, record in sorted(table.trainings.items()):
        name = "-".join(map(str, key))
        arrays |= {f"{name}/{kind}": value for kind, value in vars(record).items()}
    arrays["setting"] = np.array(json.dumps(asdict(table.setting)))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_table(path: Path) -> Table:
    """Raises RunError, naming the file, where it is missing, damaged, or lacks a part of a training."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        setting = Setting(**json.loads(str(arrays.pop("setting"))))
        about = {name: arrays.pop(name) for name in ("rows", "labels", "groups")}
        table = Table(setting, **about, trainings=_trainings(arrays))
        _check(table)
    except FileNotFoundError:
        raise RunError(f"{path}: missing; benchmarks/fidelity/make.py makes it") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error}); delete it and make it again") from None
    return table


def _trainings(arrays: Mapping[str, np.ndarray]) -> dict[Key, Record]:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, value in arrays.items():
        training, kind = name.split("/")
        parts.setdefault(training, {})[kind] = value
    return {Key(*map(int, name.split("-"))): Record(**own) for name, own in parts.items()}


def _check(table: Table) -> None:
    setting = table.setting
    validated = (setting.validated,)
    for array in (table.rows, table.labels, table.groups):
        if array.shape != validated:
            raise ValueError(f"{array.shape} rows where {validated} are validated")
    for key, record in table.trainings.items():
        epochs = setting.lengths[key.length]
        shapes = {
            "off": (2, epochs, setting.watched),
            "loss": (2, epochs),
            "train_loss": (epochs,),
            "end_off": (2, *validated),
            "end_likely": validated,
        }
        for kind, shape in shapes.items():
            if getattr(record, kind).shape != shape:
                raise ValueError(f"{key}: {kind} is {getattr(record, kind).shape}, not {shape}")
