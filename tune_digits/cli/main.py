"""The console command `tune-digits COMMAND`; COMMANDS has all of them."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = {
    "search": "search a space, then confirm the best",
    "ablate": "which tricks of the best configuration help",
    "ensemble": "retrain the best on all data, vote, write a submission",
    "predict": "predict with a saved ensemble",
    "blend": "vote over predictions and submissions in files",
    "report": "write a run as one page to look at",
    "check": "read a run folder and say what is damaged",
    "clean": "say what a run can spare, and free it",
    "tricks": "list what a trial can be made of, knob by knob",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tune-digits", epilog="`tune-digits COMMAND --help` shows a command's flags"
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for name, what in COMMANDS.items():
        # a command's flags are in its own module, which is imported only where it is called
        commands.add_parser(name, help=what, add_help=False)
    args, flags = parser.parse_known_args(argv)
    return int(importlib.import_module(f"tune_digits.cli.{args.command}").main(flags))


if __name__ == "__main__":
    sys.exit(main())
