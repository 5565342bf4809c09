import gzip
import io
import re
import zipfile

import numpy as np
import pytest
from data_files import write_kannada

from tune_digits.config import Cv, RowGroups
from tune_digits.data.files import pixel_csv
from tune_digits.data.files.pixel_csv import read_pixel_csv
from tune_digits.data.files.progress import telling
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.data.readers.kaggle_csv import Options, read_unlabelled
from tune_digits.errors import DataError


def sample(folder):
    return Options(path=str(write_kannada(folder)))


def pixels(rows):
    """The pixel cells of a test table as uint8 (N, 1, H, H)."""
    start = sum(not str(name).startswith("pixel") for name in rows[0])
    values = np.array([row[start:] for row in rows[1:]], dtype=np.uint8)
    side = int(values.shape[1] ** 0.5)
    return values.reshape(-1, 1, side, side)


def load(path, groups=None, **data):
    return load_task(Options(path=str(path), **data), Cv(groups=groups))


def unlabelled(path, shape):
    return read_unlabelled(path, shape, (), Options(path=str(path)))


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────


def test_kannada_dialect(kannada, make_table):
    task = load(kannada)
    assert task.name == "kannada"
    assert task.targets[0].classes == ("0", "1", "2")
    assert task.train.images.dtype == np.uint8 and task.train.images.flags.c_contiguous
    np.testing.assert_array_equal(task.train.images, pixels(make_table(30, 3, classes=3)))
    np.testing.assert_array_equal(task.train.labels, (np.arange(30) % 3)[:, None])
    assert task.train.labels.dtype == np.int64 and task.train.groups is None
    np.testing.assert_array_equal(task.test.images, pixels(make_table(6, 3, first="id", seed=1)))
    assert task.test.labels is None
    np.testing.assert_array_equal(task.test.ids, np.arange(6))
    assert list(task.holdouts) == ["Dig-MNIST"]
    assert len(task.holdouts["Dig-MNIST"]) == 9 and task.holdouts["Dig-MNIST"].labels.shape == (9, 1)
    assert (task.submission.form.id_column, *task.submission.form.label_columns) == ("id", "label")
    np.testing.assert_array_equal(task.submission.ids, np.arange(6))


def test_digit_recognizer_dialect(recognizer):
    task = load(recognizer)
    np.testing.assert_array_equal(task.test.ids, np.arange(1, 7))
    np.testing.assert_array_equal(task.submission.ids, task.test.ids)
    assert (task.submission.form.id_column, *task.submission.form.label_columns) == ("ImageId", "Label")
    assert task.holdouts == {}


@pytest.mark.parametrize(
    ("dialect", "columns"), [("kannada", ("id", "label")), ("recognizer", ("ImageId", "Label"))]
)
def test_without_a_sample_the_form_is_the_dialects_own(dialect, columns, request):
    folder = request.getfixturevalue(dialect)
    (folder / "sample_submission.csv").unlink()
    task = load(folder)
    assert (task.submission.form.id_column, *task.submission.form.label_columns) == columns
    np.testing.assert_array_equal(task.submission.ids, task.test.ids)


def test_the_sample_keeps_its_own_order(kannada, write_csv):
    write_csv(
        kannada / "sample_submission.csv", "id,label\n" + "".join(f"{i},0\n" for i in (3, 1, 0, 2, 5, 4))
    )
    np.testing.assert_array_equal(load(kannada).submission.ids, [3, 1, 0, 2, 5, 4])


def test_single_training_file_brings_nothing_else(kannada):
    task = load(kannada / "train.csv.gz")
    assert (task.name, task.test, task.holdouts, task.submission) == ("train", None, {}, None)
    assert list(load(kannada / "train.csv.gz", extra=("Dig-MNIST",)).holdouts) == ["Dig-MNIST"]


def test_holdouts_by_name_or_none(kannada, write_csv, make_table):
    write_csv(kannada / "other.csv", make_table(4, 3, classes=3))
    write_csv(kannada / "smaller.csv", make_table(4, 2, classes=2))
    write_csv(kannada / "my_submission.csv", "id,label\n0,1\n")
    assert list(load(kannada).holdouts) == ["Dig-MNIST", "other"]
    assert list(load(kannada, extra=("other",)).holdouts) == ["other"]
    assert list(load(kannada, extra=("Dig-MNIST.csv.gz",)).holdouts) == ["Dig-MNIST"]
    assert load(kannada, extra=()).holdouts == {}


def test_labelled_test_file_is_scored(kannada, write_csv, make_table):
    write_csv(kannada / "test.csv.gz", make_table(6, 3, classes=3))
    (kannada / "sample_submission.csv").unlink()
    task = load(kannada)
    assert task.holdouts.keys() == {"Dig-MNIST"}  # the test file is none, though it has labels
    test = task.test
    np.testing.assert_array_equal(test.labels[:, 0], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(
        test.ids, np.arange(1, 7)
    )  # without a column of ids they are counted from 1


def test_columns_may_stand_anywhere(tmp_path, write_csv, make_table):
    rows = make_table(20, 2)
    moved = [
        [*row[1:3], user, row[0], *row[3:]]
        for row, user in zip(rows, ["user"] + ["a", "b"] * 10, strict=True)
    ]
    task = load(write_csv(tmp_path / "train.csv", moved), groups="user")
    np.testing.assert_array_equal(task.train.images, pixels(rows))
    np.testing.assert_array_equal(task.train.labels[:, 0], np.arange(20) % 2)
    np.testing.assert_array_equal(task.train.groups, np.arange(20) % 2)
    assert task.train.groups.dtype == np.int64


def test_groups_by_rows(kannada):
    np.testing.assert_array_equal(load(kannada, RowGroups(rows_per_group=7)).train.groups, np.arange(30) // 7)


def test_byte_order_mark_and_crlf(tmp_path, write_csv, make_table, as_text):
    rows = make_table(20, 2)
    plain = read_pixel_csv(write_csv(tmp_path / "plain.csv", rows))
    odd = read_pixel_csv(write_csv(tmp_path / "odd.csv", b"\xef\xbb\xbf" + as_text(rows, "\r\n").encode()))
    np.testing.assert_array_equal(odd.images, plain.images)
    np.testing.assert_array_equal(odd.labels, plain.labels)


def test_quoted_cells(tmp_path, write_csv, make_table):
    rows = make_table(20, 2)
    plain = read_pixel_csv(write_csv(tmp_path / "plain.csv", rows))
    text = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    quoted = read_pixel_csv(write_csv(tmp_path / "quoted.csv", text))
    np.testing.assert_array_equal(quoted.images, plain.images)
    np.testing.assert_array_equal(quoted.labels, plain.labels)
    names = read_pixel_csv(write_csv(tmp_path / "names.csv", 'label,pixel0\n"oak, red",1\n"a ""b""",2\n'))
    assert names.labels.tolist() == ["oak, red", 'a "b"']


@pytest.mark.parametrize("suffix", [".zip", ".csv.zip"])
def test_zipped_as_kaggle_serves_it(tmp_path, write_csv, make_table, suffix):
    train, test = make_table(30, 3, classes=3), make_table(6, 3, first="id")
    path = write_csv(tmp_path / "k" / f"train{suffix}", train)
    write_csv(tmp_path / "k" / f"test{suffix}", test)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._train.csv", b"what a Mac adds")
    for given in (tmp_path / "k", path):
        task = load_task(Auto(path=str(given)), Cv())
        np.testing.assert_array_equal(task.train.images, pixels(train))
    np.testing.assert_array_equal(load(tmp_path / "k").test.images, pixels(test))


def test_columns_are_kept(tmp_path, write_csv):
    text = "writer , label, pixel0,image_id\n ann ,1,5,a\n,0,6,b \n"
    train = load(write_csv(tmp_path / "train.csv", text)).train
    assert {name: values.tolist() for name, values in train.columns.items()} == {
        "writer": ["ann", ""],
        "label": ["1", "0"],
        "image_id": ["a", "b"],
    }
    assert train.ids.tolist() == ["a", "b"]


def test_many_blocks_are_joined_in_order(tmp_path, write_csv, make_table, monkeypatch):
    monkeypatch.setattr("tune_digits.data.files.pixel_csv.BLOCK_BYTES", 512)
    rows = make_table(200, 4)
    told = []
    with telling(lambda name, fraction: told.append(fraction)):
        images = read_pixel_csv(write_csv(tmp_path / "a.csv", rows)).images
    np.testing.assert_array_equal(images, pixels(rows))
    assert len(told) > 10 and told == sorted(told) and told[0] > 0 and told[-1] == 1


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        (["10", "9", "10", "9"], ("9", "10"), [1, 0, 1, 0]),  # numeric order, not alphabetical
        (["07", "7", "3", "3"], ("3", "7"), [1, 1, 0, 0]),
        (["oak", "ash", "oak", "elm"], ("ash", "elm", "oak"), [2, 0, 2, 1]),
        (["೧", "೨", "x", "೧"], ("x", "೧", "೨"), [1, 2, 0, 1]),  # digits of other scripts are names
    ],
)
def test_classes_are_the_sorted_labels(tmp_path, write_csv, labels, classes, codes):
    text = "label,pixel0\n" + "".join(f"{label},5\n" for label in labels)
    task = load(write_csv(tmp_path / "train.csv", text))
    assert task.targets[0].classes == classes
    np.testing.assert_array_equal(task.train.labels[:, 0], codes)


def test_ids_that_are_not_plain_numbers_stay_text(tmp_path, write_csv):
    table = read_pixel_csv(write_csv(tmp_path / "test.csv", "id,pixel0\n007,1\n8,2\n"))
    assert table.ids.tolist() == ["007", "8"]


# ── read_unlabelled ──────────────────────────────────────────────────────────────────────────────────


def test_unlabelled_file_or_folder(kannada, recognizer):
    images, ids = unlabelled(kannada, shape=(1, 3, 3))
    assert images.shape == (6, 1, 3, 3) and ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert unlabelled(recognizer / "test.csv", shape=(1, 3, 3))[1].tolist() == [1, 2, 3, 4, 5, 6]
    assert len(unlabelled(kannada / "train.csv.gz", shape=(1, 3, 3))[0]) == 30


def test_unlabelled_refusals(kannada, tmp_path, refuses):
    refuses(lambda: unlabelled(kannada, shape=(1, 28, 28)), "test.csv.gz", "3x3", "28x28")
    refuses(lambda: unlabelled(kannada, shape=(3, 3, 3)), "grey", "3 channel")
    refuses(lambda: unlabelled(tmp_path / "none.csv", shape=(1, 3, 3)), "no file or folder", "none.csv")
    refuses(lambda: unlabelled(tmp_path, shape=(1, 3, 3)), "no test.csv", "kannada/")


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["train.csv", "empty"]),
        ("label,pixel0\n", ["header", "no rows"]),
        ("id,digit,pixel0\n1,1,1\n", ["no column named 'label'", "id, digit, pixel0"]),
        ("label;pixel0;pixel1\n1;1;1\n", ["no column named 'label'", "label;pixel0"]),
        ("label,image\n1,a.png\n", ["no pixel columns", "label, image"]),
        ("label,pixel0\n1,5\n,6\n", ["row 2", "label is missing"]),
        ("label,pixel0\n1,5\n-1,6\n", ["row 2", "'-1'", "from 0"]),
        ("label,pixel0\n1,5\n2.5,6\n", ["row 2", "'2.5'"]),
        ("label,pixel0\n1,5\noak,6\n", ["row 2", "'oak'"]),
        ("label,pixel0\n4,5\n4,6\n", ["one class only", "'4'"]),
        ("label,pixel0,pixel1,pixel3\n1,1,1,1\n", ["no column 'pixel2'", "'pixel3'"]),
        ("label,pixel1,pixel2\n1,1,1\n", ["no column 'pixel0'"]),
        ("label,pixel0,pixel1,pixel1,pixel2\n1,1,1,1,1\n", ["'pixel1' twice"]),
        ("label,label,pixel0\n1,1,1\n", ["'label' twice"]),
        ("label,pixel0,pixel2,pixel1,pixel3\n1,1,1,1,1\n", ["'pixel2' where pixel1", "out of order"]),
        ("label,pixel0,pixel1,pixel2\n1,1,1,1\n", ["3 pixel columns", "not a square", "4 (2x2)"]),
        ("label,pixel0\n1,5\n0,-1\n", ["row 2", "column pixel0", "'-1'", "0 to 255"]),
        ("label,pixel0\n1,5\n0,256\n", ["row 2", "column pixel0", "'256'"]),
        ("label,pixel0\n1,5\n0,3.7\n", ["row 2", "column pixel0", "'3.7'"]),
        ("label,pixel0\n1,5\n0,0x10\n", ["row 2", "column pixel0", "'0x10'"]),
        ("label,pixel0\n1,5\n0,\n", ["row 2", "column pixel0", "''"]),
        ("label,pixel0\n1,5\n0,dark\n", ["row 2", "column pixel0", "'dark'"]),
        ("label,pixel0\n1,5\n0,NaN\n", ["row 2", "column pixel0", "'NaN'"]),
        ("label,pixel0\n1,5\n0,5.0\n", ["row 2", "column pixel0", "'5.0'"]),
        ("label,pixel0\n1,5\n0,1e2\n", ["row 2", "column pixel0", "'1e2'"]),
        ('label,pixel0\n1,5\n"0","6""\n', ["train.csv"]),
        ("label,pixel99999999999999999999\n1,5\n", ["pixel9999", "at most"]),
        ("label,pixel0\n" + "9" * 30 + ",5\n1,5\n", ["row 1", "'999", "too large"]),
        (
            "label,pixel0,pixel1,pixel2,pixel3\n1,1,1,1,1\n0,1,1,256,300\n",
            ["row 2", "column pixel2", "'256'"],
        ),
        ("label,pixel0\n1,5\n0\n", ["row 2", "1 cells", "2 columns"]),
        ("label,pixel0\n1,5\n0,6,7\n", ["row 2", "3 cells"]),
        (b"label,pixel0\n\xff,5\n0,6\n", ["not UTF-8"]),
        ("label,pixel0\né,5\nb,6\n".encode("latin-1"), ["not UTF-8", "Save it as UTF-8"]),
        ("label,pixel0\n1,5\n0,6\n".encode("utf-16"), ["not UTF-8"]),
        (b"\x1f\x8b" + bytes(40), ["train.csv"]),
        (b"x" * 200_000, ["cannot be read as CSV"]),
    ],
)
def test_malformed_training_file(tmp_path, write_csv, refuses, text, words):
    path = write_csv(tmp_path / "train.csv", text)
    refuses(lambda: load(path), str(path), *words)


@pytest.mark.parametrize("count", [783, 785])
def test_783_or_785_pixels(tmp_path, write_csv, refuses, count):
    header = ["label", *(f"pixel{i}" for i in range(count))]
    path = write_csv(tmp_path / "train.csv", [header, *([i % 2] * (count + 1) for i in range(4))])
    refuses(lambda: load(path), str(count), "not a square", "784 (28x28)")


def test_bad_pixel_far_down_is_found(tmp_path, write_csv, make_table, monkeypatch, refuses):
    monkeypatch.setattr("tune_digits.data.files.pixel_csv.BLOCK_BYTES", 512)
    rows = make_table(200, 4)
    rows[151][3] = "x"
    path = write_csv(tmp_path / "train.csv.gz", rows)
    refuses(lambda: load(path), "row 151", "column pixel2", "'x'")


def test_missing_path(tmp_path, refuses):
    refuses(lambda: load(tmp_path / "nowhere"), "no file or folder", "nowhere")
    refuses(lambda: read_pixel_csv(tmp_path / "none.csv"), "no file", "none.csv")


def test_folder_without_training_file(tmp_path, write_csv, refuses):
    write_csv(tmp_path / "notes.txt", "hello")
    refuses(lambda: load(tmp_path), "no train.csv", "notes.txt")


def test_same_file_plain_and_compressed(kannada, write_csv, make_table, refuses):
    write_csv(kannada / "train.csv", make_table(30, 3, classes=3))
    refuses(lambda: load(kannada), "both train.csv and train.csv.gz")
    (kannada / "train.csv").rename(kannada / "Dig-MNIST.csv")
    refuses(lambda: load(kannada), "both Dig-MNIST.csv and Dig-MNIST.csv.gz")


@pytest.mark.parametrize("keep", [0.5, 0.999, 4])
def test_truncated_gzip(kannada, keep, refuses):
    path = kannada / "train.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    refuses(lambda: load(kannada), "train.csv.gz", "cut short")


def test_zips_in_a_folder(tmp_path, refuses):
    (tmp_path / "in").mkdir()

    def pack(*names):
        with zipfile.ZipFile(tmp_path / "in/train.zip", "w") as archive:
            for name in names:
                archive.writestr(name, b"label,pixel0\n0,1\n1,1\n" * 20)
        return tmp_path / "in/train.zip"

    for names, words in (
        (("train.csv", "test.csv"), ("2 CSV files", "train.csv, test.csv", "Unpack it")),
        (("images/0.png",), ("no CSV file inside", "images/0.png")),
        ((), ("no CSV file inside", "nothing")),
    ):
        path = pack(*names)
        refuses(lambda path=path: load(path.parent), *words)
    whole = pack("train.csv").read_bytes()
    for content in (whole[:-10], whole[:50], b"nonsense", whole.replace(b"0,1\n1,1", b"0,1\n1,2", 1)):
        (tmp_path / "in/train.zip").write_bytes(content)
        refuses(lambda: load(tmp_path / "in"), "train.zip", "not a zip file")
    locked = bytearray(whole)
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "in/train.zip").write_bytes(locked)
    refuses(lambda: load(tmp_path / "in"), "password")


def test_not_gzip_at_all(tmp_path, refuses):
    path = tmp_path / "train.csv.gz"
    path.write_bytes(b"label,pixel0\n0,1\n1,1\n")
    refuses(lambda: load(path), "not a gzip file")


def test_corrupt_gzip(tmp_path, write_csv, make_table, refuses):
    path = write_csv(tmp_path / "train.csv.gz", make_table(2000, 4))
    content = bytearray(path.read_bytes())
    content[-8:-4] = b"\0\0\0\0"  # the checksum
    path.write_bytes(content)
    with pytest.raises((EOFError, gzip.BadGzipFile)):
        gzip.decompress(content)
    refuses(lambda: load(path), "damaged")


def test_unknown_group_column(kannada, refuses):
    refuses(lambda: load(kannada, "writer"), "cv.groups", "'writer'", "label")


def test_missing_group(tmp_path, write_csv, refuses):
    path = write_csv(tmp_path / "train.csv", "label,user,pixel0\n0,a,1\n1,,1\n")
    refuses(lambda: load(path, "user"), "row 2", "'user'", "empty")


def test_test_file_of_another_size(kannada, write_csv, make_table, refuses):
    write_csv(kannada / "test.csv.gz", make_table(6, 4, first="id"))
    refuses(lambda: load(kannada), "test.csv.gz", "4x4", "3x3")


def test_test_ids(kannada, write_csv, make_table, refuses):
    rows = make_table(6, 3, first="id")
    rows[3][0] = 0
    write_csv(kannada / "test.csv.gz", rows)
    refuses(lambda: load(kannada), "test.csv.gz", "row 3", "already that of row 1")
    rows[3][0] = ""
    write_csv(kannada / "test.csv.gz", rows)
    refuses(lambda: load(kannada), "row 3", "id is missing")


def test_holdout_refusals(kannada, write_csv, make_table, refuses):
    refuses(lambda: load(kannada, extra=("Other",)), "data.extra", "'Other'", "Dig-MNIST.csv.gz")
    refuses(lambda: load(kannada, extra=("test",)), "test.csv.gz", "no column named 'label'")
    write_csv(kannada / "Dig-MNIST.csv.gz", make_table(9, 3, classes=4))
    refuses(lambda: load(kannada), "Dig-MNIST.csv.gz", "row 4", "'3'", "does not occur in the training file")
    write_csv(kannada / "Dig-MNIST.csv.gz", make_table(9, 2))
    refuses(lambda: load(kannada, extra=("Dig-MNIST",)), "2x2", "3x3")


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("id,label\n" + "".join(f"{i},0\n" for i in range(1, 7)), ["differ", "6 is only in the first"]),
        (
            "id,label\n" + "".join(f"{i},0\n" for i in range(5)),
            ["5 rows", "6 rows", "5 is only in the second"],
        ),
        ("id,label\n0,0\n0,0\n", ["row 2", "already"]),
        ("id,label,extra\n0,0,0\n", ["two columns"]),
        ("", ["two columns"]),
    ],
)
def test_sample_submission_refusals(kannada, write_csv, refuses, sample, words):
    write_csv(kannada / "sample_submission.csv", sample)
    refuses(lambda: load(kannada), "sample_submission.csv", *words)


def test_sample_counted_from_0_for_a_bare_test(recognizer, write_csv, refuses):
    write_csv(recognizer / "sample_submission.csv", "ImageId,Label\n" + "".join(f"{i},0\n" for i in range(6)))
    refuses(lambda: load(recognizer), "differ", "counted from 1")


def test_messages_count_rows_the_same_everywhere(tmp_path, write_csv, refuses):
    """A missing label and a bad pixel in the same row are the same row in both messages."""
    rows = ["label,pixel0", "0,1", "1,1", "{},{}"]
    for label, pixel in (("", "1"), ("1", "x")):
        path = write_csv(tmp_path / "train.csv", "\n".join(rows).format(label, pixel))
        with pytest.raises(DataError) as caught:
            load(path)
        assert re.search(r"row (\d+)", str(caught.value)).group(1) == "3"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_hexadecimal_numbers_are_seen_over_the_edge_of_two_reads(size):
    for content, found in ((b"1,2\n0x1,7", True), (b"1,0X", True), (b"1,20\n10,7", False)):
        file = pixel_csv._Hexadecimal(io.BytesIO(content))
        while file.read(size):
            pass
        assert file.found == found


def test_hexadecimal_is_no_harm_in_a_label(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("label,pixel0\n0xA,5\n0xB,7\n")
    table = read_pixel_csv(path)
    assert table.labels.tolist() == ["0xA", "0xB"]
    assert table.images.reshape(-1).tolist() == [5, 7]
