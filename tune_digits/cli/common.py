"""What the commands share: errors in words, exit codes, flags in units. Imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tune_digits.errors import ConfigError, UserError

if TYPE_CHECKING:
    from tune_digits.config import Resources
    from tune_digits.execute.executor import Executor

RUNS = Path("runs")
CACHE = RUNS / ".cache"


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults are shown where there are any; descriptions keep their lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=100)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


def run_command(main: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; the user's mistakes give one message and code 2, Ctrl-C 130, SIGTERM 143, the rest 1."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        """End as on Ctrl-C, which says how to go on."""
        nonlocal terminated
        terminated = True
        # a second one, while the workers are being ended, must not break that off
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        return main(args)
    except UserError as error:
        if args.debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 143 if terminated else 130
    except BrokenPipeError:
        return 1
    finally:
        if not terminated:
            signal.signal(signal.SIGTERM, before)


def parse_seconds(text: str) -> float:
    """'90', '90s', '20m', '1.5h' -> seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        value = float(number) * unit
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 20m or 1.5h") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be more than 0")
    return value


def parse_groups(text: str) -> str | dict[str, int]:
    """A whole number is rows per group, anything else a column."""
    return {"rows_per_group": int(text)} if text.isdigit() else text


def parse_set(items: list[str]) -> dict[str, object]:
    """['optimizer.lr=0.01'] -> {'optimizer.lr': 0.01}; values are YAML."""
    from tune_digits.study import parse_yaml

    values = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {item}: write key=value, for instance --set optimizer.lr=0.01")
        values[key.strip()] = parse_yaml(value, f"--set {key}")
    return values


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_resources(parser: argparse.ArgumentParser) -> None:
    """What one training gets, how many run at once, and where."""
    add = parser.add_argument
    add("--max-concurrent", type=int, metavar="N", help="trainings at once (as many as fit)")
    add(
        "--cpus-per-trial",
        type=float,
        metavar="N",
        help="CPU cores, and threads, per training (study file; 1)",
    )
    add(
        "--gpus-per-trial",
        type=float,
        metavar="F",
        help="part of a GPU per training (1/4 with a GPU, else 0)",
    )
    add(
        "--executor",
        choices=("ray", "inline"),
        help="ray: side by side; inline: in this process, one after the other (study file; ray)",
    )
    add(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster to join, or auto (a Ray of its own on this machine)",
    )


def start_executor(
    resources: Resources, address: str | None, meanwhile: Callable[[], None] = lambda: None
) -> Executor:
    """What the study's trainings run on. meanwhile: called before anything slow, to set other work going beside it."""
    if resources.executor == "inline":
        from tune_digits.execute.inline import start_inline

        if address is not None:
            raise ConfigError("--address joins a Ray cluster, and --executor inline runs none: leave one out")
        meanwhile()
        return start_inline(resources)
    from tune_digits.execute.on_ray import start_ray

    return start_ray(resources, address, meanwhile)
