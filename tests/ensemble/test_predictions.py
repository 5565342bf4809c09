"""Files of predictions: what is written is read again, as .npz all of it and as CSV the vote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tune_digits.data.dataset import RowForm, Target
from tune_digits.ensemble.predictions import Predictions, read_predictions, write_predictions
from tune_digits.errors import DataError

ROOT, VOWEL = Target("root", ("ka", "ga", "ma")), Target("vowel", ("0", "1"))
LONG = RowForm("row_id", ("target",), ("_vowel", "_root"), ((1,), (0,)), numbers=True)


def said(form: RowForm = LONG) -> Predictions:
    rng = np.random.default_rng(0)
    members = np.concatenate([rng.dirichlet(np.ones(k), (2, 4)) for k in (3, 2)], axis=2).astype(np.float32)
    ids = np.array(["a", "b", "007", "d"])
    return Predictions(ids, (ROOT, VOWEL), form, ("one", "other"), members, members.mean(0, dtype=np.float64))


@pytest.mark.parametrize("form", [LONG, RowForm(stems=True)])
@pytest.mark.parametrize("ids", [np.array(["a", "b", "007", "d"]), np.arange(4)])
def test_everything_is_read_again(tmp_path: Path, form: RowForm, ids: np.ndarray) -> None:
    expected = replace(said(form), ids=ids)
    write_predictions(tmp_path / "deep/proba.npz", expected)
    found = read_predictions(tmp_path / "deep/proba.npz")
    assert (found.targets, found.form, found.names) == (expected.targets, expected.form, expected.names)
    assert found.ids.tolist() == expected.ids.tolist() and found.ids.dtype.kind == expected.ids.dtype.kind
    np.testing.assert_array_equal(found.members, expected.members)
    np.testing.assert_array_equal(found.vote, expected.vote)
    assert found.heads == (slice(0, 3), slice(3, 5))


def test_a_table_has_a_column_for_each_class(tmp_path: Path) -> None:
    write_predictions(tmp_path / "several.csv", said())
    table = pd.read_csv(tmp_path / "several.csv", dtype={0: str})
    assert list(table) == ["row_id", "root:ka", "root:ga", "root:ma", "vowel:0", "vowel:1"]
    assert table["row_id"].tolist() == ["a", "b", "007", "d"]
    assert table.iloc[:, 1:].to_numpy() == pytest.approx(said().vote)
    one = replace(said(), targets=(ROOT,), members=said().members[:, :, :3], vote=said().vote[:, :3])
    write_predictions(tmp_path / "one.csv", one)
    assert list(pd.read_csv(tmp_path / "one.csv")) == ["row_id", "ka", "ga", "ma"]


def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", proba=np.zeros(3))
    write_predictions(tmp_path / "cut.npz", said())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:300])
    for name in ("text.npz", "other.npz", "cut.npz", "missing.npz"):
        with pytest.raises(DataError, match=name):
            read_predictions(tmp_path / name)
