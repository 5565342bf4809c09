"""tune-digits check: whether a run folder or an ensemble is whole, and how to make again what is not."""

from __future__ import annotations

import argparse
from pathlib import Path

from tune_digits.cli.common import RUNS, Help, add_common, command, run_command


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("check"),
        formatter_class=Help,
        description="Read everything in a run folder, or in the folder of an ensemble, and say what is whole, what is\n"
        "damaged, and which command makes it again. Nothing is changed. Exit code 0: all is whole; 1: something\n"
        "is damaged; 2: it is no such folder.",
    )
    parser.add_argument(
        "run",
        nargs="?",
        type=Path,
        default=RUNS / "latest",
        metavar="DIR",
        help="run folder or ensemble's folder",
    )
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(check, make_parser().parse_args(argv))


def check(args: argparse.Namespace) -> int:
    from tune_digits.care.check import check_ensemble, check_run
    from tune_digits.care.clean import in_units, size_of
    from tune_digits.ensemble.members import MANIFEST
    from tune_digits.run_lock import holder
    from tune_digits.runs import open_run
    from tune_digits.screen import Screen

    screen = Screen()
    if (args.run / MANIFEST).is_file():
        folder, parts = args.run, check_ensemble(args.run, None)
    else:
        run = open_run(args.run)
        folder, parts = run.path, check_run(run)
        if who := holder(folder):
            screen.say(f"{who} writes into {folder}: what it has not finished may look damaged")
    damaged = 0
    for part in parts:
        if not part.whole and not part.damaged:
            continue
        broken = f", {len(part.damaged)} DAMAGED" if part.damaged else ""
        screen.say(f"{part.name}: {part.whole} whole{broken}")
        for damage in part.damaged:
            screen.warn(damage.told)
            # the library does not know how it was called
            screen.say(f"  to do: {_as_called(damage.remedy)}")
        damaged += len(part.damaged)
    verdict = f"{damaged} file{'s' * (damaged > 1)} damaged" if damaged else "all is whole"
    screen.say(f"{folder}: {verdict} ({in_units(size_of(folder))})")
    return int(damaged > 0)


def _as_called(text: str) -> str:
    for name in ("search", "ensemble"):
        text = text.replace(f"tune-digits {name}", command(name))
    return text
