"""Where a Ray of our own keeps its sockets, logs and spilled objects: a folder with nothing else in it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from tune_digits.errors import RunError

VARIABLE = "TUNE_DIGITS_RAY_TMP"
MOST_LETTERS = 40  # the path of a socket below it has 107 at most


def ray_folder() -> Path:
    """The folder, readable by this user alone. `TUNE_DIGITS_RAY_TMP` names another than the one in the system's
    temporary folder. Raises RunError where it belongs to somebody else or has too long a name."""
    given = os.environ.get(VARIABLE)
    owner = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(given).resolve() if given else Path(tempfile.gettempdir()) / f"tune_digits-{owner}"
    if len(str(folder)) > MOST_LETTERS:
        raise RunError(
            f"{folder}: is too long a path for Ray's sockets ({MOST_LETTERS} letters at most); name a short one with "
            f"{VARIABLE}"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (owner is not None and found.st_uid != owner):
        raise RunError(
            f"{folder}: belongs to another user, who could change what Ray runs; name another with {VARIABLE}"
        )
    return folder


def dead_sessions() -> list[Path]:
    """The folders of those of our Rays of which no process is left."""
    import psutil

    sessions = [path for path in sorted(ray_folder().glob("session_*")) if not path.is_symlink()]
    if not sessions:
        return []
    running = "\n".join(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    # a session is called by its time and the number of the process that started it
    return [
        path
        for path in sessions
        if path.name not in running and not psutil.pid_exists(int(path.name.rpartition("_")[2]))
    ]
