"""Labels and ids as files write them: text in, class names and numbers out. N samples."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_digits.data.dataset import Labelled, Target
from tune_digits.errors import DataError, printable


def is_whole(text: str) -> bool:
    """Whether the text is a whole number from 0 on, in the digits 0-9."""
    # isdigit alone would take the digits of every script, which make good class names here.
    return text.isascii() and text.isdigit()


def read_labels(text: np.ndarray, path: Path | str) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, and each label's place among them, int64 (N,), from labels as text (N,).

    Labels are whole numbers ('07' is '7'; the classes are in numeric order) or names (in alphabetical order).
    Raises DataError for a missing label, or numbers that are not whole or are mixed with names; with the row.
    """
    names, position = _distinct(text, path)
    classes = tuple(sorted(set(names), key=int if is_whole(names[0]) else None))
    place = {name: i for i, name in enumerate(classes)}
    return classes, np.array([place[name] for name in names], dtype=np.int64)[position]


def _distinct(text: np.ndarray, path: Path | str) -> tuple[list[str], np.ndarray]:
    """The distinct labels in plain form and each row's position among them (N,)."""
    distinct, first, position = np.unique(text, return_index=True, return_inverse=True)
    odd = [
        i
        for i, name in enumerate(distinct)
        if str(name) != printable(str(name)) or re.search(r"[\t\n]", name)
    ]
    if odd:
        raise DataError(
            f"{path}, row {first[odd[0]] + 1}: the label {str(distinct[odd[0]])[:40]!r} has a letter that controls a "
            "terminal or ends a line. Rename the class."
        )
    if distinct[0] == "":
        raise DataError(f"{path}, row {first[0] + 1}: the label is missing.")
    numeric = [re.fullmatch(r"[+-]?[0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?", name) is not None for name in distinct]
    whole = [is_whole(name) for name in distinct]
    if any(numeric) and not all(whole):
        row, bad = min((first[i], distinct[i]) for i in range(len(distinct)) if not whole[i])
        raise DataError(
            f"{path}, row {row + 1}: the label is {str(bad)[:40]!r}. Labels are whole numbers from 0 on, "
            f"or all of them are names."
        )
    if whole[0] and (long := max(distinct, key=len)) and len(long) > 18:
        row = first[list(distinct).index(long)]
        raise DataError(f"{path}, row {row + 1}: the label {str(long)[:40]!r} is too large a number.")
    return [str(int(name)) if whole[0] else str(name) for name in distinct], position.reshape(-1)


def with_targets(data: Labelled, targets: tuple[Target, ...], path: Path | str) -> Labelled:
    """A labelled set read by itself, its labels renumbered as in `targets` (those of the training data).

    Raises DataError when it has other targets, or a class that the training data do not have; with the row.
    """
    if [t.name for t in data.targets] != [t.name for t in targets]:
        raise DataError(
            f"{path} has labels for {', '.join(t.name for t in data.targets)}, but the training data have "
            f"{', '.join(t.name for t in targets)}."
        )
    labels = np.empty_like(data.labels)
    for column, (own, target) in enumerate(zip(data.targets, targets, strict=True)):
        place = {name: i for i, name in enumerate(target.classes)}
        numbers = np.array([place.get(name, -1) for name in own.classes], dtype=np.int64)
        labels[:, column] = numbers[data.labels[:, column]]
        if (numbers < 0).any():
            row = int(np.argmax(labels[:, column] < 0))
            name = own.classes[data.labels[row, column]]
            more = ", .." if len(target.classes) > 20 else ""
            raise DataError(
                f"{path}, row {row + 1}: the label {name!r} does not occur in the training file, "
                f"whose classes are {', '.join(target.classes[:20])}{more}."
            )
    return replace(data, labels=labels, targets=targets)


def as_ids(text: np.ndarray) -> np.ndarray:
    """int64 if every id is a whole number in its plain form, else the text ('007' is not 7)."""
    try:
        numbers = text.astype(np.int64)
    except (ValueError, OverflowError):
        return text
    return numbers if np.array_equal(numbers.astype(str), text) else text


def refuse_bad_ids(path: Path | str, ids: np.ndarray) -> None:
    """DataError for a missing or repeated id, with the row."""
    seen: dict[object, int] = {}
    for row, name in enumerate(ids.tolist(), start=1):
        if name == "":
            raise DataError(f"{path}, row {row}: the id is missing.")
        if name in seen:
            raise DataError(f"{path}, row {row}: the id {name!r} is already that of row {seen[name]}.")
        seen[name] = row
