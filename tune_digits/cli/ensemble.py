"""tune-digits ensemble: the best confirmed configurations, retrained on all data, vote."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

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
    if_stopped,
    origins_of,
    overrides_of,
    run_command,
    stop_in,
    study_defaults,
)
from tune_digits.cli.report import write_report
from tune_digits.errors import ConfigError

# flag -> the key of the study that it sets
FLAGS = {
    **{
        flag: f"ensemble.{flag}"
        for flag in (
            "top",
            "members",
            "prefer",
            "seeds",
            "epochs",
            "vote",
            "force_members",
            "class_balance",
            "force_balance",
            "class_offsets",
            "pseudo",
            "pseudo_quantile",
            "pseudo_cap",
            "pseudo_agree",
            "pseudo_soft",
            "pseudo_rounds",
            "tta",
            "tta_strength",
            "each",
        )
    },
    **RESOURCES,
}


def make_parser(defaults: Mapping[str, str] | None = None) -> argparse.ArgumentParser:
    """defaults: flag -> what `--help` shows as its default."""
    parser = argparse.ArgumentParser(
        prog=command("ensemble"),
        formatter_class=partial(Help, defaults=defaults),
        description="Retrain the best confirmed configurations of a run on all data and let them vote. Test images on\n"
        "which the vote is certain enough get pseudo-labels and join the data; retrain, vote again, and write\n"
        "submission.csv. A flag that is left out leaves what the run's study file says.",
    )
    add = parser.add_argument
    add("--run", type=Path, default=RUNS / "latest", metavar="DIR", help="run folder")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--top", type=int, metavar="N", help="members: the best N confirmed configurations")
    chosen.add_argument(
        "--members",
        type=parse_names,
        metavar="NAME,…",
        help="members by name: numbers of trials, or searched values that only one trial has "
        "(resnet18,resnet34; optimizer.lr=0.01)",
    )
    add(
        "--prefer",
        choices=("choice", "confirmed", "worst_groups", "out_of_domain"),
        help="which come first; choice: what the search says to send in; confirmed: by cross-validation alone; "
        "worst_groups, out_of_domain: those that it cannot tell from its best, by the worst tenth of the groups or by "
        "labelled sets that are not trained on",
    )
    add("--seeds", type=int, metavar="N", help="trainings of each configuration")
    add("--epochs", type=int, metavar="N", help="passes over the data, instead of as many as in the trial")
    add(
        "--vote",
        choices=("auto", "soft", "hard", "weighted", "greedy", "stacked", "mixed", "rank"),
        help="soft: mean of probabilities; hard: most frequent label; rank: points for the order of the classes; "
        "mixed: soft inside a family of networks, hard between; learnt from out-of-fold predictions: weighted, greedy, "
        "stacked; auto: greedy where it is told to be better than soft, else soft",
    )
    add(
        "--force-members",
        action="store_true",
        default=None,
        help="all of the best N vote, also those that make the vote worse out of fold",
    )
    add(
        "--class-balance",
        type=parse_balance,
        metavar="equal|CLASS=P,…",
        help="how the classes of the test images are known to be distributed; the vote is matched to it where that is "
        "told to help out of fold",
    )
    add(
        "--force-balance",
        action="store_true",
        default=None,
        help="match the vote to the class balance in any case",
    )
    add(
        "--class-offsets",
        action="store_true",
        default=None,
        help="favour rare classes where that is told to help the metric out of fold",
    )
    pseudo = parser.add_mutually_exclusive_group()
    pseudo.add_argument(
        "--pseudo",
        type=float,
        metavar="P",
        help="probability of the vote from which a test image gets a pseudo-label",
    )
    pseudo.add_argument("--no-pseudo", action="store_true", help="no pseudo-labels")
    add(
        "--pseudo-quantile",
        type=float,
        metavar="F",
        help="of the images with one answer, the surest fraction alone",
    )
    add("--pseudo-cap", type=int, metavar="N", help="pseudo-labels of one class at most, the surest ones")
    switch: dict[str, Any] = {"action": argparse.BooleanOptionalAction, "default": None}
    add("--pseudo-agree", help="only images on which every member gives the vote's answer", **switch)
    add("--pseudo-soft", help="the label is the vote's probabilities, not its answer alone", **switch)
    add("--pseudo-rounds", type=int, metavar="N", help="rounds of pseudo-labels")
    add(
        "--each",
        action="store_true",
        default=None,
        help="write submission-MEMBER.csv for each member beside the vote's",
    )
    add("--tta", type=int, metavar="N", help="views per image; 9 at most where they are shifted by a pixel")
    add(
        "--tta-strength",
        type=float,
        metavar="F",
        help="views are drawn from each member's own augmentation, at this fraction of its strength",
    )
    add(
        "--verify",
        nargs="?",
        const="all",
        choices=("all", "quick"),
        help="first do all of it inside cross-validation, step by step: vote, views, pseudo-labels; a step that is not "
        "told to help is left out; quick: on one outer fold",
    )
    add("--force-rungs", action="store_true", help="with --verify: leave no step out")
    add_resources(parser)
    add_common(parser)
    return parser


def parse_names(text: str) -> list[str]:
    """'resnet18,resnet34' -> ['resnet18', 'resnet34']. Raises ArgumentTypeError."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: write names with commas between them: resnet18,resnet34")
    return names


def parse_balance(text: str) -> str | dict[str, float]:
    """'equal' -> 'equal'; 'cat=3,dog=1' -> {'cat': 3.0, 'dog': 1.0}. Raises ArgumentTypeError."""
    if text == "equal":
        return text
    found = {}
    for part in text.split(","):
        name, _, value = part.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            name = ""
        if not name.strip():
            raise argparse.ArgumentTypeError(
                f"{part!r}: write equal, or a prior for each class: cat=0.75,dog=0.25"
            )
    return found


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if asks_for_help(words):
        return run_command(show_help, argparse.Namespace(words=words, debug="--debug" in words))
    return run_command(ensemble, make_parser().parse_args(words))


def show_help(args: argparse.Namespace) -> int:
    """Print the help, with what the run that the words name says where there is one."""
    first = argparse.ArgumentParser(add_help=False, prog=command("ensemble"))
    first.add_argument("--run", type=Path, default=RUNS / "latest")
    named, _ = first.parse_known_args([word for word in args.words if not asks_for_help([word])])

    from tune_digits.runs import Run
    from tune_digits.study import load_study

    file = Run(named.run).study_file
    make_parser(study_defaults(load_study(file), FLAGS) if file.exists() else None).parse_args(["--help"])
    return 0


def ensemble(args: argparse.Namespace) -> int:
    from tune_digits.runs import open_run
    from tune_digits.screen import Screen
    from tune_digits.study import load_study

    if args.force_rungs and args.verify is None:
        raise ConfigError("--force-rungs says what to do with the steps of --verify, which is not given")
    stop_in(args.stop_at)
    screen = Screen()
    run = open_run(args.run)
    overrides = overrides_of(args, FLAGS)
    if args.no_pseudo:
        overrides["ensemble.pseudo"] = None
    if args.top is not None:  # also where the study names its members
        overrides["ensemble.members"] = None
    study = load_study(run.study_file, overrides, origins_of(args, FLAGS))

    from tune_digits.api.summary import print_report
    from tune_digits.care.clean import disk_line
    from tune_digits.data.load import load_task
    from tune_digits.ensemble.build import build_ensemble
    from tune_digits.ensemble.ladder import run_ladder
    from tune_digits.ensemble.rungs import in_words
    from tune_digits.execute.start import start_executor
    from tune_digits.run_lock import hold
    from tune_digits.tune.same_data import check_same_data

    with hold(run.path, called(), screen.warn):
        task = load_task(study.data, study.cv, CACHE)
        screen.say(task.describe())
        check_same_data(run, study, task)
        executor = start_executor(study.resources, args.address)
        plan, ladder = study.ensemble, []
        with if_stopped(screen.say, called()):
            if args.verify is not None:
                climbed = run_ladder(
                    study,
                    run,
                    task,
                    plan,
                    executor,
                    screen,
                    quick=args.verify == "quick",
                    force=args.force_rungs,
                )
                screen.say(
                    f"each step on rows that it has not seen, {study.cv.score.replace('_', ' ')} in percent:"
                )
                for line in in_words(climbed.rungs):
                    screen.say(f"  {line}")
                plan, ladder = climbed.plan, climbed.rows
            report = build_ensemble(study, run, task, plan, executor, screen, ladder)
    print_report(report, run, screen)
    write_report(run, study, task, screen, preview=True)
    screen.say(disk_line(run))
    return 0
