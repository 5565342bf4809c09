"""Files written whole or not at all: a reader never sees half of one, and a killed process leaves the previous one.

What is renamed was flushed to the disk before, and the folder after, so that a power failure leaves the old file or the
new one too. JSON objects and tensors carry a checksum, and NumPy's archives have one of each array: what was changed
after it was written is an error that names the file. Files of older versions have no checksum, and are read without.

Nothing here needs pickle.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_digits.errors import RunError, StorageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CHECKSUM = "checksum"  # the key of it, in a JSON object and in the metadata of tensors
KIND = "crc32:"
ALTERED = "its checksum does not fit its content: it was changed after it was written"
MOST_JSON = 256 << 20  # bytes of one JSON file
MOST_ARRAYS = 64 << 30  # bytes of all arrays of one file
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def storage_error(error: OSError, path: Path | str | None = None) -> StorageError | None:
    """What a failed writing means in words; None where `error` says neither that a disk is full nor that writing is
    not allowed. path: what should be written; None = what the error names."""
    place = path or error.filename or "a file"
    if error.errno in _FULL:
        return StorageError(
            f"{place}: cannot be written: the disk is full ({error.strerror}). What was written before is whole. Make "
            "space (tune-digits clean says what a run can spare), and give the same command again; a search goes on "
            "with --resume"
        )
    if error.errno in _FORBIDDEN:
        return StorageError(
            f"{place}: cannot be written: {error.strerror}. The folder or the disk is read-only for you; name another "
            "place, or allow writing there"
        )
    return None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    Raises StorageError where the disk is full or writing is not allowed; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        make_folder(path.parent)
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    except OSError as error:
        raise storage_error(error, path) or error from None
    finally:
        with contextlib.suppress(OSError):  # on a disk that cannot be written there is none
            temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Return when a file's content, or a folder's entries, are on the disk and not in the system's memory alone."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    opened = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems flush no folders
            raise
    finally:
        os.close(opened)


def make_folder(folder: Path) -> None:
    """A folder and those above it, where they are missing, each known to the disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its checksum as the last key."""
    return {**value, CHECKSUM: _checksum_of_json(value)}


def unsealed(text: str) -> Any:
    """The JSON value of a text, without its checksum. Raises ValueError where it is damaged or a key stands twice."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(value, dict) and value:
        key, last = value.popitem()
        if key == CHECKSUM and last == _checksum_of_json(value):
            return value
        if key == CHECKSUM or (isinstance(last, str) and last.startswith(KIND)):
            raise ValueError(ALTERED)
        value[key] = last
    return value


def _checksum_of_json(value: Mapping[str, Any]) -> str:
    return _written(zlib.crc32(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")))


def _written(crc: int) -> str:
    return f"{KIND}{crc:08x}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return value


def write_json(path: Path, value: Any) -> None:
    """An object gets its checksum as the last key; other values are written as they are."""
    value = sealed(value) if isinstance(value, Mapping) else value
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """What `write_json` wrote. Raises RunError, naming the file, where it is missing or damaged."""
    try:
        if path.stat().st_size > MOST_JSON:
            raise RunError(f"{path}: is larger than {MOST_JSON >> 20} MiB, and is not read")
        return unsealed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: missing") from None
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error})") from None


# ── arrays and tensors ───────────────────────────────────────────────────────────────────────────────


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """NumPy arrays by name in one compressed .npz file, which has a checksum of each."""
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path, names: Sequence[str], remedy: str) -> dict[str, np.ndarray]:
    """The arrays of these names in an .npz file. Raises RunError, naming the file, where it is missing, damaged or too
    large.

    remedy: what the message says to do about damage.
    """
    import numpy as np

    try:
        # opened here: NumPy leaves a damaged archive open
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > MOST_ARRAYS:
                raise ValueError(f"it says that it holds {size / 2**30:,.0f} GiB")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise RunError(f"{path}: missing") from None
    # what is raised of a damaged archive depends on where it is damaged; NotImplementedError is a RuntimeError
    except (
        *(OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError, MemoryError, OverflowError),
        *(struct.error, zlib.error, zipfile.BadZipFile),
    ) as error:
        raise RunError(f"{path}: damaged ({error}); {remedy}") from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Torch tensors and JSON values in one safetensors file, with a checksum of both."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # safetensors stores a tensor's memory in order, so channels-innermost weights are laid out plainly
    plain = {k: v.cpu().contiguous() for k, v in tensors.items()}
    text = json.dumps(meta)
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, {"meta": text, CHECKSUM: _checksum_of_tensors(plain, text)})
        except SafetensorError as error:  # it gives the system's error as text
            for number in (*_FULL, *_FORBIDDEN):
                if f"os error {number})" in str(error):
                    raise OSError(number, os.strerror(number)) from None
            raise


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """What `write_tensors` wrote. Raises RunError, naming the file, where it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
            about = file.metadata()
            text = about["meta"]
            if CHECKSUM in about and about[CHECKSUM] != _checksum_of_tensors(tensors, text):
                raise ValueError(ALTERED)
            return tensors, json.loads(text)
    except FileNotFoundError:
        raise RunError(f"{path}: missing") from None
    # what safetensors raises of a damaged file depends on where it is damaged
    except (SafetensorError, LookupError, TypeError, ValueError, OSError, RuntimeError, MemoryError) as error:
        raise RunError(f"{path}: damaged ({error}); delete it to train that part again") from None


def _checksum_of_tensors(tensors: Mapping[str, Tensor], text: str) -> str:
    """Of names, types, shapes and content, on the CPU and laid out plainly, and of the text beside them."""
    import torch

    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.detach().reshape(-1).view(torch.uint8).numpy().data, crc)
    return _written(crc)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
