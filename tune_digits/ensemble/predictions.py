"""The file of predictions, `proba.npz`: what a vote and its members say of images, for other votes. No pickle.

As CSV it holds the vote alone: the id, and a column of probabilities for each class.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tune_digits.data.dataset import RowForm, Target, head_slices
from tune_digits.disk import replacing
from tune_digits.errors import DataError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Predictions:
    """Of N images. ids: int64 or str (N,); targets: what the K columns are; form: how a submission writes an image.

    names: of the M members; members: float32 (M, N, K); vote: float64 (N, K). Each target's columns have the sum 1.
    """

    ids: np.ndarray
    targets: tuple[Target, ...]
    form: RowForm
    names: tuple[str, ...]
    members: np.ndarray
    vote: np.ndarray

    @property
    def heads(self) -> tuple[slice, ...]:
        return head_slices(self.targets)


def write_predictions(path: Path, said: Predictions) -> None:
    """As CSV where the path ends in .csv, else as .npz with everything."""
    if path.suffix == ".csv":
        table = pd.DataFrame(said.vote, columns=class_columns(said.targets))
        table.insert(0, said.form.id_column, said.ids)
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            ids=said.ids,
            targets=np.array([target.name for target in said.targets]),
            sizes=np.array([len(target.classes) for target in said.targets]),
            classes=np.array([name for target in said.targets for name in target.classes]),
            form=np.array(json.dumps(asdict(said.form))),
            names=np.array(said.names, dtype=str),
            members=said.members.astype(np.float32),
            vote=said.vote,
        )


def class_columns(targets: tuple[Target, ...]) -> list[str]:
    """The names of the K columns: those of the classes; of several targets with the target's name before it."""
    if len(targets) == 1:
        return list(targets[0].classes)
    return [f"{target.name}:{name}" for target in targets for name in target.classes]


def read_predictions(path: Path) -> Predictions:
    """What `write_predictions` wrote as .npz. Raises DataError, naming the file, where it is none or is damaged."""
    try:
        # opened here: NumPy leaves a damaged archive open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as z:
            if "format" not in z or int(z["format"]) != FORMAT:
                raise DataError(f"{path}: is no file of predictions of format {FORMAT}; make it with --proba")
            ends = np.cumsum(z["sizes"]).tolist()
            classes = z["classes"].tolist()
            targets = tuple(
                Target(name, tuple(classes[end - size : end]))
                for name, size, end in zip(z["targets"].tolist(), z["sizes"].tolist(), ends, strict=True)
            )
            form = row_form(**json.loads(str(z["form"])))
            return Predictions(z["ids"], targets, form, tuple(z["names"].tolist()), z["members"], z["vote"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as predictions ({error})") from None


def row_form(suffixes: list[str], label_columns: list[str], heads: list[list[int]], **rest: Any) -> RowForm:
    """A RowForm from what `asdict` made of one, as JSON gives it back. Raises TypeError where it is none."""
    return RowForm(
        suffixes=tuple(suffixes), label_columns=tuple(label_columns), heads=tuple(map(tuple, heads)), **rest
    )
