"""Extra labelled sets (`data.extra`): read like any data, then scored as holdouts or joined to the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_digits.config import Cv, RowGroups
from tune_digits.data.dataset import Labelled
from tune_digits.data.files.paths import find_csv, listing
from tune_digits.data.folds.split import groups_of, runs_of_rows
from tune_digits.data.options import Extra
from tune_digits.errors import DataError


def locate(extra: Extra, data_path: Path | None) -> Path:
    """The file or folder that `extra.path` names, from the folder of `data.path` on (or the working folder).

    A CSV file may be named by its stem. Raises DataError, listing the folder, when there is none.
    """
    folder = Path.cwd() if data_path is None else data_path if data_path.is_dir() else data_path.parent
    path = folder / Path(extra.path).expanduser()
    if path.exists():
        return path
    found = find_csv(path.parent, path.name)
    if found is None:
        there = f"{folder} has: {listing(folder)}" if folder.is_dir() else f"there is no folder {folder}"
        raise DataError(f"data.extra names {extra.path!r}, but {there}.")
    return found


def joined(train: Labelled, extras: Mapping[str, Labelled], cv: Cv) -> Labelled:
    """The training rows with those of the extra sets after them, and the groups that `cv` asks for.

    All have the same targets and image shape. ids become text, an extra's with the name of its set before them. A
    column that a set lacks is '' for its rows, with two exceptions: in the column of groups they are one group, the
    set's name, and in the column of folds -1, so that they always train. Runs of `rows_per_group` begin anew
    with each set.
    """
    if not extras:
        return replace(train, groups=groups_of(train, cv))
    parts = {"": train, **extras}
    names = dict.fromkeys(name for part in parts.values() for name in part.columns)
    columns = {
        column: np.concatenate(
            [
                part.columns[column]
                if column in part.columns
                else np.full(len(part), _missing(column, name, cv))
                for name, part in parts.items()
            ]
        )
        for column in names
    }
    whole = Labelled(
        images=np.concatenate([part.images for part in parts.values()]),
        labels=np.concatenate([part.labels for part in parts.values()]),
        ids=np.concatenate(
            [np.char.add(f"{name}/" if name else "", part.ids.astype(str)) for name, part in parts.items()]
        ),
        targets=train.targets,
        columns=columns,
    )
    if not isinstance(cv.groups, RowGroups):
        return replace(whole, groups=groups_of(whole, cv))
    groups: list[np.ndarray] = []
    for part in parts.values():
        first = groups[-1][-1] + 1 if groups else 0
        groups.append(runs_of_rows(len(part), cv.groups) + first)
    return replace(whole, groups=np.concatenate(groups))


def _missing(column: str, name: str, cv: Cv) -> str:
    if name and column == cv.groups:
        return name
    return "-1" if name and column == cv.fold_column else ""
