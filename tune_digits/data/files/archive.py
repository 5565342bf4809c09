"""A competition's zip file as it was downloaded: unpacked once, and read as the folder that it holds.

A zip file with one CSV file inside, and nothing else that is data, is no archive here but a compressed CSV file
(`paths.open_bytes`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath

from tune_digits.data.files.image_files import is_image_name
from tune_digits.data.files.paths import readable
from tune_digits.data.files.progress import tell
from tune_digits.errors import DataError

VERSION = 1  # raise it when archives unpacked by an older version are no longer right
MOST_BYTES = 64 << 30  # of all files together
MOST_RATIO = (
    300  # bytes unpacked for each one packed; images of one colour alone come to more, and only in bombs
)
SMALL = 1 << 30  # bytes that are unpacked at any ratio
CHUNK = 1 << 24  # bytes written between two reports of progress
PARTS = ("train", "test", "val")  # folders that are a part of the data, and not the folder around all of it


@contextmanager
def as_folder(path: Path, cache_dir: Path | None) -> Iterator[Path]:
    """The folder, or the one file, that a zip archive holds; any other path as it is.

    It is unpacked into `cache_dir`, under a name made from its content, and stays there; without one into a temporary
    folder that is gone after the block. Archives inside are unpacked too, one level deep. In a DataError raised in the
    block the archive's own path stands for that folder.

    Raises DataError for an archive that is damaged, empty, locked, larger than MOST_BYTES or the free space, or packed
    more than MOST_RATIO times, and for one with a link or a place outside its folder.
    """
    with readable(path):
        archive = path.is_file() and is_archive(path)
    if not archive:
        yield path
        return
    with nullcontext(str(cache_dir)) if cache_dir is not None else tempfile.TemporaryDirectory() as place:
        with readable(path):
            top = _unpacked(path, Path(place))
        try:
            yield _data_in(top)
        except DataError as error:
            raise DataError(str(error).replace(str(top), str(path))) from error


def is_archive(path: Path) -> bool:
    """Whether a file is a zip file of several data files. Raises zipfile.BadZipFile."""
    if path.suffix.lower() != ".zip":
        return False
    with zipfile.ZipFile(path) as archive:
        names = [PurePosixPath(info.filename.lower()) for info in _files(archive)]
    data = [
        name for name in names if is_image_name(name.name) or name.suffix not in ("", ".txt", ".md", ".pdf")
    ]
    return not (len(data) == 1 and data[0].suffix == ".csv")


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files in an archive, without those that a Mac adds."""
    return [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX/")]


def _unpacked(path: Path, place: Path) -> Path:
    """The folder in `place` with the archive's files, named as the archive; made if it is not there yet."""
    with zipfile.ZipFile(path) as archive:
        # a checksum of each file is in the archive: no need to read the files
        content = [(info.filename, info.file_size, info.CRC) for info in _files(archive)]
    key = hashlib.sha256(repr((VERSION, content)).encode()).hexdigest()
    home = place / f"zip-{key[:32]}"
    if not home.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unpacking-", dir=place))
        try:
            _unpack(path, unfinished / path.stem, path)
            try:
                unfinished.rename(home)
            except OSError:
                if not home.is_dir():  # another process may have been first
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    (top,) = home.iterdir()
    return top


def _unpack(path: Path, folder: Path, shown: Path, depth: int = 2, before: int = 0) -> int:
    """Write the files of an archive into a folder, and those of archives inside. Returns the bytes written.

    shown: the path that messages name; depth: levels of archives; before: bytes written by others of the same archive.
    """
    with zipfile.ZipFile(path) as archive:
        files = _files(archive)
        for info in files:
            _refuse_unsafe(info, shown)
        total = sum(info.file_size for info in files)
        if not files:
            raise DataError(f"{shown} is empty: there are no files inside.")
        _refuse_too_large(total + before, folder.parent, shown)
        packed = path.stat().st_size
        if total > SMALL and total > MOST_RATIO * packed:
            raise DataError(
                f"{shown} has {packed / 2**20:,.1f} MiB and would become {total / 2**30:,.1f} GiB, more than "
                f"{MOST_RATIO} times as much: so are archives that are made to fill a disk. Unpack it yourself where "
                "you trust it, and give the folder."
            )
        done = 0
        for info in files:
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("xb") as file:
                while chunk := source.read(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    tell(shown.name, done / max(total, 1))
    if depth > 1:
        for inner in sorted(folder.rglob("*.zip")):
            if is_archive(inner):
                done += _unpack_inner(inner, shown, before + done)
    return done


def _unpack_inner(inner: Path, shown: Path, before: int) -> int:
    """Put the files of an archive inside an archive where a user would: into a folder of its name."""
    with zipfile.ZipFile(inner) as archive:
        tops = {PurePosixPath(info.filename).parts[0] for info in _files(archive)}
    folder = inner.parent if tops == {inner.stem} else inner.parent / inner.stem
    done = _unpack(inner, folder, shown / inner.name, depth=1, before=before)
    inner.unlink()
    return done


def _refuse_unsafe(info: zipfile.ZipInfo, shown: Path) -> None:
    name = info.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise DataError(
            f"{shown} has the file {name!r}, which would lie outside its folder: nothing was unpacked."
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(
            f"{shown} has the link {name!r}: nothing was unpacked. Unpack it yourself, and give the folder."
        )
    if info.flag_bits & 1:
        raise DataError(f"{shown} is locked with a password. Unpack it, and give the folder.")


def _refuse_too_large(total: int, place: Path, shown: Path) -> None:
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free
    for most, what in (
        (MOST_BYTES, "which is the most that is unpacked"),
        (free, f"which is free in {place}"),
    ):
        if total > most:
            raise DataError(
                f"{shown} holds {total / 2**30:,.1f} GiB, more than the {most / 2**30:,.1f} GiB {what}. Unpack it "
                f"elsewhere, and give the folder."
            )


def _data_in(top: Path) -> Path:
    """What lies in a folder: the one file, or what lies in the one folder, if there is nothing else; or the folder."""
    inside = [entry for entry in os.scandir(top) if not entry.name.startswith(".")]
    if len(inside) != 1 or inside[0].name in PARTS:
        return top
    return _data_in(Path(inside[0].path)) if inside[0].is_dir() else Path(inside[0].path)
