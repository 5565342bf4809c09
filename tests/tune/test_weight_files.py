"""Files of weights: each kind is read, nothing but tensors is taken from it, and what cannot be read is named."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tune_digits.config.network import WEIGHT_FILES
from tune_digits.errors import ConfigError
from tune_digits.tune.weight_files import read_weights

STATE = {"conv1.weight": torch.arange(54.0).view(2, 3, 3, 3), "fc.bias": torch.tensor([0.5, -1.5])}


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def write_gzipped(file: Path) -> None:
    file.write_bytes(gzip.compress(saved(STATE)))


WRITERS: dict[str, Callable[[Path], None]] = {
    ".safetensors": lambda file: save_file(STATE, file),
    ".pt": lambda file: file.write_bytes(saved(STATE)),
    ".pth": lambda file: file.write_bytes(saved(STATE)),
    ".pt.gz": write_gzipped,
    ".pth.gz": write_gzipped,
}


@pytest.mark.parametrize("ending", WEIGHT_FILES)
def test_each_kind_of_file_is_read(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"resnet50-0.1{ending}"
    WRITERS[ending](file)
    torch.testing.assert_close(read_weights(file), STATE, rtol=0, atol=0)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_tensors_may_lie_beside_other_parts_of_a_checkpoint(tmp_path: Path, key: str) -> None:
    (tmp_path / "w.pth").write_bytes(saved({"epoch": 3, key: STATE, "optimizer": {"lr": 0.1}}))
    torch.testing.assert_close(read_weights(tmp_path / "w.pth"), STATE, rtol=0, atol=0)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    whole = saved({"fc.weight": torch.zeros(2, 2), "model": torch.nn.Linear(2, 2)})
    contents = {
        # a pickled object could run code when it is read
        "code.pt": (whole, r"alone \(.*GLOBAL torch\.nn.*\)\. Where a whole model was .*state_dict"),
        "code.pt.gz": (gzip.compress(whole), "cannot be read as tensors alone"),
        "not-zipped.pt.gz": (saved(STATE), "Not a gzipped file"),
        "short.pth.gz": (gzip.compress(saved(STATE))[:-200], "cannot be read"),
        "short.pt": (saved(STATE)[:-200], "cannot be read"),
        "bad.safetensors": (b"no", "cannot be read"),
        "nothing.pt": (b"", "cannot be read"),
        "numbers.pt": (saved({"epoch": 3}), "holds no named tensors"),
        "list.pt": (saved([torch.zeros(2)]), "holds no named tensors"),
        "w.h5": (b"", r"ends in one of \.safetensors, \.pt"),
    }
    for name, (content, words) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=rf"model\.weights: .*{name}: .*{words}"):
            read_weights(tmp_path / name)
    # whatever byte is damaged, it is read or refused
    file = tmp_path / "flipped.pt"
    for at in range(0, len(saved(STATE)), 7):
        content = bytearray(saved(STATE))
        content[at] ^= 0x9B
        file.write_bytes(content)
        with contextlib.suppress(ConfigError):
            read_weights(file)
    with pytest.raises(ConfigError, match=r"none\.pt: cannot be read"):
        read_weights(tmp_path / "none.pt")
