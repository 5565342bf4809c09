import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tune_digits.config import CombinationGroups, Cv, RowGroups
from tune_digits.data.folds.split import make_folds
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.data.options import Extra


def load(path, *extras, cv=None):
    return load_task(Auto(path=str(path), extra=extras), cv or Cv())


def joined(path):
    return {"path": path, "role": "train"}


def test_forms_in_the_study_file():
    entry = Extra(path="a.csv")
    assert (
        Auto(extra="a.csv").extra
        == Auto(extra=["a.csv"]).extra
        == Auto(extra={"path": "a.csv"}).extra
        == (entry,)
    )
    assert Auto(extra=()).extra == () and Auto().extra is None
    assert Auto(extra=[entry, joined("b")]).extra[1].role == "train"


def test_as_holdout_or_joined(kannada):
    plain = load(kannada)
    assert plain.holdouts == {} and len(plain.train) == 30
    scored = load(kannada, "Dig-MNIST.csv.gz")
    assert scored.describe() == "kannada: 30 train, 6 test, 3x3x1, 3 classes, extra labelled set Dig-MNIST 9"
    both = load(kannada, joined("Dig-MNIST"))
    assert both.describe() == "kannada: 39 train (9 of them Dig-MNIST), 6 test, 3x3x1, 3 classes"
    assert both.holdouts == {} and both.joined == {"Dig-MNIST": 9}
    extra = scored.holdouts["Dig-MNIST"]
    np.testing.assert_array_equal(both.train.images[30:], extra.images)
    np.testing.assert_array_equal(both.train.labels[30:], extra.labels)
    np.testing.assert_array_equal(both.train.images[:30], plain.train.images)
    assert len(np.unique(both.train.ids)) == 39 and both.train.ids[30] == "Dig-MNIST/0"


def test_of_another_format(kannada, make_idx, tmp_path):
    make_idx(tmp_path / "more")
    task = load(kannada, "../more", joined(str(tmp_path / "more" / "train-images-idx3-ubyte")))
    assert len(task.holdouts["more"]) == 30 and len(task.train) == 60


def test_class_names_not_places_are_compared(kannada, write_csv, make_table):
    rows = make_table(9, 3, classes=2)
    for row in rows[1:]:
        row[0] = row[0] + 1  # its own classes are 1 and 2, at the places 0 and 1
    write_csv(kannada / "other.csv", rows)
    np.testing.assert_array_equal(load(kannada, "other").holdouts["other"].labels[:, 0], np.arange(9) % 2 + 1)


def test_runs_of_rows_begin_anew_with_each_set(kannada):
    groups = load(kannada, joined("Dig-MNIST"), cv=Cv(groups=RowGroups(rows_per_group=7))).train.groups
    np.testing.assert_array_equal(groups, [*np.arange(30) // 7, *(5 + np.arange(9) // 7)])


@pytest.fixture
def writers(kannada, write_csv, make_table):
    """The training file has a column of writers and one of folds; more.csv has the writers, Dig-MNIST neither."""

    def add(rows, **columns):
        return [
            [*row, *((name if i == 0 else f(i - 1)) for name, f in columns.items())]
            for i, row in enumerate(rows)
        ]

    (kannada / "train.csv.gz").unlink()
    write_csv(
        kannada / "train.csv",
        add(make_table(30, 3, classes=3), writer=lambda i: f"w{i // 10}", fold=lambda i: i % 2),
    )
    write_csv(
        kannada / "more.csv", add(make_table(6, 3, classes=3), writer=lambda i: "w2" if i < 3 else "w9")
    )
    return kannada


def test_a_column_of_groups(writers):
    """The same writer in two files is one group; a file that does not say is one group."""
    groups = load(writers, joined("Dig-MNIST"), joined("more"), cv=Cv(groups="writer", folds=3)).train.groups
    parts = [groups[:10], groups[10:20], groups[[*range(20, 30), 39, 40, 41]], groups[30:39], groups[42:]]
    assert all(len(set(part.tolist())) == 1 for part in parts)
    assert len({part[0] for part in parts}) == 5


def test_a_column_of_folds(writers):
    cv = Cv(fold_column="fold")
    train = load(writers, joined("Dig-MNIST"), cv=cv).train
    folds = make_folds(train.labels, train.groups, cv, train.targets, train.columns)
    assert [fold.valid_idx.tolist() for fold in folds] == [list(range(0, 30, 2)), list(range(1, 30, 2))]
    assert all(set(range(30, 39)) <= set(fold.train_idx.tolist()) for fold in folds)


def test_combinations_go_over_all_sets(kannada):
    groups = load(
        kannada, joined("Dig-MNIST"), cv=Cv(groups=CombinationGroups(combination=True))
    ).train.groups
    np.testing.assert_array_equal(groups, [*np.arange(30) % 3, *np.arange(9) % 3])


def test_other_columns_are_empty(writers):
    columns = load(writers, joined("Dig-MNIST")).train.columns
    assert columns["writer"][30:].tolist() == [""] * 9 and columns["label"][30:33].tolist() == ["0", "1", "2"]


def test_an_extra_folder_is_its_training_rows_and_nothing_beside_them(
    kannada, tmp_path, write_csv, make_table
):
    write_csv(tmp_path / "more" / "train.csv", make_table(6, 3))
    write_csv(tmp_path / "more" / "worse.csv", make_table(6, 3, classes=7))  # would be refused as a holdout
    assert len(load(kannada, "../more").holdouts["more"]) == 6


def test_extra_images_of_a_data_set_with_four_channels(tmp_path, refuses):
    x = np.zeros((6, 4, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(6) % 2)
    for i in range(2):
        (tmp_path / "more" / f"{i}").mkdir(parents=True)
        Image.fromarray(x[0, 0]).save(tmp_path / "more" / f"{i}" / "a.png")
    refuses(
        lambda: load(tmp_path / "a.npz", "more"),
        "images of 4x4x1 pixels, but those of the training set have 4x4x4",
    )


def test_crop_and_size_are_those_of_the_training_images(tmp_path, sample_of):
    options = sample_of("bengali")
    folder = Path(options.path)
    for kind in ("train.csv", "train_image_data_0.parquet"):
        (tmp_path / "more").mkdir(exist_ok=True)
        shutil.copy(folder / kind, tmp_path / "more" / kind)
    how = {"size": 8, "crop": True, "channels": 3, "extra": str(tmp_path / "more")}
    task = load_task(type(options)(path=options.path, **how), Cv())
    np.testing.assert_array_equal(task.holdouts["more"].images, task.train.images)


def test_refusals(kannada, write_csv, make_table, refuses):
    refuses(lambda: load(kannada, "Other"), "data.extra", "'Other'", "Dig-MNIST.csv.gz")
    refuses(lambda: load(kannada, "Dig-MNIST", joined("Dig-MNIST.csv.gz")), "'Dig-MNIST' twice")
    write_csv(kannada / "small.csv", make_table(9, 2))
    refuses(lambda: load(kannada, "small"), "small.csv", "2x2x1", "3x3x1")
    write_csv(kannada / "more.csv", make_table(9, 3, classes=4))
    refuses(lambda: load(kannada, joined("more")), "more.csv", "row 4", "'3'", "does not occur")
    refuses(lambda: load(kannada / "train.csv.gz", "no/such"), "data.extra", "no/such")
