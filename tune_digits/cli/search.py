"""tune-digits search: Ray Tune, Optuna and ASHA over a space, then confirmation on all folds."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_digits.cli.common import (
    CACHE,
    RUNS,
    Help,
    add_common,
    add_resources,
    parse_groups,
    parse_seconds,
    parse_set,
    run_command,
    start_executor,
)
from tune_digits.cli.summary import print_board, print_folds, print_study, report_findings
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from tune_digits.data.dataset import Task
    from tune_digits.data.folds.split import Fold
    from tune_digits.execute.executor import Executor, Stored
    from tune_digits.runs import Fingerprints, Run
    from tune_digits.screen import Screen
    from tune_digits.study import Study
    from tune_digits.tune.training import TrainingData

# flag -> key of the study that it sets
FLAGS = {
    "data": "data.path",
    "subset": "data.subset",
    "folds": "cv.folds",
    "groups": "cv.groups",
    "trials": "search.trials",
    "seed": "search.seed",
    "time_budget": "search.time_budget",
    "candidates": "confirm.candidates",
    "confirm_folds": "confirm.folds",
    "epochs": "train.epochs",
    "cpus_per_trial": "resources.cpus_per_trial",
    "gpus_per_trial": "resources.gpus_per_trial",
    "max_concurrent": "resources.max_concurrent",
    "executor": "resources.executor",
}
# what may change when a run is taken up again: how much is done, and on what, but not what is compared
RESUMABLE = (
    *("trials", "time_budget", "candidates"),
    *("cpus_per_trial", "gpus_per_trial", "max_concurrent", "executor"),
)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="search.py",
        formatter_class=Help,
        description="Search a space with Ray Tune, Optuna and ASHA, each trial training one fold; then train the\n"
        "best again on all folds with fresh seeds. Flags left out keep what the study file says.",
    )
    add = parser.add_argument
    add("--space", default="aug.yaml", help="study file: a path, or a name in search_spaces/")
    add(
        "--data",
        metavar="PATH",
        help="folder or training file; none: the study's, else scikit-learn's digits",
    )
    add("--trials", type=int, metavar="N", help="configurations to try (study file; 24)")
    add("--epochs", type=int, metavar="N", help="passes over the training part, per training (study file; 8)")
    add("--folds", type=int, metavar="N", help="parts of the cross-validation (study file; 5)")
    add(
        "--groups",
        type=parse_groups,
        metavar="G",
        help="column, or rows per group: samples of one group (writer, patient) stay in one fold (study file; none)",
    )
    add(
        "--subset", type=int, metavar="N", help="search on N training samples, drawn evenly (study file; all)"
    )
    add("--time-budget", type=parse_seconds, metavar="T", help="end the search after 90s, 20m, 1.5h (none)")
    add("--candidates", type=int, metavar="N", help="trials to confirm (study file; 10)")
    add("--confirm-folds", type=int, metavar="N", help="folds to confirm on (study file; all)")
    add("--seed", type=int, metavar="N", help="of the sampler and of the trials (study file; 0)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the study: optimizer.lr=0.01",
    )
    add("--run-dir", type=Path, metavar="DIR", help="run folder to make (runs/TIME-NAME)")
    add(
        "--resume",
        nargs="?",
        const=RUNS / "latest",
        type=Path,
        metavar="DIR",
        help="go on with an interrupted run (runs/latest where no folder is named)",
    )
    add("--dry-run", action="store_true", help="print the resolved study and its space, start nothing")
    add("--strict", action="store_true", help="stop at anything odd in the data, before any training")
    add_resources(parser)
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(search, make_parser().parse_args(argv))


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """The study keys that the flags set."""
    values = {key: getattr(args, flag) for flag, key in FLAGS.items() if getattr(args, flag) is not None}
    if args.data is not None:
        # the run is taken up and ensembled from other working folders too
        named = args.data.startswith("torchvision:")
        values["data.path"] = args.data if named else str(Path(args.data).resolve())
    return values | parse_set(args.set)


def origins_of(args: argparse.Namespace) -> dict[str, str]:
    """Study key -> the flag that sets it, unless --set does."""
    return {
        key: "--" + flag.replace("_", "-") for flag, key in FLAGS.items() if key not in parse_set(args.set)
    }


def search(args: argparse.Namespace) -> int:
    from tune_digits.screen import Screen
    from tune_digits.study import find_space, load_study

    screen = Screen()
    overrides = overrides_of(args)
    if args.resume is not None:
        return resume(args, overrides, screen)
    study = load_study(find_space(args.space), overrides, origins_of(args))
    if args.dry_run:
        print_study(study, screen)
        return 0
    if study.data.path is None:
        screen.say("data: none given, so scikit-learn's bundled digits (--data PATH for your own)")

    from tune_digits import runs
    from tune_digits.tune.same_data import facts_of

    prepared = prepare(study, args, screen)
    facts = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": study.search.seed,
        "slots": prepared.executor.slots.describe(),
        **facts_of(study, prepared.whole, prepared.made_from),
    }
    run = runs.create_run(RUNS, study.name, study.to_yaml(), facts, args.run_dir)
    return search_and_confirm(study, run, prepared, screen)


def resume(args: argparse.Namespace, overrides: dict[str, Any], screen: Screen) -> int:
    from tune_digits.runs import open_run
    from tune_digits.study import load_study
    from tune_digits.tune.same_data import check_same_data

    run = open_run(args.resume)
    allowed = {FLAGS[flag] for flag in RESUMABLE}
    if foreign := sorted(set(overrides) - allowed):
        flags = ", ".join("--" + f.replace("_", "-") for f in RESUMABLE)
        raise ConfigError(
            f"--resume goes on with the study of {run.path}: {', '.join(foreign)} cannot change now ({flags} can)"
        )
    study = load_study(run.study_file, overrides, origins_of(args))
    prepared = prepare(study, args, screen)
    check_same_data(run, study, prepared.whole, prepared.made_from)
    return search_and_confirm(study, run, prepared, screen)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a search needs besides its study. whole: all the data; task: with the rows that are searched on."""

    whole: Task
    task: Task
    data: Stored[TrainingData]
    folds: tuple[Fold, ...]
    made_from: Fingerprints
    executor: Executor


def prepare(study: Study, args: argparse.Namespace, screen: Screen) -> Prepared:
    """Start the executor, read the data, fold them and check all that can be checked, saying what was found."""
    from tune_digits.data.files.paths import existing
    from tune_digits.data.folds.split import make_folds
    from tune_digits.execute.slots import oversubscription
    from tune_digits.machine import available_cores, work_of_others

    if study.data.path is not None and not study.data.path.startswith("torchvision:"):
        existing(study.data.path)  # a slip of the pen does not wait for Ray
    others = work_of_others()  # before there is any work of our own
    executor, whole = start_and_read(study, args.address, screen)

    from tune_digits.learn.metrics import metric_of
    from tune_digits.tune.preflight import preflight
    from tune_digits.tune.same_data import made_from
    from tune_digits.tune.training import share

    screen.say(whole.describe())
    task, rows = searched_rows(study, whole)
    if rows is not None:
        screen.say(f"search and confirm on {len(rows):,} of them, drawn evenly by class")
    train = task.train
    folds = make_folds(train.labels, train.groups, study.cv, train.targets, train.columns)
    print_folds(folds, train, study, screen)
    report_findings(task, folds, args.strict, screen)
    for line in preflight(study, task, folds):
        screen.say(line)
    screen.say(f"trainings: {executor.slots.describe()}")
    if not args.address and (warning := oversubscription(executor.slots, others, available_cores())):
        screen.warn(warning)
    task, data = share(task, metric_of(study.cv, task.targets), executor)
    return Prepared(whole, task, data, folds, made_from(whole, rows, folds), executor)


def start_and_read(study: Study, address: str | None, screen: Screen) -> tuple[Executor, Task]:
    """The executor and all the data. Starting Ray, reading, and importing what a search needs take seconds each; side by
    side they take little more than the longest."""
    from concurrent.futures import Future
    from threading import Thread

    from tune_digits.patches.ray_warm import quick_imports
    from tune_digits.screen import Progress

    progress = Progress("reading", total=100)
    loaded: Future[Task] = Future()

    def load() -> None:
        try:
            from tune_digits.data.load import load_task

            task = load_task(study.data, study.cv, CACHE, progress.of_file)
            import tune_digits.tune.confirm  # noqa: F401

            loaded.set_result(task)
        except BaseException as error:  # raised below, in the main thread
            loaded.set_exception(error)

    reader = Thread(target=load, daemon=True)  # a command that is stopped does not wait for it
    with quick_imports():
        executor = start_executor(study.resources, address, meanwhile=reader.start)
        reader.join(2)
    if reader.is_alive() and progress.facts:  # a large file
        with screen.watch(progress):
            while reader.is_alive():
                reader.join(0.2)
                screen.tick(progress)
    return executor, loaded.result()


def searched_rows(study: Study, whole: Task) -> tuple[Task, np.ndarray | None]:
    """The task with the rows that are searched on, and their numbers; None where these are all."""
    from dataclasses import replace

    from tune_digits.data.folds.subset import subset_rows

    train = whole.train
    if study.data.subset is None or study.data.subset >= len(train):
        return whole, None
    rows = subset_rows(train.labels, train.groups, study.data.subset, study.cv.seed)
    return replace(whole, train=train.take(rows)), rows


def search_and_confirm(study: Study, run: Run, prepared: Prepared, screen: Screen) -> int:
    from tune_digits.tune.confirm import run_confirm
    from tune_digits.tune.search import run_search

    p = prepared
    screen.say(f"run folder: {run.path}   (tensorboard --logdir {run.path})")
    try:
        fold = p.folds[study.search.fold]
        records = run_search(study, run, p.data, fold, p.made_from, p.executor, screen)
        board = run_confirm(study, run, p.task, p.data, p.folds, records, p.made_from, p.executor, screen)
    except KeyboardInterrupt:
        screen.say(f"\nnothing is lost; go on with: python scripts/search.py --resume {run.path}")
        raise
    print_board(board, screen)
    screen.say(f"\nleaderboard: {run.leaderboard}")
    screen.say(f"next: python scripts/ensemble.py --run {run.path} --top {study.ensemble.top}")
    return 0
