"""tune-digits clean: what a run can spare, and freeing it."""

from __future__ import annotations

import argparse
from pathlib import Path

from tune_digits.cli.common import CACHE, RUNS, Help, add_common, called, command, run_command


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("clean"),
        formatter_class=Help,
        description="Say what of a run can be spared and how much space it takes; with --yes, free it.\n"
        "Records, scores, the ensemble and its submission are never touched.",
    )
    add = parser.add_argument
    add("run", nargs="?", type=Path, default=RUNS / "latest", metavar="DIR", help="run folder")
    add("--yes", action="store_true", help="free it")
    add("--fold-weights", action="store_true", help="the weights of the confirming trainings too")
    add("--cache", action="store_true", help=f"the parsed copies of data in {CACHE} too")
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(clean, make_parser().parse_args(argv))


def clean(args: argparse.Namespace) -> int:
    from tune_digits.care.clean import disk_line, free, in_units, spares
    from tune_digits.run_lock import hold
    from tune_digits.runs import open_run
    from tune_digits.screen import Screen

    screen = Screen()
    run = open_run(args.run)
    with hold(run.path, called(), screen.warn):
        chosen = []
        given = {flag for flag, on in (("--fold-weights", args.fold_weights), ("--cache", args.cache)) if on}
        for spare in spares(run, CACHE):
            kept = spare.only_with is not None and spare.only_with not in given
            note = f"   kept; freed with {spare.only_with}" if kept else ""
            screen.say(f"{in_units(spare.size):>10}  {len(spare.paths):>4}  {spare.what}{note}")
            if not kept:
                chosen.append(spare)
        total = in_units(sum(spare.size for spare in chosen))
        if not chosen:
            screen.say("nothing can be freed")
        elif args.yes:
            free(chosen)
            screen.say(f"freed {total}")
        else:
            screen.say(f"{total} can be freed: the same command with --yes")
        screen.say(disk_line(run))
    return 0
