"""What the commands share: errors in words, exit codes, flags and their units. Imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tune_digits.api import places
from tune_digits.disk import storage_error
from tune_digits.errors import StorageError, UserError, printable

if TYPE_CHECKING:
    from tune_digits.study import Study

RUNS, CACHE = places.RUNS, places.CACHE
# flag -> the key of the study that it sets; see `add_resources`
RESOURCES = {
    flag: f"resources.{flag}" for flag in ("max_concurrent", "cpus_per_trial", "gpus_per_trial", "executor")
}


# what ends a command as Ctrl-C does, SIGALRM at --stop-at; Windows has SIGTERM alone
ENDS = [s for name in ("SIGTERM", "SIGHUP", "SIGALRM") if (s := getattr(signal, name, None)) is not None]


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults are shown where there are any; descriptions keep their lines.

    defaults: flag ('confirm_folds') -> what to show as its default, for the flags that take it from a study file.
    """

    def __init__(self, prog: str, defaults: Mapping[str, str] | None = None) -> None:
        super().__init__(prog, max_help_position=32, width=100)
        self._defaults = defaults or {}

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.dest in self._defaults:
            return f"{action.help} ({self._defaults[action.dest]})".replace("%", "%%")
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


def study_defaults(study: Study, flags: Mapping[str, str]) -> dict[str, str]:
    """Flag -> 'STUDY: VALUE', of the flags that the study has one fixed value for. flags: flag -> key of the study."""
    shown = {}
    for flag, key in flags.items():
        part, _, name = key.partition(".")
        value = study.raw[part] if part in study.raw else study.raw["trial"][part]
        value = value.get(name)
        if value is not None and not isinstance(value, (dict, list)):
            shown[flag] = f"{study.name}: {value}"
    return shown


def asks_for_help(words: Sequence[str]) -> bool:
    return bool({"-h", "--help"} & set(words))


def command(name: str) -> str:
    """How to call a command, in the way this one was called: as the installed program, or from the checkout."""
    return f"tune-digits {name}" if Path(sys.argv[0]).stem == "tune-digits" else f"python scripts/{name}.py"


def called() -> str:
    """How this command was called, with its flags."""
    installed = Path(sys.argv[0]).stem == "tune-digits"
    return shlex.join([*(["tune-digits"] if installed else ["python", sys.argv[0]]), *sys.argv[1:]])


def run_command(main: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command and return its exit code.

    The user's mistakes, a full disk and a read-only folder give one message and 2, Ctrl-C gives 130, SIGTERM 143,
    SIGHUP (the terminal was closed) 129, --stop-at 142, and 1 means that nobody reads the output any more (`| head`).
    All other errors are raised.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    received = 0

    def terminate(number: int, frame: FrameType | None) -> None:
        """End as on Ctrl-C, which says how to go on."""
        nonlocal received
        received = number
        # a second one, while the workers are being ended, must not break that off
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    # nohup ignores SIGHUP, and so it stays
    closed = getattr(signal, "SIGHUP", None)
    ends = [s for s in ENDS if s != closed or signal.getsignal(s) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in ends}
    for number in before:
        signal.signal(number, terminate)
    try:
        return main(args)
    except UserError as error:
        if args.debug:
            traceback.print_exc()
        # the library does not know how it was called
        message = re.sub(
            r"tune-digits (search|ablate|ensemble|predict|blend|report|check|clean)\b",
            lambda found: command(found[1]),
            str(error),
        )
        print(f"error: {printable(message)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        with suppress(OSError):  # of a terminal that was closed
            print("\nstopped", file=sys.stderr)
        return 128 + received if received else 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        told = storage_error(error)
        if told is None or args.debug:
            raise
        print(f"error: {printable(str(told))}", file=sys.stderr)
        return 2
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        if not received:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def if_stopped(say: Callable[[str], None], again: str) -> Iterator[None]:
    """Where the block is stopped, by Ctrl-C, a signal or a full disk, say which command goes on: `again`."""
    try:
        yield
    except (KeyboardInterrupt, StorageError):
        with suppress(OSError):  # of a terminal that was closed
            say(f"\nwhat is finished is kept; go on with: {again}")
        raise


def parse_seconds(text: str) -> float:
    """'90', '90s', '20m', '1.5h', '2d' -> seconds. Raises ArgumentTypeError."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        value = float(number) * unit
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write 90s, 20m or 1.5h") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be more than 0")
    return value


def parse_clock(text: str) -> float:
    """'08:00' -> seconds until the clock next says so. Raises ArgumentTypeError."""
    try:
        wanted = time.strptime(text, "%H:%M")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of day; write 08:00 or 23:30") from None
    now = time.localtime()
    seconds = (wanted.tm_hour - now.tm_hour) * 3600 + (wanted.tm_min - now.tm_min) * 60 - now.tm_sec
    return float(seconds if seconds > 0 else seconds + 86_400)


def stop_in(seconds: float | None) -> None:
    """End the command after so many seconds as Ctrl-C would; None = never. Raises UserError where there is no timer."""
    if seconds is None:
        return
    if not hasattr(signal, "setitimer"):
        raise UserError("--stop-at: this system has no timer for it; use --time-budget")
    signal.setitimer(signal.ITIMER_REAL, seconds)


def parse_count(text: str) -> int:
    """A whole number from 1. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more")
    return int(text)


def parse_budget(text: str) -> int | str:
    """'30' is a number of trainings, '20m' a time. Raises ArgumentTypeError."""
    if text.isdecimal():
        return parse_count(text)
    parse_seconds(text)
    return text


def parse_groups(text: str) -> str | dict[str, int]:
    """A whole number is rows per group, anything else a column."""
    return {"rows_per_group": int(text)} if text.isdecimal() else text


def refuse_existing(args: argparse.Namespace, *flags: str) -> None:
    """Raise UserError where the file that a flag names is there already. flags: as attributes of args."""
    for flag in flags:
        path = getattr(args, flag)
        if path is not None and path.exists():
            raise UserError(
                f"{flag_of(flag)} {path}: is there already; nothing is overwritten. Name another file"
            )


def flag_of(name: str) -> str:
    """'confirm_folds' -> '--confirm-folds'"""
    return "--" + name.replace("_", "-")


def overrides_of(args: argparse.Namespace, flags: Mapping[str, str]) -> dict[str, Any]:
    """Key of the study -> value, of those flags that are given. flags: flag -> key."""
    return {key: getattr(args, flag) for flag, key in flags.items() if getattr(args, flag) is not None}


def origins_of(args: argparse.Namespace, flags: Mapping[str, str]) -> dict[str, str]:
    """Key of the study -> the flag that sets it ('--trials'), of those that are given: what messages about it name."""
    return {key: flag_of(flag) for flag, key in flags.items() if getattr(args, flag) is not None}


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_resources(parser: argparse.ArgumentParser) -> None:
    """What one training gets, how many run at once, and where."""
    add = parser.add_argument
    add("--max-concurrent", type=int, metavar="N", help="trainings at once")
    add("--cpus-per-trial", type=float, metavar="N", help="CPU cores, and threads, of one training")
    add(
        "--gpus-per-trial",
        type=float,
        metavar="F",
        help="fraction of a GPU for one training",
    )
    add(
        "--executor",
        choices=("ray", "inline"),
        help="ray: trainings side by side; inline: in this process, one after the other",
    )
    add(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster to join, or auto (left out: a Ray of its own on this machine)",
    )
    add(
        "--stop-at",
        type=parse_clock,
        metavar="HH:MM",
        help="end as on Ctrl-C when the clock says so; what is finished is kept, and the same command goes on",
    )
