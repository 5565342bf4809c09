"""One command at a time writes into a run folder.

The lock is the system's own (flock) on the file `lock` there, so that a command that is killed holds it no longer. The
file says who holds it: for the message that the second command gives.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tune_digits.disk import storage_error
from tune_digits.errors import RunError

LOCK = "lock"
OPTUNA_LOCK = "optuna.journal.lock"  # a link of Optuna's, which stays behind where its writer is killed
# what flock says on file systems without locks
_WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def hold(folder: Path, command: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Within the block, no other command that asks writes into the run folder.

    command: how this one was called, for the message of others. On a file system without locks, `warn` is told so and
    the block runs. Raises RunError, naming the process, where another one holds the folder, and StorageError where the
    folder cannot be written.
    """
    with _open(folder) as file:
        locked = _lock(file, folder, warn)
        if locked:
            # Optuna waits 30 s for the link of a killed writer, and nobody else writes now
            (folder / OPTUNA_LOCK).unlink(missing_ok=True)
        _write(file, {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": _now()})
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # on a full disk, the next holder writes over it
                _write(file, None)


def holder(folder: Path) -> str | None:
    """Who writes into the run folder now, in words; None where nobody does."""
    try:
        with (folder / LOCK).open("r+", encoding="utf-8") as file:
            return _described(file) if not _try(file) else None
    except OSError:  # there is no such file, or the folder is read-only or on a file system without locks
        return None


def _open(folder: Path) -> IO[str]:
    path = folder / LOCK
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")
    except OSError as error:
        raise storage_error(error, path) or error from None


def _lock(file: IO[str], folder: Path, warn: Callable[[str], None]) -> bool:
    """Whether there is a lock on this file system, which the file then has. Raises RunError."""
    try:
        if _try(file):
            return True
    except (OSError, ImportError) as error:
        if isinstance(error, OSError) and error.errno not in _WITHOUT:
            raise
        warn(
            f"{folder}: its file system has no locks ({error}), so a second command here would not be noticed: start "
            "none before this one has ended"
        )
        return False
    raise RunError(
        f"{folder}: {_described(file)} writes into it. Wait until that has ended, or stop it; reading (predict, "
        "TensorBoard, tune-digits check) is possible meanwhile"
    )


def _try(file: IO[str]) -> bool:
    """Take the lock; False where another process has it."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _described(file: IO[str]) -> str:
    try:
        file.seek(0)
        told = json.loads(file.read())
        return (
            f"process {told['pid']} on {told['host']} (since {told['since']}, called as: {told['command']})"
        )
    except (ValueError, KeyError, TypeError):  # it has the lock, and has not written its name yet
        return "another process"


def _write(file: IO[str], told: dict[str, object] | None) -> None:
    file.seek(0)
    file.truncate()
    if told is not None:
        json.dump(told, file)
    file.flush()


def _now() -> str:
    return time.strftime("%F %T")
