import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tune_digits.data.readers import class_folders

RNG = np.random.default_rng(0)


def save(path: Path, height: int = 4, width: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width), dtype=np.uint8)).save(path)


def sample(folder: Path) -> class_folders.Options:
    """20 training and 4 test images, two classes."""
    for i in range(20):
        save(folder / "train" / f"class{i % 2}" / f"{i}.png")
    for i in range(4):
        save(folder / "test" / f"{i}.png")
    return class_folders.Options(path=str(folder))


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "scans"
    for name in ("10", "9", "2"):
        for i in range(3):
            save(folder / "train" / name / f"{i}.png")
    for i in range(4):
        save(folder / "test" / f"{i}.png")
    return folder


def load(path: Path, **data):
    return class_folders.read(class_folders.Options(path=str(path), **data))


def unlabelled(path: Path, shape: tuple[int, int, int], **data):
    return class_folders.read_unlabelled(path, shape, (), class_folders.Options(path=str(path), **data))


def test_a_folder_per_class(scans):
    task = load(scans)
    assert class_folders.sniff(scans)
    assert task.describe() == "scans: 9 train, 4 test, 4x4x1, 3 classes"
    assert task.targets[0].classes == ("2", "9", "10")  # numbers in numeric order
    classes = np.array(task.targets[0].classes)[task.train.labels[:, 0]]
    assert [name.split("/")[0] for name in task.train.ids] == classes.tolist()
    with Image.open(scans / "train" / task.train.ids[4]) as image:
        np.testing.assert_array_equal(task.train.images[4, 0], np.asarray(image))
    assert task.test.ids.tolist() == [f"{i}.png" for i in range(4)] and task.test.labels is None
    assert task.submission.ids.tolist() == task.test.ids.tolist()


def test_it_is_what_torchvision_reads(scans):
    from torchvision.datasets import ImageFolder

    theirs = ImageFolder(scans / "train")
    task = load(scans)
    classes = task.targets[0].classes
    ours = dict(zip(task.train.ids.tolist(), (classes[i] for i in task.train.labels[:, 0]), strict=True))
    names = {str(Path(p).relative_to(scans / "train")): theirs.classes[label] for p, label in theirs.samples}
    assert ours == names
    pixels = {
        str(Path(p).relative_to(scans / "train")): np.asarray(theirs.loader(p).convert("L"))
        for p, _ in theirs.samples
    }
    for name, image in zip(task.train.ids.tolist(), task.train.images, strict=True):
        np.testing.assert_array_equal(image[0], pixels[name])


def test_other_files_are_passed_over_and_counted(scans, caplog):
    (scans / "train" / "2" / "Thumbs.db").write_bytes(b"x")
    (scans / "train" / "2" / "._0.png").write_bytes(b"x")
    (scans / "train" / ".cache").mkdir()
    save(scans / "train" / "2" / "deeper" / "7.png")
    with caplog.at_level(logging.WARNING, "tune_digits"):
        task = load(scans)
    assert "1 files are no images" in caplog.text and "Thumbs.db" in caplog.text
    assert "2/deeper/7.png" in task.train.ids and len(task.train) == 10


def test_class_folders_directly_and_further_sets(scans, tmp_path):
    alone = load(scans / "train")
    assert alone.name == "train" and len(alone.train) == 9 and alone.test is None
    save(scans / "val" / "9" / "a.png")
    save(scans / "val" / "10" / "b.png")
    task = load(scans)
    assert list(task.holdouts) == ["val"]
    assert dict(zip(task.holdouts["val"].ids, task.holdouts["val"].labels[:, 0], strict=True)) == {
        "9/a.png": 1,  # by the training set's classes, and not by those of the folder
        "10/b.png": 2,
    }
    assert load(scans, extra=()).holdouts == {}


def test_all_sets_follow_the_training_images(scans):
    colour = Image.fromarray(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    for place in ("test/0.png", "val/9/a.png"):
        (scans / place).parent.mkdir(parents=True, exist_ok=True)
        colour.save(scans / place)
    task = load(scans)
    assert task.test.images.shape == (4, 1, 4, 4) and task.holdouts["val"].images.shape == (1, 1, 4, 4)
    sized = load(scans, size=[6, 8], channels=3)
    shapes = [d.images.shape[1:] for d in (sized.train, sized.test, sized.holdouts["val"])]
    assert shapes == [(3, 6, 8)] * 3


def test_a_test_folder_of_class_folders_is_scored(tmp_path, scans):
    for path in (scans / "test").iterdir():
        path.unlink()
    save(scans / "test" / "10" / "a.png")
    save(scans / "test" / "9" / "b.png")
    task = load(scans)
    assert dict(zip(task.test.ids.tolist(), task.test.labels[:, 0].tolist(), strict=True)) == {
        "10/a.png": 2,
        "9/b.png": 1,
    }
    save(scans / "test" / "loose.png")
    assert load(scans).test.labels is None and len(load(scans).test) == 3
    (scans / "test" / "loose.png").unlink()
    save(scans / "test" / "unknown" / "c.png")
    assert load(scans).test.labels is None


def test_the_sample_names_images_with_or_without_their_endings(scans, write_csv, refuses):
    write_csv(scans / "sample_submission.csv", "id,label\n" + "".join(f"{i},2\n" for i in (3, 1, 0, 2)))
    form = load(scans).submission
    assert form.ids.tolist() == [3, 1, 0, 2] == form.rows.tolist() and form.form.stems
    assert form.form.of(np.array(["new/17.png"])).ids.tolist() == ["17"]
    write_csv(scans / "sample_submission.csv", "id,label\n" + "".join(f"{i}.png,2\n" for i in (3, 1, 0, 2)))
    assert load(scans).submission.ids.tolist() == ["3.png", "1.png", "0.png", "2.png"]
    write_csv(scans / "sample_submission.csv", "id,label\n7,2\n")
    refuses(lambda: load(scans), "differ", "7 is only in the first")
    save(scans / "test" / "deeper" / "3.png")
    refuses(lambda: load(scans), "names images by id, but some in", "have the same id")


def test_new_images_from_a_set_a_folder_or_one_file(scans, refuses):
    task = load(scans)
    images, ids = unlabelled(scans, (1, 4, 4))
    np.testing.assert_array_equal(images, task.test.images)
    again, names = unlabelled(scans / "test", (1, 4, 4))
    np.testing.assert_array_equal(again, images)
    assert names.tolist() == ids.tolist()
    one, (name,) = unlabelled(scans / "test" / "2.png", (3, 8, 8), size=8)
    assert one.shape == (1, 3, 8, 8) and name == "2.png"
    refuses(lambda: unlabelled(scans, (1, 8, 8)), "4x4 pixels, but 8x8")
    assert class_folders.sniff(scans / "test") and class_folders.sniff(scans / "test" / "2.png")
    assert not class_folders.sniff(scans / "test" / "2.txt")


def test_bad_folders(scans, tmp_path, refuses):
    refuses(lambda: load(scans / "test"), "images outside of its class folders", "<class>")
    (tmp_path / "bare" / "train").mkdir(parents=True)
    refuses(lambda: load(tmp_path / "bare"), "no class folders", "It has: nothing")
    refuses(lambda: unlabelled(tmp_path / "bare", (1, 4, 4)), "has no images")
    assert not class_folders.sniff(tmp_path / "bare")
    (scans / "train" / "11").mkdir()
    refuses(lambda: load(scans), "class folder", "11 has no images", "It has: nothing")
    (scans / "train" / "11" / "a.png").symlink_to("/etc/hostname")
    refuses(lambda: load(scans), "11/a.png leads out of the folder")
    (scans / "train" / "11" / "a.png").unlink()
    (scans / "train" / "11" / "a.png").touch()
    refuses(lambda: load(scans), "11/a.png is empty")
    save(scans / "train" / "11" / "a.png", 5, 5)
    refuses(lambda: load(scans), "several sizes", "5x5", "data.size")
    (scans / "train" / "11").rename(scans / "train" / "half")
    refuses(lambda: load(scans), "all of them are names")
