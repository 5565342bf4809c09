import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from tune_digits.data.files import pixel_csv
from tune_digits.data.files.cache import cached
from tune_digits.data.files.pixel_csv import read_pixel_csv

IMAGES = np.arange(24, dtype=np.uint8).reshape(6, 1, 2, 2)
COLUMNS = {"label": np.array(list("aabbcc")), "odd/name ": np.array(["x", "", "long text", "ü", "5", "6"])}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.csv"
    path.write_text("content")
    return path


@pytest.fixture
def parse():
    """A parser that counts its calls."""

    def parser(path):
        parser.calls += 1
        return IMAGES, COLUMNS

    parser.calls = 0
    return parser


def same(parsed):
    images, columns = parsed
    np.testing.assert_array_equal(images, IMAGES)
    assert images.dtype == np.uint8 and type(images) is np.ndarray
    assert list(columns) == list(COLUMNS)
    for name in COLUMNS:
        np.testing.assert_array_equal(columns[name], COLUMNS[name])


def test_second_read_does_not_parse(source, parse, tmp_path):
    for _ in range(3):
        same(cached(source, "r-1", tmp_path / "deep" / "cache", parse))
    assert parse.calls == 1


def test_without_a_folder_nothing_is_kept(source, parse, tmp_path):
    same(cached(source, "r-1", None, parse))
    same(cached(source, "r-1", None, parse))
    assert parse.calls == 2 and list(tmp_path.iterdir()) == [source]


def test_key_is_content_and_reader(source, parse, tmp_path):
    cached(source, "r-1", tmp_path / "cache", parse)
    cached(source.rename(tmp_path / "renamed.csv"), "r-1", tmp_path / "cache", parse)
    assert parse.calls == 1
    cached(tmp_path / "renamed.csv", "r-2", tmp_path / "cache", parse)
    assert parse.calls == 2
    source.write_text("other content")
    cached(source, "r-1", tmp_path / "cache", parse)
    assert parse.calls == 3


def test_writing_to_cached_images_leaves_the_cache_alone(source, parse, tmp_path):
    cached(source, "r-1", tmp_path / "cache", parse)
    images, _ = cached(source, "r-1", tmp_path / "cache", parse)
    images[:] = 0
    same(cached(source, "r-1", tmp_path / "cache", parse))
    assert parse.calls == 1


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "replaced"])
def test_damaged_entry_is_rebuilt(source, parse, tmp_path, caplog, suffix, damage):
    cache = tmp_path / "cache"
    cached(source, "r-1", cache, parse)
    (file,) = cache.glob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        middle = content.index(b"aabb"[:1], 200) if suffix == ".npz" else len(content) - 3
        content[middle] ^= 1
    file.write_bytes(
        {"cut": content[:-20], "emptied": b"", "flipped": content, "replaced": b"nonsense"}[damage]
    )
    with caplog.at_level(logging.WARNING, "tune_digits"):
        same(cached(source, "r-1", cache, parse))
    assert parse.calls == 2 and "damaged" in caplog.text
    same(cached(source, "r-1", cache, parse))
    assert parse.calls == 2


def test_half_an_entry_is_completed(source, parse, tmp_path):
    cached(source, "r-1", tmp_path / "cache", parse)
    for file in list((tmp_path / "cache").iterdir()):
        file.unlink()
        same(cached(source, "r-1", tmp_path / "cache", parse))
    assert parse.calls == 3


def test_cache_that_cannot_be_written(source, parse, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, "tune_digits"):
        same(cached(source, "r-1", tmp_path / "cache", parse))
    assert "Cannot keep" in caplog.text


def test_failed_parse_keeps_nothing(source, tmp_path):
    def fail(path):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cached(source, "r-1", tmp_path / "cache", fail)
    assert not (tmp_path / "cache").exists()


def test_pixel_table_from_the_cache_is_the_same(tmp_path, write_csv, make_table, monkeypatch):
    path = write_csv(tmp_path / "train.csv.gz", make_table(30, 3))
    parsed, kept, again = (read_pixel_csv(path, folder) for folder in (None, tmp_path / "c", tmp_path / "c"))
    for other in (kept, again):
        np.testing.assert_array_equal(other.images, parsed.images)
        np.testing.assert_array_equal(other.labels, parsed.labels)
    # A read that parses would write the entry anew.
    before = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "c").iterdir()}
    read_pixel_csv(path, tmp_path / "c")
    assert before == {f.name: f.stat().st_mtime_ns for f in (tmp_path / "c").iterdir()}
    assert len(before) == 2
    monkeypatch.setattr(pixel_csv, "READER", "pixel_csv-later")
    read_pixel_csv(path, tmp_path / "c")
    assert len(list((tmp_path / "c").iterdir())) == 4


def test_two_processes_at_once(tmp_path, write_csv, make_table):
    path = write_csv(tmp_path / "train.csv.gz", make_table(3000, 8))
    code = (
        "import sys; from pathlib import Path; from tune_digits.data.files.pixel_csv import read_pixel_csv;"
        "print(read_pixel_csv(Path(sys.argv[1]), Path(sys.argv[2])).images.astype('int64').sum())"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "cache")]
    pipes = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    }
    runs = [subprocess.Popen(command, **pipes) for _ in range(2)]
    results = [run.communicate(timeout=60) for run in runs]
    expected = f"{read_pixel_csv(path).images.astype('int64').sum()}\n"
    assert [answer for answer, _ in results] == [expected] * 2
    assert not any("Traceback" in errors for _, errors in results)
    assert sorted(f.suffix for f in (tmp_path / "cache").iterdir()) == [".npy", ".npz"]
