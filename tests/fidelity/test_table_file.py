"""The file of a table: what it holds, and what is refused."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from fidelity_modules import module

from tune_digits.errors import RunError


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"no\.npz: missing"):
        module("table_file").read_table(tmp_path / "no.npz")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_is_refused(whole, tmp_path, part):
    path, content = tmp_path / "cut.npz", whole[1].read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(RunError, match=r"cut\.npz: damaged"):
        module("table_file").read_table(path)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_byte_that_was_changed_is_noticed(whole, tmp_path, place):
    content = bytearray(whole[1].read_bytes())
    with zipfile.ZipFile(whole[1]) as file:
        # within the packed content of a member; its name and size are further to the front
        inside = [i for i in file.infolist() if i.compress_size > 20]
        member = inside[int(place * len(inside))]
    content[member.header_offset + 30 + len(member.filename) + 20 + member.compress_size // 2] ^= 0xFF
    path = tmp_path / "changed.npz"
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"changed\.npz: damaged"):
        module("table_file").read_table(path)


@pytest.mark.parametrize("kind", ["0-0-0/loss", "0-1-1/off", "labels", "setting"])
def test_a_file_that_lacks_a_part_is_refused(whole, tmp_path, kind):
    arrays = dict(np.load(whole[1]))
    del arrays[kind]
    np.savez_compressed(tmp_path / "lacking.npz", **arrays)
    with pytest.raises(RunError, match=r"lacking\.npz: damaged"):
        module("table_file").read_table(tmp_path / "lacking.npz")


def test_a_part_of_another_shape_is_refused(whole, tmp_path):
    arrays = dict(np.load(whole[1]))
    arrays["1-0-1/off"] = arrays["1-0-1/off"][:, :1]
    np.savez_compressed(tmp_path / "short.npz", **arrays)
    with pytest.raises(RunError, match="off is"):
        module("table_file").read_table(tmp_path / "short.npz")


def test_the_setting_is_readable_by_anybody(whole):
    with np.load(whole[1]) as file:
        assert json.loads(str(file["setting"]))["lengths"] == [1, 2]
