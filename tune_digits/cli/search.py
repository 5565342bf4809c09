"""tune-digits search: Ray Tune, Optuna and ASHA over a space, then confirmation on all folds."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tune_digits.cli.common import (
    CACHE,
    RESOURCES,
    RUNS,
    Help,
    add_common,
    add_resources,
    asks_for_help,
    called,
    command,
    flag_of,
    if_stopped,
    origins_of,
    overrides_of,
    parse_budget,
    parse_groups,
    parse_seconds,
    run_command,
    stop_in,
    study_defaults,
)
from tune_digits.cli.report import write_report
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    from tune_digits.runs import Run
    from tune_digits.study import Study

# flag -> the key of the study that it sets
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
    "confirm_budget": "confirm.budget",
    "epochs": "train.epochs",
    **RESOURCES,
}
# what may change when a run is taken up again: how much is done, and on what, but not what is compared
RESUMABLE = ("trials", "time_budget", "candidates", "confirm_budget", *RESOURCES)


def make_parser(defaults: Mapping[str, str] | None = None) -> argparse.ArgumentParser:
    """defaults: flag -> what `--help` shows as its default."""
    parser = argparse.ArgumentParser(
        prog=command("search"),
        formatter_class=partial(Help, defaults=defaults),
        description="Search a space with Ray Tune, Optuna and ASHA, each trial training one fold; then train the best\n"
        "again on all folds with fresh seeds. A flag that is left out leaves what the study file says;\n"
        "--help --space FILE shows its values, and --dry-run all of them.",
    )
    add = parser.add_argument
    add(
        "--space", metavar="FILE", help="study file: a path, or a name in search_spaces/ (left out: aug.yaml)"
    )
    add(
        "--data",
        metavar="PATH",
        help="folder, training file or zip file (left out: that of the study file, else scikit-learn's digits)",
    )
    add("--trials", type=int, metavar="N", help="configurations to try")
    add("--epochs", type=int, metavar="N", help="passes over the training rows, per training")
    add("--folds", type=int, metavar="N", help="folds of the cross-validation")
    add(
        "--groups",
        type=parse_groups,
        metavar="G",
        help="column, or rows per group: rows of one group (writer, patient) stay in one fold",
    )
    add("--subset", type=int, metavar="N", help="train on N of the rows, drawn evenly by class; judge on all")
    add("--time-budget", type=parse_seconds, metavar="T", help="end the search after 90s, 20m, 1.5h")
    add("--candidates", type=int, metavar="N", help="trials to confirm; baseline and start points join them")
    add("--confirm-folds", type=int, metavar="N", help="folds to confirm on")
    add(
        "--confirm-budget",
        type=parse_budget,
        metavar="B",
        help="confirm by a race of at most B trainings, or for 20m: who is clearly behind leaves, the others go on",
    )
    add("--seed", type=int, metavar="N", help="seed of what is tried and of the trainings")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the study file, over all else: optimizer.lr=0.01",
    )
    add("--run-dir", type=Path, metavar="DIR", help="run folder to make (left out: runs/TIME-NAME)")
    add(
        "--resume",
        nargs="?",
        const=RUNS / "latest",
        type=Path,
        metavar="DIR",
        help="go on with an interrupted run (no folder named: with runs/latest)",
    )
    add(
        "--reuse",
        action="append",
        default=[],
        type=Path,
        metavar="RUN",
        help="take confirming trainings of equal configurations, folds and seeds from this run's records",
    )
    add(
        "--smoke",
        action="store_true",
        help="try all phases on very little: 200 rows, 2 trials, 1 epoch, 2 folds; other flags win over it",
    )
    add("--dry-run", action="store_true", help="print the resolved study and its space, and start nothing")
    add("--strict", action="store_true", help="refuse data with anything odd, before any training")
    add_resources(parser)
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if asks_for_help(words):
        return run_command(show_help, argparse.Namespace(words=words, debug="--debug" in words))
    return run_command(search, make_parser().parse_args(words))


def show_help(args: argparse.Namespace) -> int:
    """Print the help with the defaults of the space, or of the run, that the words name."""
    first = argparse.ArgumentParser(add_help=False, prog=command("search"))
    first.add_argument("--space", default="aug.yaml")
    first.add_argument("--resume", nargs="?", const=RUNS / "latest", type=Path)
    named, _ = first.parse_known_args([word for word in args.words if not asks_for_help([word])])

    from tune_digits.runs import open_run
    from tune_digits.study import find_space, load_study

    file = find_space(named.space) if named.resume is None else open_run(named.resume).study_file
    make_parser(study_defaults(load_study(file), FLAGS)).parse_args(["--help"])
    return 0


def parse_set(items: list[str]) -> dict[str, object]:
    """['optimizer.lr=0.01'] -> {'optimizer.lr': 0.01}; values are YAML. Raises ConfigError."""
    from tune_digits.yaml_text import parse_yaml

    values = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {item}: write key=value, for instance --set optimizer.lr=0.01")
        values[key.strip()] = parse_yaml(value, f"--set {key}")
    return values


def search(args: argparse.Namespace) -> int:
    from tune_digits.screen import Screen

    stop_in(args.stop_at)
    screen = Screen()
    study, run = load(args)
    for note in study.notes:
        screen.say(note)
    if args.dry_run:
        from tune_digits.api.summary import print_study
        from tune_digits.tune.preflight import check_pipelines

        check_pipelines(study)
        print_study(study, screen)
        return 0
    if study.data.path is None:
        screen.say("data: none given, so scikit-learn's bundled digits (--data PATH for your own)")

    from tune_digits import runs
    from tune_digits.api.flow import prepare, search_and_confirm
    from tune_digits.run_lock import hold
    from tune_digits.tune.reuse import known_trainings

    with ExitStack() as held:
        if run is not None:
            held.enter_context(hold(run.path, called(), screen.warn))
        prepared = prepare(study, run, screen, address=args.address, cache=CACHE, strict=args.strict)
        known = known_trainings([runs.open_run(path) for path in args.reuse], study, prepared.made_from)
        if run is None:
            facts = {"command": called(), "seed": study.search.seed, "study": study.raw, **prepared.facts}
            run = runs.create_run(RUNS, study.name, study.to_yaml(), facts, args.run_dir)
            held.enter_context(hold(run.path, called(), screen.warn))
        else:
            runs.point_latest(RUNS, run.path)
        screen.say(f"run folder: {run.path}   (tensorboard --logdir {run.path})")
        with if_stopped(screen.say, again(run, args)):
            search_and_confirm(study, run, prepared, screen, known)
    from tune_digits.care.clean import disk_line

    screen.say(f"\nleaderboard: {run.leaderboard}")
    write_report(run, study, prepared.task, screen, preview=False)
    screen.say(disk_line(run))
    # a study that names its members needs no number of them
    top = "" if study.ensemble.members is not None else f" --top {study.ensemble.top}"
    screen.say(f"next: {command('ensemble')} --run {run.path}{top}")
    return 0


def load(args: argparse.Namespace) -> tuple[Study, Run | None]:
    """The study as the flags have it, and the run that is taken up again, if any."""
    from tune_digits.runs import open_run
    from tune_digits.study import find_space, load_study
    from tune_digits.study_fit import smoke_overrides

    given = parse_set(args.set)
    overrides = overrides_of(args, FLAGS) | given
    origins = {key: flag for key, flag in origins_of(args, FLAGS).items() if key not in given}
    if args.smoke:
        smoke = smoke_overrides(overrides)
        overrides |= smoke
        origins |= dict.fromkeys(smoke, "--smoke")
    if args.resume is not None:
        run = open_run(args.resume)
        refuse_changes(args, run)
        return load_study(run.study_file, overrides, origins), run
    return load_study(find_space(args.space or "aug.yaml"), overrides, origins), None


def refuse_changes(args: argparse.Namespace, run: Run) -> None:
    """Raise ConfigError where a flag would change what the run compares."""
    fixed = [flag for flag in ("space", *FLAGS, "run_dir") if flag not in RESUMABLE]
    refused = [flag_of(flag) for flag in fixed if getattr(args, flag) is not None]
    may_change = {FLAGS[flag] for flag in RESUMABLE}
    refused += ["--smoke"] if args.smoke else []
    refused += [f"--set {key}" for key in parse_set(args.set) if key not in may_change]
    if refused:
        raise ConfigError(
            f"--resume goes on with {run.path} as it was begun: {', '.join(refused)} cannot change now; "
            f"{', '.join(map(flag_of, RESUMABLE))} can"
        )


def again(run: Run, args: argparse.Namespace) -> str:
    """The command that goes on with the run, with the flags that are not in its study file."""
    words = [*command("search").split(), "--resume", str(run.path)]
    for flag in ("address", *(RESUMABLE if args.resume is not None else ())):
        if getattr(args, flag) is not None:
            words += [flag_of(flag), str(getattr(args, flag))]
    for path in args.reuse:
        words += ["--reuse", str(path)]
    for item in args.set if args.resume is not None else ():
        words += ["--set", item]
    return shlex.join(words)
