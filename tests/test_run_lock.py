"""Two commands in one run folder: the second one refuses and names the first; a killed one holds nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tune_digits.errors import RunError, StorageError
from tune_digits.run_lock import LOCK, OPTUNA_LOCK, hold, holder

fcntl = pytest.importorskip("fcntl", reason="Windows has no flock")
HOLD = """
import sys, time
from pathlib import Path
from tune_digits.run_lock import hold
with hold(Path(sys.argv[1]), "search --space a b", print):
    print("held", flush=True)
    time.sleep(60)
"""


def nobody(text: str) -> None:
    raise AssertionError(text)


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_command_names_the_first_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        with (
            pytest.raises(
                RunError, match=rf"process {process.pid} on .*\(since 20.*called as: search --space a b\)"
            ),
            hold(tmp_path, "ensemble", nobody),
        ):
            pass
        assert f"process {process.pid} " in str(holder(tmp_path))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert holder(tmp_path) is None
        with hold(tmp_path, "ensemble", nobody):
            assert f"process {os.getpid()} " in (holder(tmp_path) or "")


def test_nothing_is_said_of_a_command_that_has_ended(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path, "search", nobody):
        1 / 0  # noqa: B018
    assert holder(tmp_path) is None
    assert (tmp_path / LOCK).read_text() == ""
    with hold(tmp_path, "search", nobody), pytest.raises(RunError, match="called as: search"):  # noqa: SIM117
        with hold(tmp_path, "search again", nobody):
            pass


def test_the_lock_that_optuna_left_behind_does_not_wait_30_seconds(tmp_path: Path) -> None:
    from optuna.storages.journal import JournalFileBackend

    (tmp_path / OPTUNA_LOCK).symlink_to("optuna.journal")
    with hold(tmp_path, "search", nobody):
        started = time.monotonic()
        JournalFileBackend(str(tmp_path / "optuna.journal")).append_logs([{}])
        assert time.monotonic() - started < 10


def test_without_locks_the_command_runs_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / OPTUNA_LOCK).symlink_to("optuna.journal")
    said: list[str] = []
    with hold(tmp_path, "search", said.append):
        assert (tmp_path / OPTUNA_LOCK).is_symlink()  # it may be of a command that runs
    assert len(said) == 1 and "has no locks (" in said[0]
    assert holder(tmp_path) is None


def test_a_read_only_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*args: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with (
        pytest.raises(StorageError, match=r"lock: cannot be written: Read-only file system"),
        hold(tmp_path, "search", nobody),
    ):
        pass
