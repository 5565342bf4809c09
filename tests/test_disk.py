"""Files are written whole or not at all, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tune_digits.disk import read_json, read_tensors, replacing, write_json, write_tensors
from tune_digits.errors import RunError


def test_a_reader_sees_the_old_file_or_the_new_one_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    before = path.stat().st_ino
    with path.open() as reader:  # a reader that came before keeps what it opened
        write_json(path, {"a": 2})
        assert json.load(reader)["a"] == 1
    assert path.stat().st_ino != before
    assert read_json(path) == {"a": 2}
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent  # on the same file system
        1 / 0  # noqa: B018
    assert read_json(path) == {"a": 2}
    assert list(path.parent.iterdir()) == [path]


def test_tensors_come_back_with_their_values_and_meta(tmp_path: Path) -> None:
    weights = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    write_tensors(tmp_path / "w.safetensors", {"w": weights, "n": torch.tensor(3)}, {"epoch": 2})
    tensors, meta = read_tensors(tmp_path / "w.safetensors")
    assert torch.equal(tensors["w"], weights)
    assert tensors["n"] == 3
    assert meta == {"epoch": 2}


@pytest.mark.parametrize(("read", "name"), [(read_json, "f.json"), (read_tensors, "f.safetensors")])
def test_missing_and_damaged_files_are_named(tmp_path: Path, read, name: str) -> None:
    with pytest.raises(RunError, match=rf"{name}: missing"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b"{\xff")
    with pytest.raises(RunError, match=rf"{name}: damaged"):
        read(tmp_path / name)
