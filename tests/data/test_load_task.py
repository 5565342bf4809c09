"""From a study's data part to a task; every format's reader under one contract."""

import os
import subprocess
import sys

import numpy as np
import pytest
from data_files import write_idx

from tune_digits.config import Cv, RowGroups
from tune_digits.data.folds.split import make_folds
from tune_digits.data.folds.subset import subset_rows
from tune_digits.data.formats import Auto, detect
from tune_digits.data.load import load_task, load_unlabelled
from tune_digits.data.readers import READERS, bengali, class_folders, idx, kaggle_csv

WITH_FILES = [name for name in READERS if name != "digits"]


# ── the contract of readers ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_a_task(name, sample_of):
    options = sample_of(name)
    assert options.format == name
    task = load_task(options, Cv())
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
def test_auto_finds_the_format_and_reads_the_same(name, sample_of):
    options = sample_of(name)
    assert detect(options.path) == name
    auto = Auto(path=options.path, **options.given())
    assert load_task(auto, Cv()).fingerprint == load_task(options, Cv()).fingerprint


@pytest.mark.parametrize("name", WITH_FILES)
def test_every_reader_reads_unlabelled_images(name, sample_of):
    options = sample_of(name)
    path = f"{options.root}/KMNIST" if name == "torchvision" else options.path
    test = load_task(options, Cv()).test
    images, ids = load_unlabelled(path, test.images.shape[1:], test.targets, data=options)
    np.testing.assert_array_equal(images, test.images)
    assert len(np.unique(ids)) == len(images)


@pytest.mark.parametrize("name", READERS)
def test_a_copy_out_of_the_cache_is_the_same_task(name, sample_of, tmp_path):
    options = sample_of(name)
    plain, kept, again = (
        load_task(options, Cv(), folder) for folder in (None, tmp_path / "c", tmp_path / "c")
    )
    assert plain.digests == kept.digests == again.digests
    # two files for every set that takes a while to read
    sets = {"kaggle_csv": 3, "bengali": 2, "image_folder": 2, "class_folders": 2}
    assert len(list((tmp_path / "c").glob("*"))) == 2 * sets.get(name, 0)


def test_digits_have_nothing_more_to_predict(refuses, tmp_path):
    reader = READERS["digits"]
    refuses(
        lambda: reader.read_unlabelled(tmp_path, (1, 8, 8), (), reader.Options(), None), "no further images"
    )


# ── load_task ────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_loaded_without_a_format(kannada, recognizer):
    assert load_task(Auto(), Cv()).name == "digits"
    assert load_task(Auto(path=str(kannada)), Cv()).name == "kannada"
    alone = load_task(Auto(path=str(recognizer / "train.csv")), Cv(groups=RowGroups(rows_per_group=5)))
    assert alone.train.groups[5] == 1


def test_named_format_overrides_the_guess(kannada):
    write_idx(kannada)
    assert load_task(Auto(path=str(kannada)), Cv()).holdouts == {}
    assert detect(kannada) == "idx"
    assert load_task(kaggle_csv.Options(path=str(kannada)), Cv()).holdouts.keys() == {"Dig-MNIST"}


def test_progress_is_told(kannada):
    told = []
    load_task(Auto(path=str(kannada)), Cv(), each=lambda name, part: told.append((name, part)))
    assert {name for name, _ in told} == {"train.csv.gz", "test.csv.gz", "Dig-MNIST.csv.gz"}
    assert all(0 <= part <= 1 for _, part in told) and ("train.csv.gz", 1.0) in told
    count = len(told)
    load_task(Auto(path=str(kannada)), Cv())
    assert len(told) == count


def test_cache_folder_is_used(kannada, tmp_path):
    first, again = (load_task(Auto(path=str(kannada)), Cv(), tmp_path / "cache") for _ in range(2))
    assert len(list((tmp_path / "cache").iterdir())) == 6  # train, test, Dig-MNIST, two files each
    np.testing.assert_array_equal(first.train.images, again.train.images)


# ── load_unlabelled ──────────────────────────────────────────────────────────────────────────────────


def test_new_images_are_read_in_their_own_format_and_made_alike(tmp_path, sample_of):
    sample_of("class_folders")
    images, _ = load_unlabelled(
        tmp_path / "sample", (3, 8, 6), data=bengali.Options(path="gone", size=8, channels=3)
    )
    assert images.shape == (4, 3, 8, 6)
    # size and channels stand in the shape; pixels that are taken as they are need only have it
    write_idx(tmp_path / "idx", side=(8, 6))
    images, _ = load_unlabelled(
        tmp_path / "idx", (1, 8, 6), data=class_folders.Options(path="gone", size=[8, 6])
    )
    assert images.shape == (6, 1, 8, 6)


def test_new_images_that_cannot_be_made_alike_are_refused(tmp_path, sample_of, refuses):
    sample_of("class_folders")
    for data, option in (
        (bengali.Options(path="gone", size=8, crop=True), "crop"),
        (Auto(size=8, crop=True), "crop"),
        (idx.Options(path="gone", transpose=True), "transpose"),
    ):
        refuses(
            lambda data=data: load_unlabelled(tmp_path / "sample", (1, 8, 8), data=data),
            f"data.{option}: is no option of format class_folders, which {tmp_path / 'sample'} was found to be",
        )


def test_errors_of_the_file_system(tmp_path, kannada, monkeypatch, refuses):
    refuses(lambda: load_task(Auto(path=str(tmp_path / ("x" * 300))), Cv()), "cannot be read", "too long")

    def forbidden(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("tune_digits.data.readers.idx.find_sets", forbidden)
    for read in (
        lambda: load_task(Auto(path=str(kannada)), Cv()),
        lambda: load_unlabelled(kannada, (1, 3, 3)),
    ):
        refuses(read, "kannada", "cannot be read", "Permission denied")


def test_import_is_cheap():
    code = (
        "import sys, tune_digits.study, tune_digits.data.load, tune_digits.data.folds.split;"
        "print([m for m in ('torch', 'ray', 'sklearn', 'scipy', 'pandas', 'pyarrow', 'PIL') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert run.stdout == "[]\n"


# ── real data ────────────────────────────────────────────────────────────────────────────────────────


def test_real_kannada(real):
    cv = Cv(groups=RowGroups(rows_per_group=1280))  # one writer
    task = load_task(Auto(path=str(real / "kannada")), cv)
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
    task = load_task(Auto(path=str(real / "mnist")), Cv())
    assert task.describe() == "mnist: 60,000 train, 10,000 test, 28x28x1, 10 classes"
    assert (task.submission.form.id_column, task.submission.ids[0]) == ("ImageId", 1)
