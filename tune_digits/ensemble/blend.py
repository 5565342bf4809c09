"""Votes over files: predictions of ensembles, tables of probabilities, and submissions, by whomever they are.

Shapes: V files, N images, T targets (heads), K class columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tune_digits.data.dataset import RowForm, Target, head_slices
from tune_digits.data.files.text_table import read_text_table
from tune_digits.data.labels import as_ids, read_labels, refuse_bad_ids
from tune_digits.ensemble.predictions import Predictions, class_columns, read_predictions
from tune_digits.ensemble.submission import written_classes
from tune_digits.ensemble.vote import Ballot, cast
from tune_digits.errors import DataError

LESS_SURE = 1e-3  # by so much is the label of a file less sure than that of the file named before it


@dataclass(frozen=True, slots=True)
class Labels:
    """A submission: labels and no probabilities. ids: int64 or str (R,); columns: name -> text (R,), as written."""

    path: Path
    id_column: str
    ids: np.ndarray
    columns: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Predictions of one file. proba: float64 (N, K), its vote."""

    path: Path
    ids: np.ndarray
    targets: tuple[Target, ...]
    form: RowForm
    proba: np.ndarray


Voter = Labels | Probabilities


def read_voter(path: Path) -> Voter:
    """A file of predictions (.npz), a table of an id and a probability for each class, or a submission (CSV).

    A table holds probabilities where there are two columns or more beside the id, all of numbers in 0..1, and those of
    each target add up to 1. Raises DataError.
    """
    if path.suffix == ".npz":
        said = read_predictions(path)
        refuse_bad_ids(path, said.ids)
        return Probabilities(path, said.ids, said.targets, said.form, said.vote)
    table = read_text_table(path)
    id_column, *names = table
    if not names:
        raise DataError(
            f"{path} has one column; a submission has an id and a label, or a probability of each class"
        )
    ids = as_ids(table[id_column])
    refuse_bad_ids(path, ids)
    proba = _probabilities([table[name] for name in names])
    for targets in _targets(names):
        if proba is not None and np.allclose(_sums(proba, targets), 1, atol=1e-3):
            for head in head_slices(targets):
                proba[:, head] /= proba[:, head].sum(axis=1, keepdims=True)
            form = replace(RowForm.wide(targets), id_column=id_column)
            return Probabilities(path, ids, targets, form, proba)
    return Labels(path, id_column, ids, {name: table[name] for name in names})


def _probabilities(columns: Sequence[np.ndarray]) -> np.ndarray | None:
    """Numbers in 0..1, float64 (N, K); None where some cell is none, or there is one column only."""
    try:
        values = np.stack([column.astype(np.float64) for column in columns], axis=1)
    except ValueError:
        return None
    return values if len(columns) > 1 and bool(((values >= 0) & (values <= 1)).all()) else None


def _targets(names: Sequence[str]) -> list[tuple[Target, ...]]:
    """The targets that columns of classes may be of: the classes of one, or `TARGET:CLASS` of several."""
    pairs = [name.partition(":") for name in names]
    order = list(dict.fromkeys(first for first, _, _ in pairs))
    several = tuple(Target(t, tuple(c for first, _, c in pairs if first == t)) for t in order)
    return [(Target("label", tuple(names)),), several]


def _sums(proba: np.ndarray, targets: tuple[Target, ...]) -> np.ndarray:
    return np.stack([proba[:, head].sum(axis=1) for head in head_slices(targets)])


def blend(voters: Sequence[Voter], rule: str | None, weights: Sequence[float] | None) -> Predictions:
    """The vote of V files, each with one vote or `weights` (V,). rule: soft, hard or rank; None = soft, or hard where a
    file has labels alone.

    Equally many hard votes go to the larger mean probability, and of files with labels alone to the one named first.
    The order of the images and the classes are those of the first file with probabilities, or of the first file. Raises
    DataError for files whose ids or classes do not agree, and for a rule that needs probabilities and has labels alone.
    """
    bare = next((voter for voter in voters if isinstance(voter, Labels)), None)
    rule = rule or ("soft" if bare is None else "hard")
    if bare is not None and rule != "hard":
        raise DataError(
            f"{bare.path} has labels and no probabilities, which a {rule} vote needs; use --vote hard"
        )
    frame = next((voter for voter in voters if isinstance(voter, Probabilities)), None)
    frame = frame or _of_labels([voter for voter in voters if isinstance(voter, Labels)])
    heads = head_slices(frame.targets)
    parts = [
        _as_proba(voter, frame, 1 - LESS_SURE * (place + 1) / len(voters))
        if isinstance(voter, Labels)
        else _reordered(voter, frame)
        for place, voter in enumerate(voters)
    ]
    proba = np.stack(parts)
    shares = np.ones(len(voters)) if weights is None else np.asarray(weights, np.float64)
    each = tuple((shares / shares.sum()).tolist())
    form = frame.form
    if bare is not None and len(bare.columns) == len(form.label_columns) == 1:
        # a submission knows what the competition calls its columns
        form = replace(form, id_column=bare.id_column, label_columns=tuple(bare.columns))
    names = tuple(voter.path.stem for voter in voters)
    vote = cast(proba, heads, Ballot(rule, (each,) * len(heads)))
    return Predictions(frame.ids, frame.targets, form, names, proba, vote)


def _of_labels(voters: Sequence[Labels]) -> Probabilities:
    """What files with labels alone agree on: the first one's rows and columns, and the classes that occur in any."""
    first = voters[0]
    for voter in voters[1:]:
        _same(first.path, list(first.columns), voter.path, list(voter.columns), "columns")
    targets = []
    for name in first.columns:
        written = np.concatenate([voter.columns[name] for voter in voters])
        paths = " and ".join(str(voter.path) for voter in voters)
        targets.append(Target(name, read_labels(_plain(written), paths)[0]))
    form = replace(
        RowForm.wide(tuple(targets)), id_column=first.id_column, label_columns=tuple(first.columns)
    )
    none = np.zeros((0, 0))
    return Probabilities(first.path, first.ids, tuple(targets), form, none)


def _plain(labels: np.ndarray) -> np.ndarray:
    """Whole numbers that some program has written as 3.0 are 3."""
    return np.array([re.sub(r"^([0-9]+)\.0+$", r"\1", label) for label in labels.tolist()], dtype=str)


def _as_proba(voter: Labels, frame: Probabilities, sure: float) -> np.ndarray:
    """Labels as probabilities float64 (N, K): `sure` for the label, the rest for the other classes alike."""
    asked = frame.form.of(frame.ids)
    place = _places(voter.path, voter.ids, frame.path, asked.ids)
    columns = list(voter.columns)
    if len(columns) > 1 or len(asked.form.label_columns) > 1:
        _same(frame.path, list(asked.form.label_columns), voter.path, columns, "columns")
        columns = list(asked.form.label_columns)
    heads = head_slices(frame.targets)
    labels = np.full((len(frame.ids), len(heads)), -1)
    for column, name in enumerate(columns):
        written = _plain(voter.columns[name])[place]
        for head in np.unique(asked.heads[:, column]):
            rows = np.flatnonzero(asked.heads[:, column] == head)
            known = {
                str(c): i for i, c in enumerate(written_classes(frame.targets[head], asked.form.numbers))
            }
            found = np.array([known.get(label, -1) for label in written[rows].tolist()])
            if (found < 0).any():
                row = rows[int(np.argmax(found < 0))]
                raise DataError(
                    f"{voter.path}, row {place[row] + 1}: the label {str(written[row])!r} is no class of {frame.path}. "
                    f"Its classes: {', '.join(list(known)[:20])}"
                )
            labels[asked.rows[rows], head] = found
    proba = np.zeros((len(frame.ids), heads[-1].stop))
    for target, head in enumerate(heads):
        classes = head.stop - head.start
        proba[:, head] = (1 - sure) / max(classes - 1, 1)
        proba[np.arange(len(labels)), head.start + labels[:, target]] = sure
    return proba


def _reordered(voter: Probabilities, frame: Probabilities) -> np.ndarray:
    """The vote of a file float64 (N, K) in the frame's order of images, targets and classes."""
    place = _places(voter.path, voter.ids, frame.path, frame.ids)
    single = len(voter.targets) == len(frame.targets) == 1
    names = [class_columns(v.targets) for v in (voter, frame)]
    if not single:
        targets = [[target.name for target in v.targets] for v in (voter, frame)]
        _same(frame.path, targets[1], voter.path, targets[0], "targets")
    _same(frame.path, names[1], voter.path, names[0], "classes")
    columns = [names[0].index(name) for name in names[1]]
    return np.asarray(voter.proba[place][:, columns])


def _places(path: Path, ids: np.ndarray, frame: Path, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted id stands among `ids`: int64. Raises DataError where the two are not the same ids."""
    where = {str(name): row for row, name in enumerate(ids.tolist())}
    asked = [str(name) for name in wanted.tolist()]
    _same(frame, asked, path, list(where), "ids")
    return np.array([where[name] for name in asked], np.int64)


def _same(first: Path, these: Sequence[str], second: Path, those: Sequence[str], what: str) -> None:
    """Raise DataError where two files have other columns, ids or classes; the order does not matter."""
    odd = set(these) ^ set(those)
    if odd:
        name = min(odd, key=lambda text: (len(text), text))
        only = first if name in set(these) else second
        raise DataError(
            f"the {what} of {first} ({len(these):,}) and of {second} ({len(those):,}) differ: {name!r} is only in "
            f"{only}. Are both files of the same images and of one competition?"
        )
