"""Fingerprints move with everything that results depend on, and with nothing else; differences are told in words."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tune_digits.config import Cv
from tune_digits.data.dataset import Dataset, Labelled, Target, Task
from tune_digits.data.fingerprint import describe_difference, hash_array, hash_of, row_hashes
from tune_digits.data.folds.split import Fold, fingerprint_of_folds, make_folds
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task

RNG = np.random.default_rng(0)
ROWS = 12
TARGETS = (Target("root", ("a", "b", "c")), Target("vowel", ("d", "e")))


def make(seed: int = 0) -> Labelled:
    images = np.random.default_rng(seed).integers(0, 256, (ROWS, 1, 3, 4), dtype=np.uint8)
    labels = np.stack([np.arange(ROWS) % 3, np.arange(ROWS) % 2], axis=1)
    ids = np.array([f"i{i}" for i in range(ROWS)])
    return Labelled(images, labels, ids, TARGETS, groups=np.arange(ROWS) // 4)


def make_task() -> Task:
    test = Dataset(make(1).images, None, np.arange(ROWS), TARGETS)
    return Task("t", make(), test, {"far": make(2), "near": make(3)}, joined={"more": 3})


def changed(values: np.ndarray, place: tuple[int, ...], value: object) -> np.ndarray:
    values = values.copy()
    values[place] = value
    return values


DATA = make()
# what is changed -> the data set in which that alone differs
CHANGES = {
    "images": replace(DATA, images=changed(DATA.images, (11, 0, 2, 3), DATA.images[11, 0, 2, 3] ^ 1)),
    "labels": replace(DATA, labels=changed(DATA.labels, (11, 1), 0)),
    "ids": replace(DATA, ids=changed(DATA.ids, (11,), "x")),
    "groups": replace(DATA, groups=changed(DATA.groups, (11,), 7)),
    "targets": replace(DATA, targets=(TARGETS[0], Target("tone", ("d", "e")))),
}


# ── single hashes ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["u1", "i4", "i8", "f4", "f8", "?", "U3"])
def test_a_hash_is_of_values_kind_and_shape_and_not_of_the_memory(kind):
    values = RNG.integers(0, 2, (6, 4)).astype(kind)
    known = hash_array(values)
    assert len(known) == 32 and set(known) <= set("0123456789abcdef")
    assert hash_array(values.copy()) == hash_array(np.asfortranarray(values)) == known
    assert hash_array(np.repeat(values, 2, axis=0)[::2]) == known
    assert hash_array(values.astype(values.dtype.newbyteorder(">"))) == known
    flipped = values.copy()
    flipped[5, 3] = values[5, 3] == values.dtype.type(0)
    others = [
        flipped,
        values[::-1],
        values.T,
        values.reshape(4, 6),
        values.reshape(-1),
        values[:5],
        values[:, :3],
    ]
    others += [values.astype(k) for k in ("u1", "i4", "i8", "f4", "f8", "?") if k != kind and kind != "U3"]
    assert len({known, *map(hash_array, others)}) == len(others) + 1 - (values[::-1] == values).all()


def test_text_is_hashed_as_text():
    short = np.array(["a", "bc", "೧"])
    assert hash_array(short) == hash_array(short.astype("U40")) == hash_array(short.astype(">U5"))
    assert hash_array(np.array(["a", "bc"])) != hash_array(np.array(["ab", "c"]))
    assert hash_array(np.array(['a", "b'])) != hash_array(np.array(["a", "b"]))
    assert hash_array(np.array(["1", "2"])) != hash_array(np.array([1, 2]))
    assert hash_array(np.array([], dtype=str)) != hash_array(None) != hash_array(np.array([]))
    with pytest.raises(TypeError, match="object"):
        hash_array(np.array(["a", None]))


def test_hashes_are_the_same_in_every_process_and_on_every_platform():
    # written down once, by Python's hashlib over packed numbers: another hash breaks what runs have recorded
    assert hash_array(np.arange(6, dtype=np.int64).reshape(2, 3)) == "fe3709508a689fa606aebd0d68bda766"
    assert hash_array(np.array(["a", "ü"])) == "707660744371a804ec97bd4d0d8622cf"
    assert hash_of({"b": 1, "a": [None, "x"]}) == hash_of({"a": [None, "x"], "b": 1})
    code = "import numpy as np; from tune_digits.data.fingerprint import hash_array, hash_of, row_hashes;"
    code += "x = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4);"
    code += "print(hash_array(x), hash_of({'a': {'b', 'c'} and 1}), *row_hashes(x))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != ""


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
def test_hashes_of_rows_are_equal_just_where_images_are(seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 2, (300, 1, 2, 4), dtype=np.uint8)  # 256 images at most: many are alike
    hashes = row_hashes(images)
    assert hashes.shape == (300,) and hashes.dtype == np.uint64
    flat = images.reshape(300, -1)
    alike = (flat[:, None] == flat[None]).all(axis=2)
    np.testing.assert_array_equal(hashes[:, None] == hashes[None], alike)
    np.testing.assert_array_equal(row_hashes(np.asfortranarray(images)), hashes)
    np.testing.assert_array_equal(row_hashes(images[::-1]), hashes[::-1])


# ── data sets ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", CHANGES)
def test_each_ingredient_moves_its_own_digest_and_the_fingerprint(part):
    other = CHANGES[part]
    assert {k for k in DATA.digests if DATA.digests[k] != other.digests[k]} == {part}
    assert other.fingerprint != DATA.fingerprint == make().fingerprint


def test_names_classes_and_their_order_are_part_of_the_targets():
    prints = {
        replace(DATA, targets=targets).fingerprint
        for targets in (
            TARGETS,
            TARGETS[::-1],
            (Target("root", ("b", "a", "c")), TARGETS[1]),
            (Target("root", ("a", "b")), Target("vowel", ("c", "d", "e"))),
            (Target("root", ("a", "b", "c", "f")), TARGETS[1]),
            (Target("root", ("a,b", "c")), TARGETS[1]),
        )
    }
    assert len(prints) == 6


def test_the_order_and_the_number_of_rows_count():
    order = np.r_[1, 0, 2:ROWS]
    assert DATA.take(order).fingerprint != DATA.fingerprint
    assert DATA.take(order).take(order).fingerprint == DATA.fingerprint
    assert DATA.take(np.arange(ROWS - 1)).fingerprint != DATA.fingerprint
    assert DATA.take(np.arange(ROWS - 1)).digests["rows"] == ROWS - 1


def test_missing_labels_and_groups_are_not_zeros():
    zeros = replace(DATA, groups=np.zeros(ROWS, np.int64))
    assert replace(DATA, groups=None).digests["groups"] != zeros.digests["groups"]
    bare = Dataset(DATA.images, None, DATA.ids, TARGETS)
    assert bare.digests["labels"] != DATA.digests["labels"]


def test_all_sets_of_a_task_count():
    task = make_task()
    assert task.digests == make_task().digests and task.fingerprint == make_task().fingerprint
    others = [
        *(replace(task, train=other) for other in CHANGES.values()),
        *(replace(task, test=other) for other in CHANGES.values()),
        *(replace(task, holdouts=task.holdouts | {"far": other}) for other in CHANGES.values()),
        replace(task, test=None),
        replace(task, holdouts={"far": make(2)}),
        replace(task, holdouts={"far": make(3), "near": make(2)}),
        replace(task, holdouts={"near": make(3), "else": make(2)}),
        replace(task, joined={}),
        replace(task, joined={"more": 4}),
    ]
    assert len({task.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1
    assert replace(task, name="elsewhere").fingerprint == task.fingerprint


def test_data_read_again_or_out_of_the_cache_have_the_same_fingerprint(kannada, tmp_path):
    folders = (None, None, tmp_path / "cache", tmp_path / "cache")
    tasks = [load_task(Auto(path=str(kannada), extra=()), Cv(), folder) for folder in folders]
    assert len({task.fingerprint for task in tasks}) == 1
    joined = load_task(Auto(path=str(kannada), extra={"path": "Dig-MNIST", "role": "train"}), Cv())
    assert joined.fingerprint != tasks[0].fingerprint


def test_a_summary_is_json(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(make_task().digests))
    then = json.loads((tmp_path / "a.json").read_text())
    assert describe_difference(then, make_task().digests) is None


# ── folds ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_rows_and_the_order_of_folds_count():
    labels = (np.arange(60) % 3)[:, None]
    folds = make_folds(labels, None, Cv(folds=3))
    known = fingerprint_of_folds(folds)
    assert known == fingerprint_of_folds(make_folds(labels, None, Cv(folds=3)))
    other = [
        make_folds(labels, None, Cv(folds=3, seed=1)),
        make_folds(labels, None, Cv(folds=4)),
        folds[::-1],
        folds[:2],
        [Fold(7, folds[0].train_idx, folds[0].valid_idx), *folds[1:]],
        [Fold(0, folds[0].train_idx[1:], folds[0].valid_idx), *folds[1:]],
        [Fold(0, folds[0].train_idx, folds[0].valid_idx[1:]), *folds[1:]],
        [Fold(0, folds[0].valid_idx, folds[0].train_idx), *folds[1:]],
    ]
    assert len({known, *map(fingerprint_of_folds, other)}) == len(other) + 1


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"train": CHANGES["labels"]}, "the labels differ, the images, ids, groups and targets are the same"),
        (
            {"train": replace(CHANGES["labels"], groups=None)},
            "the labels and groups differ, the images, ids and targets are the same",
        ),
        ({"train": make().take(np.arange(9))}, "12 rows then, 9 now"),
        (
            {"train": replace(CHANGES["targets"].take(np.arange(9)))},
            "12 rows then, 9 now; the targets differ",
        ),
        ({"test": None}, "the test set is gone"),
        ({"test": make(5)}, "the test set differs"),
        (
            {"holdouts": {"far": make(9), "new": make()}},
            "the holdout far differs; the holdout near is gone; the holdout new is new",
        ),
        ({"joined": {}}, "joined to the training rows: more 3 then, none now"),
    ],
)
def test_what_differs_is_said(change, words):
    task = make_task()
    assert describe_difference(task.digests, replace(task, **change).digests) == words


def test_what_was_not_recorded_is_not_compared():
    now = make_task().digests
    assert describe_difference({}, now) is None and describe_difference({"rows": ROWS}, now) is None
    assert describe_difference({"labels": "x"}, now) == "the labels differ"
    assert describe_difference(replace(make_task(), test=None).digests, now) == "the test set is new"
