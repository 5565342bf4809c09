"""How a command ends: its exit code, and who takes SIGTERM."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator

import pytest

from tune_digits.cli.common import run_command
from tune_digits.errors import DataError

ARGS = argparse.Namespace(debug=False)


@pytest.fixture(autouse=True)
def handler_restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_a_command_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def main(args: argparse.Namespace) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            seen.append("interrupted")
            os.kill(os.getpid(), signal.SIGTERM)  # a second one does not break off the clearing up
            seen.append("cleared up")
            raise
        return 0

    assert run_command(main, ARGS) == 143
    assert seen == ["interrupted", "cleared up"]
    assert "stopped" in capsys.readouterr().err


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(error: BaseException) -> int:
        def main(args: argparse.Namespace) -> int:
            raise error

        return run_command(main, ARGS)

    before = signal.getsignal(signal.SIGTERM)
    assert fails(KeyboardInterrupt()) == 130
    assert fails(DataError("no such file")) == 2
    assert "no such file" in capsys.readouterr().err
    assert fails(BrokenPipeError()) == 1
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is shown whole
        fails(ZeroDivisionError())
    assert signal.getsignal(signal.SIGTERM) == before
