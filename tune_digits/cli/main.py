"""The console command `tune-digits search|ensemble|predict|tricks`."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "search": "search a space, then confirm the best",
    "ensemble": "retrain the best on all data, vote, write a submission",
    "predict": "predict with a saved ensemble",
    "tricks": "list what a trial can be made of, knob by knob",
}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        return int(importlib.import_module(f"tune_digits.cli.{argv[0]}").main(argv[1:]))
    asked = bool(argv) and argv[0] in ("-h", "--help")
    out = sys.stdout if asked else sys.stderr
    if argv and not asked:
        print(f"error: no command '{argv[0]}'", file=out)
    print("usage: tune-digits COMMAND [flags]\n", file=out)
    for name, what in COMMANDS.items():
        print(f"  {name:<10}{what}", file=out)
    print("\n`tune-digits COMMAND --help` shows a command's flags", file=out)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
