"""tune-digits ensemble: the best confirmed configurations, retrained on all data, vote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tune_digits.cli.common import CACHE, RUNS, Help, add_common, add_resources, run_command, start_executor


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ensemble.py",
        formatter_class=Help,
        description="Retrain the best confirmed configurations of a run on all data, let them vote, take the sure\n"
        "answers as pseudo-labels for one more training, vote again, and write submission.csv.",
    )
    add = parser.add_argument
    add("--run", type=Path, default=RUNS / "latest", metavar="DIR", help="run folder")
    add("--top", type=int, metavar="N", help="members: the best N confirmed configurations (study file; 5)")
    add(
        "--prefer",
        choices=("confirmed", "out_of_domain"),
        help="out_of_domain: of those that cross-validation cannot tell from its best, by the holdouts "
        "(study file; confirmed)",
    )
    add("--seeds", type=int, metavar="N", help="trainings of each (study file; 1)")
    add("--epochs", type=int, metavar="N", help="passes over the data (study file; as in the trial)")
    add(
        "--voting",
        choices=("soft", "hard"),
        help="mean of probabilities, or most frequent label (study file; soft)",
    )
    pseudo = parser.add_mutually_exclusive_group()
    pseudo.add_argument(
        "--pseudo",
        type=float,
        metavar="P",
        help="least probability that makes a pseudo-label (study file; 0.95)",
    )
    pseudo.add_argument("--no-pseudo", action="store_true", help="no pseudo-labels")
    add(
        "--tta",
        type=int,
        metavar="N",
        help="views per image, 1 to 9, shifted by up to a pixel (study file; 1)",
    )
    add_resources(parser)
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(ensemble, make_parser().parse_args(argv))


def ensemble(args: argparse.Namespace) -> int:
    from tune_digits.runs import open_run
    from tune_digits.screen import Screen
    from tune_digits.study import load_study

    screen = Screen()
    run = open_run(args.run)
    flags = ("top", "prefer", "seeds", "epochs", "voting", "pseudo", "tta")
    overrides: dict[str, Any] = {
        f"ensemble.{f}": getattr(args, f) for f in flags if getattr(args, f) is not None
    }
    if args.no_pseudo:
        overrides["ensemble.pseudo"] = None
    for flag in ("max_concurrent", "cpus_per_trial", "gpus_per_trial", "executor"):
        if getattr(args, flag) is not None:
            overrides[f"resources.{flag}"] = getattr(args, flag)
    origins = {key: "--" + key.partition(".")[2].replace("_", "-") for key in overrides}
    study = load_study(run.study_file, overrides, origins)

    from tune_digits.data.load import load_task
    from tune_digits.ensemble.build import build_ensemble
    from tune_digits.tune.same_data import check_same_task

    task = load_task(study.data, study.cv, CACHE)
    screen.say(task.describe())
    check_same_task(run, task)
    executor = start_executor(study.resources, args.address)
    report = build_ensemble(study, run, task, study.ensemble, executor, screen)
    print_report(report, run, screen)
    return 0


def print_report(report: dict[str, Any], run: Any, screen: Any) -> None:
    from tune_digits.screen import clock

    metric = report["metric"].replace("_", " ")
    members = report["cross_validation"]["members"]
    screen.say()
    if members:
        low, high = min(m["confirmed"] for m in members), max(m["confirmed"] for m in members)
        screen.say(f"cross-validated {metric} of the members, each alone: {low:.4f} to {high:.4f}")
    for number, figures in enumerate(report["rounds"]):
        what = f"with {figures['pseudo_labels']:,} pseudo-labels" if number else "trained on all labels"
        screen.say(f"{len(report['members'])} members, {what}:")
        for name, entry in figures["sets"].items():
            score = f"{metric} {entry['score']:.4f}, " if "score" in entry else ""
            screen.say(
                f"  {name} ({entry['images']:,} images): {score}members unanimous on {entry['unanimous']:.1%}"
            )
    last = report["rounds"][-1]["sets"].get("test", {})
    if "score" in last:
        screen.say(f"test {metric} on the held-out images: {last['score']:.4f}")
    screen.say(f"took {clock(report['seconds'])}")
    if (run.ensemble / "submission.csv").exists():
        screen.say(f"submission: {run.ensemble / 'submission.csv'}")
    screen.say(f"weights and report: {run.ensemble}")
