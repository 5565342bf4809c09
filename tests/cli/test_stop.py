"""How a command ends: its exit code, and who takes SIGTERM."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tune_digits.cli.common import parse_clock, run_command, stop_in
from tune_digits.errors import DataError

ARGS = argparse.Namespace(debug=False)


@pytest.fixture(autouse=True)
def handler_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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


@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGALRM", 142)])
def test_a_closed_terminal_and_a_deadline_end_a_command_too(
    name: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)

    def main(args: argparse.Namespace) -> int:
        os.kill(os.getpid(), number)
        signal.pause()
        return 0

    try:
        assert run_command(main, ARGS) == code
    finally:
        signal.signal(number, before)
    assert "stopped" in capsys.readouterr().err


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def main(args: argparse.Namespace) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return 7

    try:
        assert run_command(main, ARGS) == 7
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_stops_when_the_clock_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def main(args: argparse.Namespace) -> int:
        stop_in(0.05)
        time.sleep(30)
        return 0

    started = time.monotonic()
    assert run_command(main, ARGS) == 142
    assert time.monotonic() - started < 20

    def quick(args: argparse.Namespace) -> int:
        stop_in(1000)
        return 0

    assert run_command(quick, ARGS) == 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)  # it does not stop what comes after the command


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12:31", 30), ("13:30", 3570), ("12:30", 86_370), ("12:29", 86_310), ("00:00", 41_370)],
)
def test_the_next_time_that_the_clock_says_so(
    text: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.strptime("2026-11-25 12:30:30", "%Y-%m-%d %H:%M:%S")
    monkeypatch.setattr(time, "localtime", lambda: now)
    assert parse_clock(text) == seconds
    for wrong in ("8", "25:00", "in an hour"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a time of day"):
            parse_clock(wrong)
