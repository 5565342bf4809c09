import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tune_digits.config import Cv, Data, RowGroups
from tune_digits.data.folds.split import make_folds
from tune_digits.data.folds.subset import subset_rows
from tune_digits.data.load import LOADERS, READERS, detect, load_task, load_unlabelled
from tune_digits.errors import DataError


def test_loaders_are_the_formats_of_the_configuration():
    assert set(LOADERS) == set(get_args(Data.model_fields["format"].annotation)) - {"auto"}


@pytest.mark.parametrize("name", LOADERS)
def test_every_loader_keeps_the_contract(name, sample_of):
    data = sample_of(name)
    task = load_task(data.model_copy(update={"format": name}), Cv())
    assert detect(data.path) == name
    for part in (task.train, task.test, *task.holdouts.values()):
        assert part.images.dtype == np.uint8 and part.images.ndim == 4 and part.images.flags.c_contiguous
        assert len(part.ids) == len(part) == len(np.unique(part.ids))
        assert part.targets == task.targets
        if part.labels is not None:
            assert part.labels.dtype == np.int64 and part.labels.shape == (len(part), len(task.targets))
            assert part.labels.min() >= 0 and part.labels.max() < len(task.targets[0].classes)
    assert task.train.labels is not None
    form = task.submission
    assert sorted(form.rows.tolist()) == sorted(list(range(len(task.test))) * len(form.form.suffixes))
    assert len(form.ids) == len(np.unique(form.ids)) == len(form.rows) == len(form.heads)
    assert len(make_folds(task.train.labels, None, Cv(folds=3), task.targets)) == 3


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_unlabelled_images(name, sample_of):
    data = sample_of(name)
    path = f"{data.root}/KMNIST" if name == "torchvision" else data.path
    test = load_task(data, Cv()).test
    images, ids = load_unlabelled(path, test.images.shape[1:], test.targets)
    np.testing.assert_array_equal(images, test.images)
    assert len(np.unique(ids)) == len(images)


def test_detection(kannada, recognizer):
    assert load_task(Data(), Cv()).name == "digits"
    assert load_task(Data(path=str(kannada)), Cv()).name == "kannada"
    alone = load_task(Data(path=str(recognizer / "train.csv")), Cv(groups=RowGroups(rows_per_group=5)))
    assert alone.train.groups[5] == 1


def test_named_format_overrides_the_guess(kannada, make_idx):
    make_idx(kannada)
    assert load_task(Data(path=str(kannada)), Cv()).train.images.shape == (30, 1, 3, 3)
    assert detect(kannada) == "idx"
    assert load_task(Data(path=str(kannada), format="kaggle_csv"), Cv()).holdouts.keys() == {"Dig-MNIST"}


def test_progress_is_told(kannada):
    told = []
    load_task(Data(path=str(kannada)), Cv(), each=lambda name, part: told.append((name, part)))
    assert {name for name, _ in told} == {"train.csv.gz", "test.csv.gz", "Dig-MNIST.csv.gz"}
    assert all(0 <= part <= 1 for _, part in told) and ("train.csv.gz", 1.0) in told
    count = len(told)
    load_task(Data(path=str(kannada)), Cv())
    assert len(told) == count


@pytest.mark.parametrize("name", ["kaggle_csv", "idx", "arrays", "digits"])
def test_pixels_are_not_resized(name, sample_of, refuses):
    data = sample_of(name)
    for how in ({"size": (8, 8)}, {"channels": 3}, {"crop": True}):
        refuses(
            lambda how=how: load_task(data.model_copy(update=how), Cv()), "data.size", name, "as they are"
        )


def test_cache_folder_is_used(kannada, tmp_path):
    first, again = (load_task(Data(path=str(kannada)), Cv(), tmp_path / "cache") for _ in range(2))
    assert len(list((tmp_path / "cache").iterdir())) == 6  # train, test, Dig-MNIST, two files each
    np.testing.assert_array_equal(first.train.images, again.train.images)


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"Cannot tell how to read the folder .* has: notes.txt.*train.csv"):
        load_task(Data(path=str(tmp_path)), Cv())
    with pytest.raises(DataError, match=r"Cannot tell how to read the file .*notes.txt"):
        load_task(Data(path=str(tmp_path / "notes.txt")), Cv())
    with pytest.raises(DataError, match=r"no file or folder .*nowhere"):
        load_task(Data(path=str(tmp_path / "nowhere")), Cv())
    with pytest.raises(DataError, match=r"takes no data.path"):
        load_task(Data(path=str(tmp_path), format="digits"), Cv())
    with pytest.raises(DataError, match=r"needs data.path"):
        load_task(Data(format="kaggle_csv"), Cv())


def test_errors_of_the_file_system(tmp_path, kannada, monkeypatch, refuses):
    refuses(lambda: load_task(Data(path=str(tmp_path / ("x" * 300))), Cv()), "cannot be read", "too long")

    def forbidden(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("tune_digits.data.readers.idx.find_sets", forbidden)
    for read in (
        lambda: load_task(Data(path=str(kannada)), Cv()),
        lambda: load_unlabelled(kannada, (1, 3, 3)),
    ):
        refuses(read, "kannada", "cannot be read", "Permission denied")


def test_import_is_cheap():
    code = (
        "import sys, tune_digits.data.load, tune_digits.data.folds.split;"
        "print([m for m in ('torch', 'ray', 'sklearn', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert run.stdout == "[]\n"


# ── real data ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def real() -> Path:
    if "TUNE_DIGITS_DATA" not in os.environ:
        pytest.skip(
            "TUNE_DIGITS_DATA is not set: name a folder that holds kannada/ and mnist/ in Kaggle's form"
        )
    return Path(os.environ["TUNE_DIGITS_DATA"])


def test_real_kannada(real):
    cv = Cv(groups=RowGroups(rows_per_group=1280))  # one writer
    task = load_task(Data(path=str(real / "kannada")), cv)
    assert task.describe() == (
        "kannada: 60,000 train, 10,000 test, 28x28x1, 10 classes, extra labelled set Dig-MNIST 10,240"
    )
    assert np.bincount(task.train.labels[:, 0]).tolist() == [6000] * 10
    for fold in make_folds(task.train.labels, task.train.groups, cv, task.targets):
        assert not set(task.train.groups[fold.train_idx]) & set(task.train.groups[fold.valid_idx])
    rows = subset_rows(task.train.labels, task.train.groups, 4000, 0)
    assert np.bincount(task.train.labels[rows, 0]).tolist() == [400] * 10
    assert np.ptp(np.bincount(task.train.groups[rows])) <= 10  # 47 writers, 8.5 rows of each class


def test_real_mnist(real):
    task = load_task(Data(path=str(real / "mnist")), Cv())
    assert task.describe() == "mnist: 60,000 train, 10,000 test, 28x28x1, 10 classes"
    assert (task.submission.form.id_column, task.submission.ids[0]) == ("ImageId", 1)
