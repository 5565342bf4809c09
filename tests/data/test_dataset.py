"""The types that pass between the data room and the rooms above it."""

import numpy as np

from tune_digits.data.dataset import Dataset, Labelled, RowForm, SubmissionFormat, Target, Task, head_slices

ROOT, VOWEL = Target("root", ("a", "b", "c")), Target("vowel", ("d", "e"))


def make() -> Labelled:
    return Labelled(
        images=np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2),
        labels=np.array([[0, 0], [1, 1], [2, 0], [0, 1], [1, 0], [2, 1]]),
        ids=np.array(list("uvwxyz")),
        targets=(ROOT, VOWEL),
        groups=np.arange(6) // 2,
        columns={"writer": np.array(list("aabbcc")), "fold": np.array(list("012012"))},
    )


def test_taking_rows_takes_all_that_belongs_to_them():
    part = make().take(np.array([4, 0, 3]))
    assert type(part) is Labelled and len(part) == 3
    np.testing.assert_array_equal(part.images, make().images[[4, 0, 3]])
    assert part.labels.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert part.ids.tolist() == ["y", "u", "x"] and part.groups.tolist() == [2, 0, 1]
    assert {name: values.tolist() for name, values in part.columns.items()} == {
        "writer": ["c", "a", "b"],
        "fold": ["1", "0", "0"],
    }
    assert part.targets == (ROOT, VOWEL)
    bare = Dataset(make().images, None, make().ids, ()).take(np.array([1]))
    assert bare.labels is None and bare.groups is None and bare.columns == {}


def test_each_head_has_its_own_columns():
    assert head_slices((ROOT, VOWEL)) == (slice(0, 3), slice(3, 5))


LONG = RowForm("row_id", ("target",), ("_root", "_vowel"), ((0,), (1,)))


def test_the_rows_of_a_submission_in_the_order_of_the_images():
    rows = LONG.of(np.array(["p", "q"]))
    assert rows.ids.tolist() == ["p_root", "p_vowel", "q_root", "q_vowel"]
    assert rows.rows.tolist() == [0, 0, 1, 1] and rows.heads.tolist() == [[0], [1], [0], [1]]
    wide = RowForm.wide((ROOT, VOWEL)).of(np.array([7, 8]))
    assert wide.form.label_columns == ("root", "vowel")
    assert wide.ids.tolist() == [7, 8] and wide.heads.tolist() == [[0, 1], [0, 1]]
    assert RowForm.wide((ROOT,)).label_columns == ("label",)
    stems = RowForm(stems=True, suffixes=("_x", "_y"), heads=((0,), (0,))).of(np.array(["test/a.png"]))
    assert stems.ids.tolist() == ["a_x", "a_y"]


def test_taking_rows_of_a_submission_gives_unseen_images_their_order():
    part = LONG.of(np.array(["p", "q"])).take(np.array([3, 2, 1, 0]))
    assert type(part) is SubmissionFormat
    assert part.ids.tolist() == ["q_vowel", "q_root", "p_vowel", "p_root"]
    assert part.rows.tolist() == [1, 1, 0, 0] and part.heads.tolist() == [[1], [0], [1], [0]]
    assert part.form.of(np.array(["new"])).ids.tolist() == ["new_vowel", "new_root"]
    assert part.form.of(np.array(["new"])).heads.tolist() == [[1], [0]]
    assert len(part.take(np.array([], dtype=np.int64)).ids) == 0


def test_a_task_in_one_line():
    test = Dataset(make().images[:2], None, np.arange(2), (ROOT, VOWEL))
    task = Task("signs", make(), test, {"far": make().take(np.array([1]))}, joined={"more": 2})
    words = "signs: 6 train (2 of them more), 2 test, 2x2x1, 3+2 classes, extra labelled set far 1"
    assert task.describe() == words
    assert Task("signs", make()).describe() == "signs: 6 train, 2x2x1, 3+2 classes"
