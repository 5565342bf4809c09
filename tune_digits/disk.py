"""Files written whole or not at all: a reader never sees half of one, and a killed process leaves the previous one.

Nothing here needs pickle.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_digits.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises RunError, naming the file, where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: missing") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: damaged ({error})") from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Torch tensors and JSON values in one safetensors file."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        # safetensors stores a tensor's memory in order, so channels-innermost weights are laid out plainly
        save_file(
            {k: v.cpu().contiguous() for k, v in tensors.items()}, temporary, {"meta": json.dumps(meta)}
        )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """What `write_tensors` wrote. Raises RunError, naming the file, where it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["meta"])  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"{path}: missing") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(f"{path}: damaged ({error}); delete it to train that part again") from None


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
