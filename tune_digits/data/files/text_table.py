"""Small CSV tables of text: one row per image, its path or id, labels and whatever else is known of it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from tune_digits.data.files.paths import columns_seen, open_text, readable
from tune_digits.errors import DataError


def read_text_table(path: Path) -> dict[str, np.ndarray]:
    """All columns by name, text (N,), without the spaces around cells, in file order.

    Raises DataError when the file cannot be read, has no rows, a column twice, or a row of another length.
    """
    with readable(path), open_text(path) as file:
        rows = [[cell.strip() for cell in cells] for cells in csv.reader(file) if cells]
    if not rows:
        raise DataError(f"{path} is empty.")
    header, *rows = rows
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise DataError(f"{path} has the column {twice[0]!r} twice. Rename one of them.")
    if not rows:
        raise DataError(f"{path} has a header but no rows.")
    for i, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            raise DataError(
                f"{path}, row {i}: {len(cells)} cells, but the header has {len(header)} columns. Is the file cut "
                f"short, or a comma not in quotes?"
            )
    return {
        name: np.array(column, dtype=str)
        for name, column in zip(header, zip(*rows, strict=True), strict=True)
    }


def column_of(table: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """The column of that name. Raises DataError, with the names there are."""
    if name not in table:
        raise DataError(f"{path} has no column {name!r}. Its columns: {columns_seen(list(table))}.")
    return table[name]
