"""tune-digits ablate: which of the best configuration's tricks help."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_digits.cli.common import (
    CACHE,
    RESOURCES,
    RUNS,
    Help,
    add_common,
    add_resources,
    called,
    command,
    if_stopped,
    origins_of,
    overrides_of,
    parse_count,
    run_command,
    stop_in,
)
from tune_digits.cli.ensemble import parse_names
from tune_digits.errors import ConfigError, RunError

if TYPE_CHECKING:
    import pandas as pd

    from tune_digits.runs import Run, TrialRecord
    from tune_digits.screen import Screen
    from tune_digits.tune.ablation import Plan
    from tune_digits.tune.tricks import Trick


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("ablate"),
        formatter_class=partial(Help, defaults={}),
        description="Train the best confirmed configuration of a run again, whole and with each of its tricks\n"
        "switched off by itself, on equal folds and new seeds, and say which tricks help. Finished trainings are\n"
        "kept: the same command goes on where it was stopped.",
    )
    add = parser.add_argument
    add("--run", type=Path, default=RUNS / "latest", metavar="DIR", help="run folder")
    add("--trial", type=int, metavar="N", help="configuration of this trial (left out: the best confirmed)")
    add(
        "--tricks",
        type=parse_names,
        metavar="NAME,…",
        help="only these: keys of the study file or their short names (mixup,focal,bn_momentum); --dry-run lists them",
    )
    add("--folds", type=parse_count, metavar="N", help="folds (left out: those of the confirmation)")
    add("--seeds", type=parse_count, default=1, metavar="N", help="trainings on each fold")
    add(
        "--noise-seeds",
        type=parse_count,
        default=5,
        metavar="N",
        help="trainings of the whole configuration on the first fold, which show how much one varies",
    )
    add("--budget", type=parse_count, metavar="N", help="trainings at most")
    add("--dry-run", action="store_true", help="list the tricks and the trainings, and start nothing")
    add_resources(parser)
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(ablate, make_parser().parse_args(sys.argv[1:] if argv is None else argv))


def ablate(args: argparse.Namespace) -> int:
    from tune_digits.runs import open_run
    from tune_digits.screen import Screen
    from tune_digits.study import load_study
    from tune_digits.tune.tricks import chosen_tricks, tricks_of

    stop_in(args.stop_at)
    screen = Screen()
    run = open_run(args.run)
    study = load_study(run.study_file, overrides_of(args, RESOURCES), origins_of(args, RESOURCES))
    record = best_of(run, args.trial)
    tricks = chosen_tricks(tricks_of(record.config), args.tricks)
    if not tricks:
        screen.say(f"trial {record.number} is the defaults: there is nothing to switch off")
        return 0
    print_tricks(record, tricks, screen)

    from tune_digits.tune.ablation import make_plan

    folds = range(args.folds or study.confirm.folds or study.cv.splits or 0)
    if args.dry_run and not folds:
        raise ConfigError("--dry-run cannot know how many folds there are in a column: name them by --folds")

    def plan_on(count: int) -> Plan:
        plan = make_plan(
            record.number,
            record.config,
            tricks,
            range(count),
            study.confirm.seeds,
            args.seeds,
            args.noise_seeds,
            args.budget,
        )
        least = len(plan.configs) + len(plan.noise)
        if args.budget is not None and args.budget < least:
            raise ConfigError(
                f"--budget {args.budget}: the first round alone has {least} trainings, of {len(plan.configs)} "
                f"configurations and {len(plan.noise)} for the noise; name fewer --tricks or --noise-seeds"
            )
        return plan

    if args.dry_run:
        say_plan(plan_on(len(folds)), run, None, screen)
        return 0

    from tune_digits.learn.metrics import metric_of
    from tune_digits.run_lock import hold
    from tune_digits.tune.ablation import run_ablation
    from tune_digits.tune.fold_jobs import ConfirmData, judged_holdouts
    from tune_digits.tune.leaderboard import judges_of
    from tune_digits.tune.prepare import draw_subset, start_and_read, trained_folds
    from tune_digits.tune.same_data import check_same_data, check_same_search, made_from
    from tune_digits.tune.training import share

    executor, task = start_and_read(study, args.address, CACHE, screen)
    screen.say(task.describe())
    check_same_data(run, study, task)
    every = trained_folds(study, task.train, draw_subset(study, task.train))
    fingerprints = made_from(task, every)
    check_same_search(run, fingerprints)
    wanted = args.folds or study.confirm.folds or len(every)
    if wanted > len(every):
        raise ConfigError(f"--folds {wanted}: the run has {len(every)}")
    plan = plan_on(wanted)
    say_plan(plan, run, executor.slots.at_once, screen)
    task, data = share(task, metric_of(study.cv, task.targets), executor)
    shared = ConfirmData(
        data,
        {fold.index: fold for fold in every[:wanted]},
        judged_holdouts(task.holdouts, study.cv),
        study.search.seed,
        fingerprints,
        executor.slots,
    )
    with hold(run.path, called(), screen.warn), if_stopped(screen.say, called()):
        table = run_ablation(plan, run, shared, judges_of(study.cv, task), study.resources, executor, screen)
    print_table(table, screen)
    screen.say(f"\ntable: {run.ablation / 'ablation.csv'}")
    return 0


def best_of(run: Run, trial: int | None) -> TrialRecord:
    """The trial of that number, or the best confirmed. Raises RunError."""
    number = run.best_confirmed() if trial is None else trial
    if number is None:
        raise RunError(
            f"{run.path}: no leaderboard.csv yet; finish the search with: tune-digits search --resume {run.path}"
        )
    record = next((r for r in run.trials() if r.number == number), None)
    if record is None:
        raise RunError(
            f"--trial {number}: {run.path} has no such trial; its trials are in {run.path / 'trials'}"
        )
    return record


def print_tricks(record: TrialRecord, tricks: list[Trick], screen: Screen) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left", title=f"tricks of trial {record.number}")
    for column in ("trick", "is", "without it", ""):
        table.add_column(column, overflow="fold")
    for trick in tricks:
        alone = "" if trick.config is not None else f"cannot go alone: {trick.why}"
        table.add_row(trick.key, trick.value, trick.off, alone)
    screen.table(table)


def say_plan(plan: Plan, run: Run, at_once: int | None, screen: Screen) -> None:
    """How many trainings there are at most, how many are on record, and what the others will take."""
    from tune_digits.screen import clock
    from tune_digits.tune.ablation import on_record

    known = on_record(plan, run)
    seconds = [r.seconds for r in run.folds(plan.trial)]
    folds, seeds = (len(set(part)) for part in zip(*plan.cells, strict=True))
    words = (
        f"{len(plan.configs)} configurations x {folds} folds x {seeds} seed{'s' * (seeds > 1)}"
        f"{f' + {len(plan.noise)} for the noise' if plan.noise else ''}: "
        f"{'at most ' if plan.budget is not None else ''}{plan.trainings} trainings"
    )
    if known:
        words += f", {known} of them on record"
    if seconds:
        each = sum(seconds) / len(seconds) * max(plan.trainings - known, 0) / (at_once or 1)
        words += f"; about {clock(each)}" + ("" if at_once else " of one training at a time")
    screen.say(words)


def print_table(table: pd.DataFrame, screen: Screen) -> None:
    """The noise of a training, then what each trick is worth."""
    from rich.table import Table

    whole = table.iloc[0]
    screen.say()
    if whole["noise"] == whole["noise"]:
        screen.say(
            f"noise: one training varies by {whole['noise']:.4f} (standard deviation); {whole['trainings']:.0f} of "
            f"each tell a difference of {whole['least']:.4f} in 80 % of cases, if images added nothing"
        )
    shown = Table(
        box=None,
        pad_edge=False,
        title_justify="left",
        title=f"with all tricks {whole['score']:.4f}; each one alone",
    )
    for column, justify in (
        ("trick", "left"),
        ("without it", "right"),
        ("is worth", "right"),
        ("p", "right"),
    ):
        shown.add_column(column, justify="left" if justify == "left" else "right")
    shown.add_column("")
    for row in table.iloc[1:].to_dict("records"):
        worth = p = "-"
        if row["difference"] == row["difference"]:
            worth = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
            p = f"{row['p']:.3f}"
        shown.add_row(str(row["trick"]), f"{row['score']:.4f}", worth, p, verdict_in_words(row))
    screen.table(shown)
    if table["verdict"].eq("cannot tell").any():
        screen.say("(~n more): trainings of each of the two, to tell a difference of this size")
    screen.say(
        "is worth: the score with it less that without, and a 95 % interval of this row alone; p and the verdict hold "
        "for all rows together (Holm)"
    )


def verdict_in_words(row: dict[Any, Any]) -> str:
    from tune_digits.stats.compare import MANY_TRAININGS

    more = row["more_trainings"]
    if row["verdict"] != "cannot tell" or not more <= MANY_TRAININGS:
        return str(row["verdict"])
    return f"cannot tell (~{more:.0f} more)"
