"""tune-digits compare: runs on the same data and folds side by side, and which best configuration is better."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tune_digits.cli.common import CACHE, Help, add_common, command, new_file, run_command
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from tune_digits.screen import Screen


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("compare"),
        formatter_class=Help,
        description="Compare the best configuration of each run with that of the first, image by image, in the folds\n"
        "and seeds that both were confirmed with. Refused where data or folds differ.",
    )
    add = parser.add_argument
    add(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="run folders, two or more; the others against the first",
    )
    add("--out", type=Path, metavar="FILE", help="CSV to write the table to; never overwritten")
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(compare, make_parser().parse_args(argv))


def compare(args: argparse.Namespace) -> int:
    if args.out is not None:
        new_file("--out", args.out)
    if len(args.runs) < 2:
        raise ConfigError(f"{args.runs[0]} alone: name two runs or more, as compare runs/A runs/B")

    from tune_digits.api.comparison import check_comparable, compare_runs
    from tune_digits.api.opened import open_run
    from tune_digits.data.load import load_task
    from tune_digits.screen import Screen
    from tune_digits.tune.same_data import check_same_data

    screen = Screen()
    opened = [open_run(path) for path in args.runs]
    check_comparable(opened)  # before the data are read
    study = opened[0].study()
    task = load_task(study.data, study.cv, CACHE)
    screen.say(task.describe())
    check_same_data(opened[0].folder, study, task)
    table = compare_runs(opened, task)
    print_table(table, screen)
    if args.out is not None:
        table.to_csv(args.out, index=False)
        screen.say(f"table: {args.out}")
    return 0


def print_table(table: pd.DataFrame, screen: Screen) -> None:
    from rich.table import Table

    from tune_digits.screen import clock

    shown = Table(box=None, pad_edge=False, title_justify="left", title="the best of each run")
    for column in ("run", "space"):
        shown.add_column(column, overflow="fold")
    for column in (
        "keys",
        "trials",
        "best",
        "confirmed",
        "corrected",
        "search",
        "confirm",
        "against the first",
    ):
        shown.add_column(column, justify="right")
    for row in table.to_dict("records"):
        worth = "-"
        if row["difference"] == row["difference"]:
            interval = f"[{row['low']:+.4f}, {row['high']:+.4f}]"
            worth = f"{row['difference']:+.4f} {interval} {row['verdict']}"
        corrected = "-" if row["corrected"] != row["corrected"] else f"{row['corrected']:.4f}"
        shown.add_row(
            row["run"],
            row["space"],
            str(row["searched"]),
            str(row["trials"]),
            f"trial {row['best']}",
            f"{row['confirmed']:.4f}",
            corrected,
            clock(row["search_seconds"]),
            clock(row["confirm_seconds"]),
            worth,
        )
    screen.table(shown)
    screen.say(
        "keys: searched; search, confirm: time of all trainings, one after the other; against the first: with a 95 % "
        "interval. Each best was chosen by these scores, so both are somewhat too good; `corrected` is not"
    )
