"""Submissions in every form: a row per image, a column per target, a row per target; and the manifest that keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tune_digits import disk
from tune_digits.data.dataset import RowForm, Target
from tune_digits.data.files.sample_submission import read_submission_format
from tune_digits.data.formats import Auto
from tune_digits.ensemble.members import Manifest, read_manifest, write_manifest
from tune_digits.ensemble.submission import submission_frame, write_submission
from tune_digits.ensemble.vote import Ballot, Stack
from tune_digits.errors import DataError, RunError
from tune_digits.learn.metrics import Metric

ROOT, VOWEL = Target("root", ("ka", "ga", "ma")), Target("vowel", ("0", "1"))
LONG = RowForm("row_id", ("target",), ("_vowel", "_root"), ((1,), (0,)), numbers=True)


def written(tmp_path: Path, form, labels, *targets: Target) -> str:
    frame = submission_frame(form, np.array(labels), targets)
    write_submission(tmp_path / "out.csv", frame)
    return (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("classes", "labels", "lines"),
    [
        (("0", "1", "2"), [2, 0], "ImageId,Label\n1,2\n2,0\n"),
        (("-1", "4"), [1, 0], "ImageId,Label\n1,4\n2,-1\n"),
        (("007", "8"), [0, 1], "ImageId,Label\n1,007\n2,8\n"),
        (("--5", "8"), [0, 1], "ImageId,Label\n1,--5\n2,8\n"),
        (("rust", "late, blight"), [1, 0], 'ImageId,Label\n1,"late, blight"\n2,rust\n'),
        (("NA", ""), [0, 1], "ImageId,Label\n1,NA\n2,\n"),
    ],
)
def test_classes_are_written_as_the_training_file_did(tmp_path, classes, labels, lines) -> None:
    form = RowForm("ImageId", ("Label",)).of(np.array([1, 2]))
    assert written(tmp_path, form, [[i] for i in labels], Target("y", classes)) == lines


def test_a_row_for_every_target(tmp_path) -> None:
    form = LONG.of(np.array(["a", "b"]))
    lines = "row_id,target\na_vowel,1\na_root,2\nb_vowel,0\nb_root,1\n"
    assert written(tmp_path, form, [[2, 1], [1, 0]], ROOT, VOWEL) == lines
    by_name = RowForm("row_id", ("target",), ("_vowel", "_root"), ((1,), (0,))).of(np.array(["a"]))
    assert written(tmp_path, by_name, [[2, 1]], ROOT, VOWEL) == "row_id,target\na_vowel,1\na_root,ma\n"


def test_a_column_for_every_target(tmp_path) -> None:
    form = RowForm.wide((ROOT, VOWEL)).of(np.array(["007", "7"]))
    assert written(tmp_path, form, [[2, 1], [1, 0]], ROOT, VOWEL) == "id,root,vowel\n007,ma,1\n7,ga,0\n"
    frame = submission_frame(form, np.array([[2, 1], [1, 0]]), (ROOT, VOWEL))
    assert frame["vowel"].dtype == np.int64


def sample(tmp_path: Path, text: str) -> Path:
    (tmp_path / "sample_submission.csv").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "form", "ids", "labels", "targets"),
    [
        ("Id,Kind\n3,0\n1,0\n2,0\n", RowForm(), [1, 2, 3], [[0], [1], [2]], (ROOT,)),
        ("id,label\n03,x\n1,y\n", RowForm(), ["1", "03"], [[0], [1]], (ROOT,)),
        (
            "id,vowel,root\nb,0,0\na,0,0\n",
            RowForm.wide((ROOT, VOWEL)),
            ["a", "b"],
            [[2, 1], [0, 0]],
            (ROOT, VOWEL),
        ),
        (
            "row,is\nb_root,0\na_root,0\na_vowel,0\nb_vowel,0\n",
            LONG,
            ["a", "b"],
            [[2, 1], [0, 0]],
            (ROOT, VOWEL),
        ),
    ],
)
def test_columns_order_and_ids_are_exactly_the_samples(tmp_path, text, form, ids, labels, targets) -> None:
    given = pd.read_csv(sample(tmp_path, text) / "sample_submission.csv", dtype={0: str})
    expected = form.of(np.array(ids))
    read = read_submission_format(tmp_path, expected, Path("test.csv"))
    written(tmp_path, read, labels, *targets)
    out = pd.read_csv(tmp_path / "out.csv", dtype={0: str})
    assert list(out.columns) == list(given.columns)
    id_column = given.columns[0]
    assert out[id_column].astype(str).tolist() == given[id_column].astype(str).tolist()
    # the same answers as in the order of the test data
    plain = submission_frame(expected, np.array(labels), targets)
    answers = dict(zip(plain.iloc[:, 0].astype(str), plain.iloc[:, 1:].to_dict("records"), strict=True))
    renamed = dict(zip(given.columns[1:], plain.columns[1:], strict=True)) if len(given.columns) == 2 else {}
    for row in out.rename(columns=renamed).to_dict("records"):
        assert {k: v for k, v in row.items() if k != id_column} == answers[str(row[id_column])]


def test_the_samples_form_writes_unseen_data_in_its_order(tmp_path) -> None:
    sample(tmp_path, "row,is\nb_root,0\na_root,0\na_vowel,0\nb_vowel,0\n")
    form = read_submission_format(tmp_path, LONG.of(np.array(["a", "b"])), Path("test.csv")).form
    new = form.of(np.array(["x"]))
    assert written(tmp_path, new, [[2, 1]], ROOT, VOWEL) == "row,is\nx_root,2\nx_vowel,1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,label\n1,0\n2,0\n4,0\n", ["differ", "4 is only in the first", "(3 rows)"]),
        ("id,label\n1,0\n2,0\n", ["differ", "3 is only in the second", "(2 rows)"]),
        ("id,label\n1,0\n2,0\n2,0\n", ["row 3", "already that of row 2"]),
        ("id,label\n1,0\n,0\n", ["row 2", "id is missing"]),
        ("id\n1\n", ["must have two columns"]),
        ("", ["must have two columns"]),
    ],
)
def test_a_sample_that_does_not_fit(tmp_path, text, words) -> None:
    with pytest.raises(DataError) as error:
        read_submission_format(sample(tmp_path, text), RowForm().of(np.array([1, 2, 3])), Path("test.csv"))
    for word in words:
        assert word in str(error.value)


def test_a_wide_sample_with_another_target(tmp_path) -> None:
    expected = RowForm.wide((ROOT, VOWEL)).of(np.array([1]))
    with pytest.raises(DataError, match=r"root, tone after the id; expected are the targets root, vowel"):
        read_submission_format(sample(tmp_path, "id,root,tone\n1,0,0\n"), expected, Path("test.csv"))


BALLOT = Ballot(
    "stacked",
    ((1.0,), (1.0,)),
    (0,),
    (0,),
    (Stack(((0.5, -1.0, 2.0),) * 3, (0.0, 1.0, 2.0)),) * 2,
    (0.0,) * 5,
)


def manifest(**changes) -> Manifest:
    values = {
        "members": ("members/a.safetensors",),
        "targets": (ROOT, VOWEL),
        "shape": (3, 8, 6),
        "ballot": BALLOT,
        "tta": 2,
        "tta_strength": 0.25,
        "data": Auto(size=[8, 6], crop=True, channels=3),
        "form": LONG,
        "metric": Metric("macro_recall", (2.0, 1.0)),
        "trained_on": "abc",
    }
    return Manifest(**values | changes)


@pytest.mark.parametrize("form", [LONG, RowForm(), RowForm.wide((ROOT, VOWEL)), RowForm("image", stems=True)])
def test_the_manifest_keeps_everything(tmp_path, form) -> None:
    write_manifest(tmp_path, manifest(form=form))
    assert read_manifest(tmp_path) == manifest(form=form)


def test_the_manifest_keeps_no_path_of_the_training_data(tmp_path) -> None:
    write_manifest(tmp_path, manifest(data=Auto(path="/private/scans", size=[8, 6], crop=True, channels=3)))
    assert "private" not in (tmp_path / "manifest.json").read_text()
    assert read_manifest(tmp_path) == manifest()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "is of format 1; this version of tune_digits reads 4 only"),
        ({"format": None}, "is of format None"),
        ({"data": {"size": 1}}, "damaged"),
        ({"submission": {"id_column": "id"}}, "damaged"),
        ({"submission": "id"}, "damaged"),
        ({"shape": None}, "damaged"),
        ({"vote": {"rule": "soft"}}, "damaged"),
    ],
)
def test_other_manifests_are_refused(tmp_path, change, words) -> None:
    write_manifest(tmp_path, manifest())
    raw = disk.read_json(tmp_path / "manifest.json")
    disk.write_json(tmp_path / "manifest.json", raw | change)
    with pytest.raises(RunError, match=words):
        read_manifest(tmp_path)
