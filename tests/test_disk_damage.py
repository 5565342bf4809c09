"""Damage is named whatever bit it hits, a full disk leaves what was there, and what is renamed was flushed before."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_disk import files_of_at_most

from tune_digits import disk
from tune_digits.errors import RunError, StorageError

VALUE = {"score": 0.9175, "name": "ä", "nested": {"nan": float("inf"), "list": [1, None, True]}}
TENSORS = {
    "w": torch.arange(6.0).reshape(2, 3),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "n": torch.tensor(3),
}
ARRAYS = {"x": np.arange(5), "names": np.array(["a", "bc"])}


def write_arrays(path: Path) -> None:
    disk.write_arrays(path, **ARRAYS)


def read_arrays(path: Path) -> Any:
    return {
        name: array.tolist() for name, array in disk.read_arrays(path, [*ARRAYS], "write it again").items()
    }


def write_tensors(path: Path) -> None:
    disk.write_tensors(path, TENSORS, {"step": 2})


def read_tensors(path: Path) -> Any:
    tensors, meta = disk.read_tensors(path)
    return {name: (str(t.dtype), t.tolist()) for name, t in tensors.items()}, meta


def write_json(path: Path) -> None:
    disk.write_json(path, VALUE)


FORMS = pytest.mark.parametrize(
    ("write", "read"),
    [(write_json, disk.read_json), (write_arrays, read_arrays), (write_tensors, read_tensors)],
    ids=["json", "npz", "safetensors"],
)
Write, Read = Callable[[Path], None], Callable[[Path], Any]


@FORMS
def test_no_flipped_bit_gives_another_value(tmp_path: Path, write: Write, read: Read) -> None:
    path = tmp_path / "file"
    write(path)
    whole, expected = path.read_bytes(), read(path)
    refused = 0
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert read(path) == expected, f"the bit {place % 8} of byte {place} was not seen"
        except RunError as error:
            assert str(error).startswith(f"{path}: damaged (")
            refused += 1
    assert (
        refused > len(whole) / 3
    )  # the others are in what nobody reads: times, spaces, the name of the checksum


@FORMS
def test_no_file_that_is_cut_short_is_read(tmp_path: Path, write: Write, read: Read) -> None:
    path = tmp_path / "file"
    write(path)
    whole, expected = path.read_bytes(), read(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            assert read(path) == expected and whole[length:].isspace()
        except RunError as error:
            assert str(error).startswith(f"{path}: damaged (")


@FORMS
def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path: Path, write: Write, read: Read) -> None:
    path = tmp_path / "file"
    write(path)
    before = read(path)
    with files_of_at_most(50), pytest.raises(StorageError, match=r"the disk is full .* Make space"):
        write(path)
    assert read(path) == before
    assert list(tmp_path.iterdir()) == [path]
    write(path)  # and it goes on when there is space


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_what_the_system_refuses_to_write_is_said_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    told = "is full" if number in (errno.ENOSPC, errno.EDQUOT) else "is read-only for you"
    with pytest.raises(StorageError, match=rf"a\.json: cannot be written: .*{told}"):
        disk.write_json(tmp_path / "a.json", {})
    assert not list(tmp_path.iterdir())


def test_another_error_of_the_system_is_raised_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileExistsError):
        disk.write_json(tmp_path / "file/a.json", {})


def test_content_is_on_the_disk_before_the_new_name_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(opened: int) -> None:
        seen.append("folder" if stat.S_ISDIR(os.fstat(opened).st_mode) else "file")
        fsync(opened)

    def note_replace(a: Path, b: Path) -> None:
        seen.append("replace")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    disk.write_json(tmp_path / "a.json", VALUE)
    assert seen == ["file", "replace", "folder"]
    seen.clear()
    disk.write_json(tmp_path / "one/two/a.json", VALUE)  # two new folders are known to those above them
    assert seen == ["folder", "folder", "file", "replace", "folder"]


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(opened: int) -> None:
        raise OSError(errno.EINVAL, "not here")

    monkeypatch.setattr(os, "fsync", refuse)
    disk.write_json(tmp_path / "a.json", VALUE)
    assert disk.read_json(tmp_path / "a.json") == VALUE


def test_files_without_a_checksum_are_read(tmp_path: Path) -> None:
    """They are of older versions of this package."""
    from safetensors.torch import save_file

    (tmp_path / "a.json").write_text('{"a": 1}')
    assert disk.read_json(tmp_path / "a.json") == {"a": 1}
    save_file(TENSORS, tmp_path / "w.safetensors", {"meta": '{"step": 2}'})
    assert disk.read_tensors(tmp_path / "w.safetensors")[1] == {"step": 2}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"members": [], "members": ["../../a"]}', "the key 'members' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "checksum": "crc32:00000000"}', "its checksum does not fit"),
    ],
)
def test_hostile_json_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RunError, match=rf"a\.json: damaged \(.*{told}"):
        disk.read_json(tmp_path / "a.json")


def test_json_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(disk.MOST_JSON + 1)  # a hole: it takes no space
    with pytest.raises(RunError, match=r"a\.json: is larger than 256 MiB"):
        disk.read_json(tmp_path / "a.json")


def test_a_safetensors_header_of_gigabytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "w.safetensors").open("wb") as file:
        file.write((10 << 30).to_bytes(8, "little"))
        file.truncate(11 << 30)
    with pytest.raises(RunError, match=r"w\.safetensors: damaged"):
        disk.read_tensors(tmp_path / "w.safetensors")


def test_arrays_that_say_that_they_are_gigabytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.write_arrays(tmp_path / "a.npz", x=np.zeros(100_000))
    monkeypatch.setattr(disk, "MOST_ARRAYS", 100_000)
    with pytest.raises(RunError, match=r"a\.npz: damaged \(it says that it holds"):
        disk.read_arrays(tmp_path / "a.npz", ["x"], "")


def test_the_checksum_is_the_last_key_and_not_part_of_the_value(tmp_path: Path) -> None:
    disk.write_json(tmp_path / "a.json", VALUE)
    assert list(json.loads((tmp_path / "a.json").read_text()))[-1] == "checksum"
    assert disk.read_json(tmp_path / "a.json") == VALUE
