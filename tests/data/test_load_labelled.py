"""Labelled files of any format, read as the training data were: what `predict --score` and holdouts are scored by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import table, write, write_idx
from PIL import Image

from tune_digits.config import Cv
from tune_digits.data.dataset import Target
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_labelled, load_task
from tune_digits.data.readers.kaggle_csv import Options
from tune_digits.errors import DataError

# as a training numbered them, which is not the order in which a file has them
TARGETS = (Target("label", ("1", "0")),)


def test_labels_are_numbered_as_the_model_numbers_its_classes(tmp_path: Path) -> None:
    file = write(tmp_path / "more.csv", table(20, 3))
    labelled = load_labelled(file, (1, 3, 3), TARGETS)
    whole = load_task(Options(path=str(file)), Cv())
    assert labelled.targets == TARGETS
    assert labelled.labels.tolist() == [[1 - i % 2] for i in range(20)]
    np.testing.assert_array_equal(labelled.images, whole.train.images)


def test_the_files_may_be_of_another_format_than_the_training(tmp_path: Path) -> None:
    write_idx(tmp_path / "idx")
    three = (Target("label", ("0", "1", "2")),)
    labelled = load_labelled(tmp_path / "idx", (1, 3, 3), three)
    assert labelled.labels[:, 0].tolist() == [i % 3 for i in range(30)]
    assert labelled.images.shape == (30, 1, 3, 3) and labelled.images.dtype == np.uint8


def test_images_are_resized_and_grey_as_those_of_the_training(tmp_path: Path) -> None:
    for i in range(4):
        folder = tmp_path / "photos" / str(i % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9 + i, 7), (60 * i, 0, 0)).save(folder / f"{i}.png")
    labelled = load_labelled(tmp_path / "photos", (1, 5, 5), TARGETS, None, Auto(size=5))
    assert labelled.images.shape == (4, 1, 5, 5)
    assert sorted(labelled.labels[:, 0].tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table(20, 4), "has images of 4x4x1 pixels, but the model was trained on 3x3x1"),
        (table(20, 3, classes=3), "2"),
        (table(20, 3, first="id"), "label"),
    ],
)
def test_what_the_model_cannot_be_scored_on_is_refused(tmp_path: Path, content: list, words: str) -> None:
    file = write(tmp_path / "more.csv", content)
    with pytest.raises(DataError, match=words) as error:
        load_labelled(file, (1, 3, 3), TARGETS)
    assert "more.csv" in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        load_labelled(tmp_path / "nowhere.csv", (1, 3, 3), TARGETS)
