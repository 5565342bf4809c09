from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tune_digits.config import Cv
from tune_digits.data.files import parquet_images
from tune_digits.data.files.parquet_images import Preparation, read_parts, shaped
from tune_digits.data.files.progress import telling
from tune_digits.data.folds.split import groups_of
from tune_digits.data.readers import bengali
from tune_digits.errors import DataError

HEADS = ("grapheme_root", "vowel_diacritic", "consonant_diacritic")
RNG = np.random.default_rng(0)


def sample(folder: Path) -> bengali.Options:
    """20 training and 4 test images of 5x5, two classes of each target."""
    pixels = RNG.integers(0, 256, (24, 5, 5), dtype=np.uint8)
    ids = [f"Train_{i}" for i in range(20)] + [f"Test_{i}" for i in range(4)]
    write_part(folder / "train_image_data_0.parquet", ids[:20], pixels[:20])
    write_part(folder / "test_image_data_0.parquet", ids[20:], pixels[20:])
    rows = [[f"{i}_{head}", i, head] for i in ids[20:] for head in HEADS]
    write(folder / "test.csv", [["row_id", "image_id", "component"], *rows])
    rows = [[i, n % 2, n % 2, n % 2] for n, i in enumerate(ids[:20])]
    write(folder / "train.csv", [["image_id", *HEADS], *rows])
    return bengali.Options(path=str(folder))


def write_part(path: Path, ids: list[str], pixels: np.ndarray, kind: pa.DataType | None = None) -> Path:
    flat = pixels.reshape(len(pixels), -1)
    columns = {"image_id": pa.array(ids, pa.string())}
    columns |= {str(i): pa.array(flat[:, i], kind) for i in range(flat.shape[1])}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def graphemes(tmp_path, write_csv) -> Path:
    """Twelve training images in two parts, three test images; test.csv and the sample have rows in their own order."""
    folder = tmp_path / "graphemes"
    pixels = RNG.integers(0, 256, (15, 6, 6), dtype=np.uint8)
    ids = [f"Train_{i}" for i in range(12)]
    write_part(folder / "train_image_data_0.parquet", ids[:7], pixels[:7])
    write_part(folder / "train_image_data_1.parquet", ids[7:], pixels[7:12])
    write_part(folder / "test_image_data_0.parquet", [f"Test_{i}" for i in range(3)], pixels[12:])
    rows = [[name, i % 4, i % 3, i % 2, f"g{i % 6}"] for i, name in enumerate(ids)]
    write_csv(folder / "train.csv", [["image_id", *HEADS, "grapheme"], *rows])
    order = (HEADS[2], HEADS[0], HEADS[1])
    rows = [[f"Test_{i}_{head}", f"Test_{i}", head] for i in range(3) for head in order]
    write_csv(folder / "test.csv", [["row_id", "image_id", "component"], *rows])
    sample = [[row[0], 0] for row in [*rows[6:], *rows[:6]]]
    write_csv(folder / "sample_submission.csv", [["row_id", "target"], *sample])
    maps = [[h, i, f"{h[0]}{i}"] for h, n in zip(HEADS, (4, 3, 2), strict=True) for i in range(n)]
    write_csv(folder / "class_map.csv", [["component_type", "label", "component"], *maps])
    np.save(tmp_path / "pixels.npy", pixels)
    return folder


def load(path: Path, cache: Path | None = None, **data):
    return bengali.read(bengali.Options(path=str(path), **data), cache)


def unlabelled(path: Path, shape: tuple[int, int, int], **data):
    return bengali.read_unlabelled(path, shape, (), bengali.Options(path=str(path), **data))


def test_three_targets_from_parts(graphemes, tmp_path):
    pixels = np.load(tmp_path / "pixels.npy")
    task = load(graphemes)
    assert bengali.sniff(graphemes)
    assert task.describe() == "graphemes: 12 train, 3 test, 6x6x1, 4+3+2 classes"
    np.testing.assert_array_equal(task.train.images[:, 0], pixels[:12])
    np.testing.assert_array_equal(task.test.images[:, 0], pixels[12:])
    assert task.train.images.flags.c_contiguous
    assert [t.name for t in task.targets] == list(HEADS)
    assert task.targets[0].classes == ("g0", "g1", "g2", "g3")
    assert task.train.labels.tolist() == [[i % 4, i % 3, i % 2] for i in range(12)]
    assert task.train.columns["grapheme"].tolist() == [f"g{i % 6}" for i in range(12)]
    groups = groups_of(task.train, Cv(groups="grapheme"))
    assert groups.tolist() == [
        i % 6 for i in range(12)
    ]  # a fold then validates combinations never trained on


def test_rows_of_the_submission_are_the_samples(graphemes):
    form = load(graphemes).submission
    assert (form.form.id_column, form.form.label_columns, form.form.numbers) == ("row_id", ("target",), True)
    assert form.ids[0] == "Test_2_consonant_diacritic" and len(form.ids) == 9
    for name, row, (head,) in zip(form.ids, form.rows, form.heads, strict=True):
        assert name == f"Test_{row}_{HEADS[head]}"
    new = form.form.of(np.array(["Neu_1", "Neu_2"]))
    assert new.ids.tolist()[:3] == [f"Neu_1_{HEADS[i]}" for i in (2, 0, 1)]
    assert new.heads[:, 0].tolist() == [2, 0, 1] * 2 and new.rows.tolist() == [0, 0, 0, 1, 1, 1]
    (graphemes / "sample_submission.csv").unlink()
    form = load(graphemes).submission
    assert form.ids[:2].tolist() == ["Test_0_consonant_diacritic", "Test_0_grapheme_root"]  # as test.csv
    assert form.form.suffixes[0] == "_consonant_diacritic"


def test_without_the_class_map_classes_are_the_numbers(graphemes):
    (graphemes / "class_map.csv").unlink()
    task = load(graphemes)
    assert task.targets[0].classes == ("0", "1", "2", "3") and not task.submission.form.numbers
    (graphemes / "test.csv").unlink()
    task = load(graphemes)
    assert [t.name for t in task.targets] == list(HEADS) and task.test is None
    assert task.submission.form.suffixes == tuple(f"_{h}" for h in HEADS)


def test_the_class_map_names_classes_that_no_training_image_has(graphemes, write_csv):
    rows = [[f"Train_{i}", i % 2 * 3, 0 if i else 2, i % 2, "x"] for i in range(12)]
    write_csv(graphemes / "train.csv", [["image_id", *HEADS, "grapheme"], *rows])
    task = load(graphemes)
    assert [len(t.classes) for t in task.targets] == [4, 3, 2]
    assert task.train.labels[:3].tolist() == [[0, 2, 0], [3, 0, 1], [0, 0, 0]]


def test_the_tables_order_holds_and_parts_may_have_another(graphemes, write_csv, tmp_path):
    pixels = np.load(tmp_path / "pixels.npy")
    rows = [[f"Train_{i}", i % 4, i % 3, i % 2, "x"] for i in reversed(range(12))]
    write_csv(graphemes / "train.csv", [["image_id", *HEADS, "grapheme"], *rows])
    np.testing.assert_array_equal(load(graphemes).train.images[:, 0], pixels[11::-1])


def test_kept_copies(graphemes, tmp_path, monkeypatch):
    calls = []
    read = bengali.read_parts
    monkeypatch.setattr(bengali, "read_parts", lambda *a: (calls.append(a), read(*a))[1])
    first = load(graphemes, tmp_path / "cache")
    again = load(graphemes, tmp_path / "cache")
    assert len(calls) == 2  # train and test, once
    np.testing.assert_array_equal(first.train.images, again.train.images)
    assert again.train.ids.tolist() == first.train.ids.tolist()
    for n, options in enumerate(({"size": 4}, {"size": 4, "crop": True}, {"channels": 3}), start=2):
        for _ in range(2):
            load(graphemes, tmp_path / "cache", **options)
            assert len(calls) == 2 * n
    monkeypatch.setattr(bengali, "READER", "parquet_images-later")
    load(graphemes, tmp_path / "cache")
    assert len(calls) == 10
    write_part(
        graphemes / "test_image_data_0.parquet",
        [f"Test_{i}" for i in range(3)],
        RNG.integers(0, 99, (3, 6, 6)),
    )
    load(graphemes, tmp_path / "cache")
    assert len(calls) == 11  # the test part alone


def test_new_images_are_read_as_the_training_images_were(graphemes, tmp_path, refuses):
    task = load(graphemes, size=8, crop=True)
    images, ids = unlabelled(graphemes, (1, 8, 8), size=8, crop=True)
    np.testing.assert_array_equal(images, task.test.images)
    assert ids.tolist() == task.test.ids.tolist()
    part = graphemes / "train_image_data_0.parquet"
    assert bengali.sniff(part)
    images, _ = unlabelled(part, (3, 6, 6))
    assert images.shape == (12, 3, 6, 6)
    refuses(lambda: unlabelled(graphemes, (1, 8, 8)), "6x6 pixels", "trained on 8x8")


def test_new_images_are_cropped_as_the_training_images_were(tmp_path, write_csv):
    ink = np.full((4, 16, 16), 255, np.uint8)
    for i, image in enumerate(ink):
        image[2 : 5 + i, 9:12] = 0
    write_part(tmp_path / "train_image_data_0.parquet", list("abcd"), ink)
    write_part(tmp_path / "test_image_data_0.parquet", list("efgh"), ink)
    write_csv(
        tmp_path / "train.csv", [["image_id", HEADS[0]], *([name, i % 2] for i, name in enumerate("abcd"))]
    )
    whole = load(tmp_path, size=16).train.images
    np.testing.assert_array_equal(whole[:, 0], ink)
    cut = load(tmp_path, size=16, crop=True).train.images
    assert ((cut < 128).sum(axis=(1, 2, 3)) > 2 * (whole < 128).sum(axis=(1, 2, 3))).all()
    np.testing.assert_array_equal(unlabelled(tmp_path, (1, 16, 16), size=16, crop=True)[0], cut)
    colour = load(tmp_path, size=16, crop=True, channels=3).train.images
    np.testing.assert_array_equal(colour, np.repeat(cut, 3, axis=1))


def test_further_sets_are_holdouts_by_the_training_sets_classes(graphemes, write_csv, refuses):
    (graphemes / "class_map.csv").unlink()
    pixels = RNG.integers(0, 256, (2, 6, 6), dtype=np.uint8)
    write_part(graphemes / "more_image_data_0.parquet", ["m0", "m1"], pixels)
    write_csv(graphemes / "more.csv", [["image_id", *HEADS], ["m1", 3, 2, 1], ["m0", 1, 2, 1]])
    more = load(graphemes).holdouts["more"]
    assert more.labels.tolist() == [[3, 2, 1], [1, 2, 1]]  # and not their places among the set's own classes
    np.testing.assert_array_equal(more.images[:, 0], pixels[::-1])
    assert load(graphemes, extra=()).holdouts == {}
    write_csv(graphemes / "more.csv", [["image_id", *HEADS], ["m1", 3, 2, 1], ["m0", 9, 2, 1]])
    refuses(lambda: load(graphemes), "more.csv, row 2", "'9' does not occur")


def test_a_part_without_a_table_of_labels_is_no_holdout(graphemes, write_csv):
    write_part(graphemes / "more_image_data_0.parquet", ["m0"], np.zeros((1, 6, 6), np.uint8))
    assert load(graphemes).holdouts == {}
    write_csv(graphemes / "more.csv", [["image_id", HEADS[0]], ["m0", 1]])
    assert load(graphemes).holdouts == {}


def test_parts_are_read_in_the_order_of_their_numbers(tmp_path, write_csv):
    pixels = np.arange(11, dtype=np.uint8)[:, None, None, None].repeat(4, axis=3).reshape(11, 1, 2, 2)
    for i in (3, 10, 0, 7, 1, 9, 2, 8, 5, 4, 6):
        write_part(tmp_path / f"test_image_data_{i}.parquet", [f"t{i}"], pixels[i])
    images, ids = unlabelled(tmp_path, (1, 2, 2))
    np.testing.assert_array_equal(images, pixels)
    assert ids.tolist() == [f"t{i}" for i in range(11)]


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────────


def test_an_oblong_size_and_small_batches(tmp_path, monkeypatch):
    pixels = RNG.integers(0, 256, (3, 5, 8), dtype=np.uint8)
    path = write_part(tmp_path / "train_image_data_0.parquet", ["a", "b", "c"], pixels)
    assert parquet_images.KAGGLE_SIZE == (137, 236)
    monkeypatch.setattr(parquet_images, "KAGGLE_SIZE", (5, 8))  # as 32,332 columns take seconds to write
    monkeypatch.setattr(parquet_images, "BATCH_BYTES", 2 * 5 * 8)
    images, columns = read_parts([path, path], Preparation(None, False, 1))
    np.testing.assert_array_equal(images[:, 0], np.concatenate([pixels, pixels]))
    assert columns["image_id"].tolist() == ["a", "b", "c"] * 2
    told = []
    with telling(lambda *what: told.append(what)):
        read_parts([path, path], Preparation(None, False, 1))
    assert told == [(path.name, n / 6) for n in (2, 3, 5, 6)]
    images, _ = read_parts([path], Preparation((4, 4), False, 3))
    expected = [np.asarray(Image.fromarray(p).resize((4, 4), Image.Resampling.BILINEAR)) for p in pixels]
    np.testing.assert_array_equal(images, np.stack([expected] * 3, axis=1))


def drawing(height: int, width: int, box: tuple[int, int, int, int], paper: int = 255) -> np.ndarray:
    image = np.full((height, width), paper, np.uint8)
    top, bottom, left, right = box
    image[top:bottom, left:right] = 255 - paper
    return image


@pytest.mark.parametrize("paper", [0, 255])
@pytest.mark.parametrize("box", [(60, 90, 20, 50), (10, 40, 190, 220), (50, 80, 100, 130)])
def test_a_crop_finds_the_ink_wherever_it_is(paper, box):
    cut = shaped(drawing(137, 236, box, paper), 64, 64, crop=True)
    ink = np.abs(cut.astype(int) - paper) > 128
    ys, xs = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert ink[0].sum() == ink[-1].sum() == ink[:, 0].sum() == ink[:, -1].sum() == 0  # a border is left
    assert np.ptp(ys) >= 48 and abs(np.ptp(ys) - np.ptp(xs)) <= 1  # large, and still as high as wide
    assert abs(ys.mean() - 31.5) <= 1 and abs(xs.mean() - 31.5) <= 1


def test_a_crop_keeps_proportions_passes_over_lines_at_the_edge_and_leaves_blank_paper_alone():
    long = shaped(drawing(137, 236, (60, 70, 40, 200)), 64, 64, crop=True) < 128
    ys, xs = np.flatnonzero(long.any(1)), np.flatnonzero(long.any(0))
    assert np.ptp(xs) / np.ptp(ys) == pytest.approx(16, rel=0.35)
    lined = drawing(137, 236, (60, 90, 20, 50))
    lined[:, -2:] = 0  # a line of the scanned form
    np.testing.assert_array_equal(
        shaped(lined, 32, 32, True), shaped(drawing(137, 236, (60, 90, 20, 50)), 32, 32, True)
    )
    assert (shaped(np.full((137, 236), 255, np.uint8), 32, 32, True) == 255).all()


def test_a_size_is_height_and_width_with_and_without_a_crop():
    pixels = RNG.integers(0, 256, (10, 20), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((6, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(shaped(pixels, 4, 6, crop=False), expected)
    cut = shaped(drawing(137, 236, (40, 80, 20, 60)), 32, 64, crop=True) < 128  # a square
    ys, xs = np.flatnonzero(cut.any(1)), np.flatnonzero(cut.any(0))
    assert cut.shape == (32, 64) and abs(np.ptp(ys) - np.ptp(xs)) <= 1 and np.ptp(ys) > 20


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


def test_parts_and_tables_that_do_not_fit(graphemes, write_csv, refuses, tmp_path):
    first, second = (graphemes / f"train_image_data_{i}.parquet" for i in (0, 1))
    kept = second.rename(tmp_path / "kept")
    refuses(lambda: load(graphemes), "train.csv, row 8", "'Train_7' is in no part", "5 of 12", "part missing")
    kept.rename(graphemes / "train_image_data_2.parquet")
    refuses(
        lambda: load(graphemes),
        "no train_image_data_1.parquet",
        "there are parts 0, 2",
        "copy the missing one",
    )
    (graphemes / "train_image_data_2.parquet").rename(second)
    rows = [[f"Train_{i}", 0, i % 2, i % 2] for i in range(11)]
    write_csv(graphemes / "train.csv", [["image_id", *HEADS], *rows])
    refuses(lambda: load(graphemes), "'Train_11' is not in", "1 of 12")
    write_part(second, ["Train_1"], np.zeros((1, 6, 6), np.uint8))
    refuses(lambda: load(graphemes), "row 8", "'Train_1' is already that of row 2")
    write_part(second, ["Train_11"], np.zeros((1, 8, 8), np.uint8))
    refuses(lambda: load(graphemes), "train_image_data_1.parquet has images of 8x8", "6x6")
    (graphemes / "test_image_data_0.parquet").unlink()
    second.unlink()
    write_csv(graphemes / "train.csv", [["image_id", *HEADS], *rows[:7]])
    refuses(lambda: load(graphemes), "no test_image_data_0.parquet")
    first.unlink()
    refuses(lambda: load(graphemes), "no train_image_data_0.parquet", "it has")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "train.csv",
            "image_id,a\nTrain_0,1\n",
            ["test.csv names the component", "no such column of labels"],
        ),
        (
            "train.csv",
            "id,grapheme_root,vowel_diacritic,consonant_diacritic\n1,0,0,0\n",
            ["no column 'image_id'"],
        ),
        ("class_map.csv", "component_type,label\nx,1\n", ["class_map.csv", "no column 'component'"]),
        (
            "class_map.csv",
            "component_type,label,component\ngrapheme_root,1,ka\n",
            ["grapheme_root", "0 to 0, each once"],
        ),
        (
            "class_map.csv",
            "component_type,label,component\ngrapheme_root,0,ka\ngrapheme_root,1,ga\n",
            ["train.csv, row 3", "'2' of grapheme_root", "class_map.csv", "0 to 1"],
        ),
        ("test.csv", "row_id,image_id\nTest_0_x,Test_0\n", ["test.csv", "no column 'component'"]),
        (
            "test.csv",
            "row_id,image_id,component\nTest_9,Test_0,grapheme_root\n",
            ["row 1", "Test_0_grapheme_root"],
        ),
        (
            "sample_submission.csv",
            "row_id,target\nTest_7_grapheme_root,0\n",
            ["differ", "is only in the first"],
        ),
        ("sample_submission.csv", "row_id,a,b\n1,2,3\n", ["must have two columns"]),
    ],
)
def test_bad_tables(graphemes, write_csv, refuses, file, content, words):
    write_csv(graphemes / file, content)
    refuses(lambda: load(graphemes), *words)


def test_a_test_table_without_some_rows(graphemes, write_csv, refuses):
    rows = [[f"Test_{i}_{h}", f"Test_{i}", h] for i in range(3) for h in HEADS][:-1]
    write_csv(graphemes / "test.csv", [["row_id", "image_id", "component"], *rows])
    refuses(lambda: load(graphemes), "has no row 'Test_2_consonant_diacritic'", "each image needs one")
    write_csv(graphemes / "train.csv", [["image_id", "grapheme"], ["Train_0", "x"]])
    (graphemes / "test.csv").unlink()
    (graphemes / "class_map.csv").unlink()
    refuses(lambda: load(graphemes), "no label column", "image_id, grapheme")
    with pytest.raises(ValueError, match=r"crop cuts images to different sizes: give size"):
        load(graphemes, crop=True)
    (graphemes / "train.csv").unlink()
    refuses(lambda: load(graphemes), "no train.csv")


def test_bad_parts(tmp_path, refuses):
    def read(**columns):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        return lambda: read_parts([tmp_path / "a.parquet"], Preparation(None, False, 1))

    refuses(read(image_id=["a"], x=[1]), "column 'x'", "pixel columns only")
    refuses(read(**{"0": [1]}), "no column 'image_id'")
    refuses(read(**{"image_id": ["a"], "0": [1], "2": [1]}), "0 to 1, each once")
    refuses(read(**{"image_id": ["a"], "0": [1], "1": [1]}), "2 pixel columns", "137*236", "squares")
    refuses(read(**{"image_id": ["a"], "0": [256]}), "whole numbers from 0 to 255")
    refuses(read(**{"image_id": ["a"], "0": ["x"]}), "whole numbers from 0 to 255")
    refuses(read(**{"image_id": ["a"], "0": [0.5]}), "whole numbers from 0 to 255")
    refuses(read(**{"image_id": ["a", "b"], "0": [1, None]}), "1 missing value")
    refuses(read(**{"image_id": pa.array([], pa.string()), "0": pa.array([], pa.uint8())}), "no rows")
    assert read(**{"image_id": [1], "0": [200]})()[0].tolist() == [[[[200]]]]  # other whole numbers will do
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[:-20])
    refuses(
        lambda: read_parts([tmp_path / "a.parquet"], Preparation(None, False, 1)),
        "a.parquet cannot be read as Parquet",
    )


@pytest.fixture(scope="module")
def part(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("part") / "a.parquet"
    return write_part(path, list("abcd"), RNG.integers(0, 256, (4, 3, 3), dtype=np.uint8)).read_bytes()


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 255)), min_size=1, max_size=6), st.floats(0, 1)
)
def test_whatever_the_bytes_it_is_an_array_or_a_data_error(part, tmp_path_factory, edits, keep):
    damaged = bytearray(part[: int(len(part) * keep)] if keep < 0.3 else part)
    for place, value in edits if damaged else ():
        damaged[place % len(damaged)] = value
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "a.parquet"
    path.write_bytes(damaged)
    try:
        images, _ = read_parts([path], Preparation(None, False, 1))
    except DataError as error:
        assert "a.parquet" in str(error)
    else:
        assert images.shape[1:] == (1, 3, 3)


# ── real data ────────────────────────────────────────────────────────────────────────────────────────


def test_real_bengali(real):
    task = load(real / "bengali")
    assert task.describe() == "bengali: 7,833 train, 2,000 test, 64x64x1, 18+3+2 classes"
    assert len(task.submission.ids) == 6000 and task.submission.ids[0] == "Test_0_consonant_diacritic"
    assert task.targets[2].classes == ("0", "virama")
    assert len(set(task.train.columns["grapheme"].tolist())) <= 63


def test_real_full_size(real):
    real = real / "bengali"
    task = load(real / "full_size_sample")
    assert task.train.images.shape == (200, 1, 137, 236)
    # the same drawings as in the 64x64 files, enlarged
    small, cut = (
        load(real, size=32, crop=True).train.images[:200],
        load(real / "full_size_sample", size=32, crop=True),
    )
    apart = np.abs(small.astype(int) - cut.train.images).mean(axis=(1, 2, 3))
    other = np.abs(small.astype(int) - cut.train.images[::-1]).mean(axis=(1, 2, 3))
    assert np.median(apart) < np.median(other) / 2
