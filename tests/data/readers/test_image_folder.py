from pathlib import Path

import numpy as np
import pytest
from data_files import write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tune_digits.config import Cv
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.data.readers import image_folder
from tune_digits.errors import DataError

KINDS = ("rust", "late, blight", "healthy")
RNG = np.random.default_rng(0)


def save(path: Path, height: int = 5, width: int = 5, colour: bool = True) -> np.ndarray:
    pixels = RNG.integers(0, 256, (height, width, 3) if colour else (height, width), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def sample(folder: Path) -> image_folder.Options:
    """20 training and 4 test images of 5x5, two classes."""
    for i in range(24):
        save(folder / f"images/{i}.png", colour=False)
    rows = [[f"images/{i}.png", f"class{i % 2}"] for i in range(20)]
    write(folder / "train.csv", [["image", "label"], *rows])
    write(folder / "test.csv", [["image"], *([f"images/{i}.png"] for i in range(20, 24))])
    return image_folder.Options(path=str(folder))


@pytest.fixture
def leaves(tmp_path, write_csv) -> Path:
    """Nine training images of three classes and three test images, of mixed kinds; the sample's order is its own."""
    folder = tmp_path / "leaves"
    rows = []
    for i in range(9):
        name = f"images/{i}.{('png', 'bmp', 'gif')[i % 3]}"
        save(folder / name, colour=i % 3 == 0)
        rows.append(f'{name},"{KINDS[i % 3]}",plant{i // 3}')
    write_csv(folder / "train.csv", "image,label,plant\n" + "\n".join(rows))
    for i in range(3):
        save(folder / f"images/t{i}.png")
    write_csv(folder / "test.csv", "image\n" + "".join(f"images/t{i}.png\n" for i in range(3)))
    sample = "image,label\n" + "".join(f"images/t{i}.png,rust\n" for i in (2, 0, 1))
    write_csv(folder / "sample_submission.csv", sample)
    return folder


def load(path: Path, **data):
    return image_folder.read(image_folder.Options(path=str(path), **data))


def unlabelled(path: Path, shape: tuple[int, int, int], **data):
    return image_folder.read_unlabelled(path, shape, (), image_folder.Options(path=str(path), **data))


def test_a_folder_in_the_form_of_classify_leaves(leaves):
    task = load(leaves)
    assert image_folder.sniff(leaves)
    assert task.describe() == "leaves: 9 train, 3 test, 5x5x3, 3 classes"
    assert task.targets[0].classes == ("healthy", "late, blight", "rust")
    assert task.train.labels[:, 0].tolist() == [2, 1, 0] * 3
    assert task.train.ids[1] == "images/1.bmp"
    assert task.train.columns["plant"].tolist() == [f"plant{i // 3}" for i in range(9)]
    with Image.open(leaves / "images/3.png") as image:
        np.testing.assert_array_equal(task.train.images[3], np.asarray(image).transpose(2, 0, 1))
    form = task.submission
    assert (form.form.id_column, form.form.label_columns) == ("image", ("label",))
    assert form.ids.tolist() == [f"images/t{i}.png" for i in (2, 0, 1)] and form.rows.tolist() == [2, 0, 1]


def test_images_are_made_to_size_and_channels(leaves):
    save(leaves / "images/0.png", 20, 7)
    task = load(leaves, size=8, channels=1)
    assert task.train.images.shape == (9, 1, 8, 8) and task.test.images.shape == (3, 1, 8, 8)
    assert load(leaves, size=[4, 6]).test.images.shape == (3, 3, 4, 6)


def test_test_images_follow_the_training_images(leaves, refuses):
    for i in range(0, 9, 3):
        save(leaves / f"images/{i}.png", colour=False)
    assert load(leaves).test.images.shape[1] == 1  # the test images have colour, the training images none
    save(leaves / "images/t1.png", 6, 6)
    refuses(lambda: load(leaves), "test.csv, row 2", "6x6 pixels, but 5x5", "data.size")


@pytest.mark.parametrize(
    ("header", "test_header"), [("file,Class", "file"), ("x,kind_of_leaf", "x"), ("kind_of_leaf,id", "id")]
)
def test_columns_are_found_by_name_or_by_what_the_test_file_lacks(leaves, write_csv, header, test_header):
    (leaves / "sample_submission.csv").unlink()
    first = header.split(",")[0] == "kind_of_leaf"
    rows = [f"rust{i % 2},images/t{i}.png" if first else f"images/t{i}.png,rust{i % 2}" for i in range(3)]
    write_csv(leaves / "train.csv", "\n".join([header, *rows]))
    write_csv(leaves / "test.csv", f"{test_header}\nimages/1.bmp\n")
    task = load(leaves)
    assert task.train.ids.tolist() == [f"images/t{i}.png" for i in range(3)]
    assert task.targets[0].classes == ("rust0", "rust1")
    assert task.submission.form.id_column == test_header


def test_one_training_table_and_further_tables(leaves, write_csv):
    write_csv(leaves / "other.csv", "image,label\nimages/t1.png,rust\nimages/t0.png,healthy\n")
    write_csv(leaves / "notes.csv", "a,b\n1,2\n")
    task = load(leaves)
    assert list(task.holdouts) == ["other"] and task.holdouts["other"].labels[:, 0].tolist() == [2, 0]
    assert load(leaves, extra=()).holdouts == {}
    alone = load(leaves / "other.csv")
    assert len(alone.train) == 2 and alone.test is None and alone.holdouts == {}


def test_further_images_join_the_training_in_its_size_and_channels(leaves, write_csv, refuses):
    save(leaves / "images/x.png", 9, 9, colour=False)
    write_csv(leaves / "more.csv", "image,label\nimages/x.png,rust\n")
    data = Auto(path=str(leaves), size=8, extra={"path": "more", "role": "train"})
    task = load_task(data, Cv())
    assert task.train.images.shape == (10, 3, 8, 8) and task.train.labels[-1] == 2
    refuses(
        lambda: load_task(data.model_copy(update={"crop": True}), Cv()),
        "data.crop: is no option of format image_folder",
        "crop belongs to: bengali",
    )


def test_the_label_is_the_column_that_the_sample_names(leaves, write_csv):
    rows = "".join(f"images/{i}.{('png', 'bmp', 'gif')[i % 3]} , x, kind{i % 2} \n" for i in range(9))
    write_csv(leaves / "train.csv", "image,label,sort\n" + rows)
    write_csv(
        leaves / "sample_submission.csv", "image,sort\n" + "".join(f"images/t{i}.png,0\n" for i in range(3))
    )
    task = load(leaves)
    assert task.targets[0].classes == ("kind0", "kind1")
    assert task.submission.form.label_columns == ("sort",)


def test_labelled_test_images_and_further_tables_follow_the_training_images(leaves, write_csv):
    for i in range(0, 9, 3):
        save(leaves / f"images/{i}.png", colour=False)
    labelled = "image,label\n" + "".join(f"images/t{i}.png,rust\n" for i in range(3))
    write_csv(leaves / "test.csv", labelled)
    write_csv(leaves / "more.csv", labelled)
    task = load(leaves)  # the training images are grey, the others are not
    assert [d.images.shape[1] for d in (task.train, task.test, task.holdouts["more"])] == [1, 1, 1]
    assert task.holdouts["more"].labels[:, 0].tolist() == task.test.labels[:, 0].tolist() == [2, 2, 2]


def test_a_test_table_with_labels_is_scored(leaves, write_csv):
    write_csv(leaves / "test.csv", "image,label\n" + "".join(f"images/t{i}.png,rust\n" for i in range(3)))
    assert load(leaves).test.labels[:, 0].tolist() == [2, 2, 2]


def test_new_images_are_read_as_the_training_images_were(leaves, refuses):
    task = load(leaves)
    images, ids = unlabelled(leaves, (3, 5, 5))
    np.testing.assert_array_equal(images, task.test.images)
    assert ids.tolist() == task.test.ids.tolist()
    train_as_new, _ = unlabelled(leaves / "train.csv", (3, 5, 5))
    np.testing.assert_array_equal(train_as_new, task.train.images)
    refuses(
        lambda: unlabelled(leaves, (3, 8, 8)),
        *("test.csv, row 1", "5x5 pixels, but 8x8", "data.size"),
    )
    resized, _ = unlabelled(leaves, (1, 8, 8), size=8)
    assert resized.shape == (3, 1, 8, 8)


def test_what_is_no_such_folder(leaves, tmp_path, write_csv, make_table):
    assert not image_folder.sniff(tmp_path)
    assert not image_folder.sniff(write_csv(tmp_path / "train.csv", make_table(4)))
    assert not image_folder.sniff(write_csv(tmp_path / "b" / "train.csv", "id,label\n1,2\n").parent)
    assert image_folder.sniff(leaves / "test.csv")
    assert not image_folder.sniff(write_csv(tmp_path / "c.csv", "image,label,pixel0\na.png,1,2\n"))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "train.csv",
            "image,kind,plant\nimages/0.png,a,1\nimages/1.bmp,b,2\n",
            ["no label column", "image, kind, plant", "'label'"],
        ),
        (
            "train.csv",
            "image,label\nimages/0.png,\nimages/1.bmp,b\n",
            ["train.csv, row 1", "label is missing"],
        ),
        ("train.csv", "image,label\n,a\nimages/1.bmp,b\n", ["train.csv, row 1", "id is missing"]),
        ("train.csv", "image,label\nimages/1.bmp,a\nimages/1.bmp,b\n", ["row 2", "already that of row 1"]),
        ("train.csv", "image,label\nimages/0.png,a\nimages/nine.png,b\n", ["train.csv, row 2", "is missing"]),
        ("train.csv", "image,label\n../../etc/passwd,a\nimages/0.png,b\n", ["train.csv, row 1", "leads out"]),
        ("train.csv", "image,label\nimages/0.png,a,b\n", ["train.csv, row 1", "3 cells", "2 columns"]),
        ("train.csv", "image,label,label\nimages/0.png,a,b\n", ["column 'label' twice"]),
        ("train.csv", "image,label\n", ["train.csv", "no rows"]),
        ("train.csv", "", ["train.csv is empty"]),
        ("train.csv", b"image,label\n\xff\xfe,a\n", ["not UTF-8"]),
        ("test.csv", "picture\nimages/t0.png\n", ["test.csv", "no column 'image'", "picture"]),
        (
            "test.csv",
            "image\nimages/t0.png\nimages/t1.png\n",
            ["differ", "images/t2.png is only in the first"],
        ),
        (
            "sample_submission.csv",
            "image,label\nimages/t0.png,rust\n",
            ["1 rows", "3 rows", "only in the second"],
        ),
        ("sample_submission.csv", "image\nimages/t0.png\n", ["must have two columns"]),
        (
            "extra.csv",
            "image,label\nimages/t0.png,mould\n",
            ["extra.csv, row 1", "'mould'", "does not occur"],
        ),
    ],
)
def test_bad_tables(leaves, write_csv, refuses, file, content, words):
    write_csv(leaves / file, content)
    refuses(lambda: load(leaves), *words)


def test_bad_paths(leaves, refuses):
    refuses(lambda: load(leaves / "nowhere"), "no file or folder")
    refuses(lambda: load(leaves / "images"), "no train.csv")
    (leaves / "test.csv").unlink()
    refuses(lambda: unlabelled(leaves, (3, 5, 5)), "no test.csv")


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.one_of(
        st.binary(max_size=80), st.text(alphabet='images/0.png,label\n\r"x\0', max_size=60).map(str.encode)
    )
)
def test_whatever_the_table_it_is_a_data_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    (folder / "train.csv").write_bytes(b"image,label\n" + content)
    with pytest.raises(DataError):  # there are no images at all
        load(folder)


def test_real_leaves(real):
    task = load(real / "leaves")
    assert task.describe() == "leaves: 1,576 train, 524 test, 96x96x3, 12 classes"
    counts = dict(zip(task.targets[0].classes, np.bincount(task.train.labels[:, 0]).tolist(), strict=True))
    assert counts["potato_late_blight"] == 188 and counts["tomato_healthy"] == 120
    same = (task.train.images[258] == task.train.images[636]).all()
    assert same and (task.train.images[0] != task.train.images[1]).any()  # the one pair of identical pictures
    assert task.submission.ids[0] == "images/1576.jpg"
