"""Zip files as Kaggle serves them: read as they are, in every format, and refused where they are not what they seem."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import table, text, write, write_kannada

from tune_digits.config import Cv
from tune_digits.data.files import archive
from tune_digits.data.files.archive import as_folder
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_labelled, load_task, load_unlabelled
from tune_digits.data.options import DataOptions
from tune_digits.data.readers import READERS

TABLES = {"train.csv": text(table(30, 3)), "test.csv": text(table(4, 3, first="id"))}
IN_FOLDERS = [name for name in READERS if name not in ("digits", "torchvision")]


def packed(folder: Path, path: Path, prefix: str = "") -> Path:
    """A zip file of all that is in a folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for inner in sorted(folder.rglob("*")):
            file.write(inner, prefix + inner.relative_to(folder).as_posix())
    return path


def zip_of(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def fingerprint(path: Path, cache: Path | None = None, **options: object) -> str:
    return load_task(Auto(path=str(path), **options), Cv(), cache).fingerprint


@pytest.mark.parametrize("prefix", ["", "all of it/"], ids=["flat", "in a folder"])
@pytest.mark.parametrize("name", IN_FOLDERS)
def test_an_archive_of_every_format_is_read_as_its_folder(
    name: str, prefix: str, sample_of: Callable[[str], DataOptions], tmp_path: Path
) -> None:
    options = sample_of(name)
    assert options.path is not None
    place = Path(options.path)
    folder = place if place.is_dir() else place.parent
    path = packed(folder, tmp_path / "some-competition.zip", prefix)
    plain, zipped = load_task(options, Cv()), load_task(options.model_copy(update={"path": str(path)}), Cv())
    assert zipped.fingerprint == plain.fingerprint
    own = "all of it" if prefix else "some-competition"
    assert zipped.name == (own if place.is_dir() else plain.name)
    assert list(zipped.holdouts) == list(plain.holdouts)
    assert fingerprint(path, tmp_path / "cache", **options.given()) == plain.fingerprint
    assert plain.test is not None
    images, _ = load_unlabelled(path, plain.test.images.shape[1:], plain.test.targets, None, options)
    np.testing.assert_array_equal(images, plain.test.images)


@pytest.fixture
def competition(tmp_path: Path) -> Path:
    return packed(write_kannada(tmp_path / "plain"), tmp_path / "kannada.zip")


def test_it_is_unpacked_once_and_again_when_it_changes(
    competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, unpacked = tmp_path / "cache", []
    original = archive._unpack
    monkeypatch.setattr(archive, "_unpack", lambda *args: unpacked.append(args[0]) or original(*args))
    first = fingerprint(competition, cache)
    assert fingerprint(competition, cache) == first == fingerprint(tmp_path / "plain")
    assert unpacked == [competition]
    assert fingerprint(competition.rename(tmp_path / "other.zip"), cache) == first
    assert unpacked == [competition]
    assert not list(cache.glob("unpacking-*"))


def test_a_changed_archive_of_the_same_size_is_unpacked_again(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", TABLES)
    first = fingerprint(path, tmp_path / "cache")
    zip_of(path, TABLES | {"train.csv": TABLES["train.csv"].replace("\n0,", "\n1,", 1)})
    assert fingerprint(path, tmp_path / "cache") != first


def test_without_a_cache_nothing_stays(competition: Path, tmp_path: Path) -> None:
    with as_folder(competition, None) as folder:
        assert (folder / "train.csv.gz").is_file()
    assert not folder.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kannada.zip", "plain"]


def test_extra_sets_and_labelled_images_may_be_archives(tmp_path: Path) -> None:
    plain = write_kannada(tmp_path / "plain")
    further = {"train.csv": text(table(8, 3, classes=3, seed=5)), "test.csv": text(table(2, 3, first="id"))}
    path = zip_of(tmp_path / "further.zip", further)
    task = load_task(Auto(path=str(plain), extra=({"path": str(path)},)), Cv())
    assert len(task.holdouts["further"]) == 8
    labelled = load_labelled(path, (1, 3, 3), task.targets)
    np.testing.assert_array_equal(labelled.images, task.holdouts["further"].images)


@pytest.mark.parametrize("inner", ["images.zip", "train/images.zip"])
@pytest.mark.parametrize("prefix", ["", "images/"], ids=["flat", "in its folder"])
def test_archives_inside_are_unpacked_where_one_would(tmp_path: Path, inner: str, prefix: str) -> None:
    within = zip_of(tmp_path / "inner.zip", {f"{prefix}{name}": name for name in ("a.png", "b.png")})
    tables = {"train.csv.zip": write(tmp_path / "train.csv.zip", table(4)).read_bytes(), "notes.txt": "a"}
    path = zip_of(tmp_path / "outer.zip", {inner: within.read_bytes(), **tables})
    with as_folder(path, tmp_path / "cache") as folder:
        found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    stem = inner.removesuffix(".zip")
    # a zip file with one CSV file inside stays as it is: readers take it for a CSV file
    assert found == sorted([f"{stem}/a.png", f"{stem}/b.png", "notes.txt", "train.csv.zip"])


def test_a_zip_file_with_one_csv_file_is_that_file(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv.zip", table(30, 3))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("readme.txt", "hello")
        file.writestr("__MACOSX/train.csv", "x")
    with as_folder(path, None) as same:
        assert same == path
    assert len(load_task(Auto(path=str(path)), Cv()).train) == 30


def test_progress_is_told_in_bytes(competition: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CHUNK", 50)
    told: list[tuple[str, float]] = []
    load_task(Auto(path=str(competition)), Cv(), each=lambda name, fraction: told.append((name, fraction)))
    own = [fraction for name, fraction in told if name == "kannada.zip"]
    assert len(own) > 5
    assert own == sorted(own)
    assert own[-1] == 1


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name", ["../out.csv", "/tmp/out.csv", "a/../../out.csv", "..\\out.csv", "C:\\out.csv"]
)
def test_a_file_outside_the_folder(tmp_path: Path, refuses: Callable[..., None], name: str) -> None:
    path = zip_of(tmp_path / "a.zip", TABLES)
    with zipfile.ZipFile(path, "a") as file:
        info = zipfile.ZipInfo("x")
        info.filename = name
        file.writestr(info, "x")
    refuses(lambda: fingerprint(path), "a.zip has the file", "outside its folder", "nothing was unpacked")
    inner = zip_of(tmp_path / "b.zip", {"train.csv": TABLES["train.csv"], "in.zip": path.read_bytes()})
    refuses(lambda: fingerprint(inner), "b.zip/in.zip has the file", "outside its folder")


def test_a_link(tmp_path: Path, refuses: Callable[..., None]) -> None:
    path = zip_of(tmp_path / "a.zip", TABLES)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link("extra.csv"), "/etc/passwd")
    refuses(lambda: fingerprint(path), "a.zip has the link 'extra.csv'", "give the folder")


def test_an_archive_that_is_too_large(
    tmp_path: Path, refuses: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zip_of(tmp_path / "a.zip", TABLES)
    size = sum(map(len, TABLES.values()))
    monkeypatch.setattr(archive, "MOST_BYTES", size)
    fingerprint(path)
    monkeypatch.setattr(archive, "MOST_BYTES", size - 1)
    refuses(lambda: fingerprint(path), "a.zip holds", "the most that is unpacked", "give the folder")
    inner = zip_of(tmp_path / "in.zip", {"a.png": bytes(60)})
    nested = zip_of(tmp_path / "b.zip", {**TABLES, "images.zip": inner.read_bytes()})
    size += inner.stat().st_size
    monkeypatch.setattr(archive, "MOST_BYTES", size + 60)
    with as_folder(nested, None) as folder:
        assert (folder / "images/a.png").is_file()
    monkeypatch.setattr(archive, "MOST_BYTES", size + 59)
    refuses(lambda: fingerprint(nested), "b.zip", "the most that is unpacked")
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 40)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 10}))
    refuses(lambda: fingerprint(path), "a.zip holds", "which is free in")


def test_an_archive_that_is_made_to_fill_a_disk(
    tmp_path: Path, refuses: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {**TABLES, "zeros.png": bytes(3_000_000)}.items():
            file.writestr(name, content)
    fingerprint(path)  # a few bytes may be packed as well as can be
    monkeypatch.setattr(archive, "SMALL", 1_000_000)
    refuses(lambda: fingerprint(path), "a.zip has", "more than 300 times as much", "give the folder")


def test_damaged_empty_and_locked_archives(tmp_path: Path, refuses: Callable[..., None]) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"no zip file")
    refuses(lambda: fingerprint(path), "a.zip is cut short, damaged, or not a zip file")
    zip_of(path, {})
    refuses(lambda: fingerprint(path), "a.zip is empty")
    zip_of(path, TABLES)
    whole = bytearray(path.read_bytes())
    whole[60] ^= 255  # a byte of the first file
    path.write_bytes(whole)
    (tmp_path / "cache").mkdir()
    refuses(lambda: fingerprint(path, tmp_path / "cache"), "a.zip is cut short, damaged")
    assert not list((tmp_path / "cache").iterdir())
    zip_of(path, TABLES)
    whole = bytearray(path.read_bytes())
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(header) + offset] |= 1
    path.write_bytes(whole)
    refuses(lambda: fingerprint(path), "a.zip is locked with a password")


def test_what_was_seen_is_listed_and_files_are_named_inside_the_archive(
    tmp_path: Path, refuses: Callable[..., None]
) -> None:
    path = zip_of(tmp_path / "a.zip", {"weights.bin": "x", "notes/readme.txt": "y"})
    refuses(lambda: fingerprint(path), f"the folder {path}, which has: notes/, weights.bin")
    broken = text(table(30, 3)).replace("\n", "\nx", 5)
    path = zip_of(tmp_path / "b.zip", {"train.csv": broken, "test.csv": TABLES["test.csv"]})
    refuses(lambda: fingerprint(path), f"{path}/train.csv")
