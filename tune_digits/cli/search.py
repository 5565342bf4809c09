"""tune-digits search: Ray Tune, Optuna and ASHA over a space, then confirmation on all folds."""

from __future__ import annotations

import argparse
import shlex
import sys
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
)
from tune_digits.cli.summary import print_board, print_folds, print_study, report_findings
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    from tune_digits.data.dataset import Task
    from tune_digits.runs import Run
    from tune_digits.screen import Screen
    from tune_digits.study import Study

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
}
# what may change when a run is taken up again: how much is done, and on what, but not what is compared
RESUMABLE = ("trials", "time_budget", "candidates", "cpus_per_trial", "gpus_per_trial", "max_concurrent")


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
    if "path" not in study.raw["data"] or study.data.path is None:
        screen.say("data: none given, so scikit-learn's bundled digits (--data PATH for your own)")

    from tune_digits import runs

    task, data, folds, slots = prepare(study, args, screen)
    facts = {"command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), "data": task.describe()}
    facts |= {"seed": study.search.seed, "slots": slots.describe()}
    run = runs.create_run(RUNS, study.name, study.to_yaml(), facts, args.run_dir)
    return go(study, run, task, data, folds, slots, screen)


def resume(args: argparse.Namespace, overrides: dict[str, Any], screen: Screen) -> int:
    from tune_digits.runs import open_run
    from tune_digits.study import load_study

    run = open_run(args.resume)
    allowed = {FLAGS[flag] for flag in RESUMABLE}
    if foreign := sorted(set(overrides) - allowed):
        flags = ", ".join("--" + f.replace("_", "-") for f in RESUMABLE)
        raise ConfigError(
            f"--resume goes on with the study of {run.path}: {', '.join(foreign)} cannot change now ({flags} can)"
        )
    study = load_study(run.study_file, overrides, origins_of(args))
    task, data, folds, slots = prepare(study, args, screen)
    return go(study, run, task, data, folds, slots, screen)


def prepare(study: Study, args: argparse.Namespace, screen: Screen) -> tuple[Task, Any, Any, Any]:
    """Start Ray, read the data and fold them, saying what was found. Returns task, stored data, folds and slots."""
    from dataclasses import replace
    from threading import Thread

    from tune_digits.data.files.paths import existing
    from tune_digits.machine import available_cores, work_of_others
    from tune_digits.screen import Progress
    from tune_digits.tune.resources import (
        oversubscription,
        plan_slots,
        quick_imports,
        start_ray,
    )

    if study.data.path is not None and not study.data.path.startswith("torchvision:"):
        existing(study.data.path)  # a slip of the pen does not wait for Ray
    others = work_of_others()  # before there is any work of our own
    # reading the data, importing what the search needs and starting Ray take seconds each; side by side they
    # take little more than the longest
    loaded: dict[str, Any] = {}

    def load() -> None:
        try:
            from tune_digits.data.load import load_task

            loaded["task"] = load_task(study.data, study.cv, CACHE, progress.of_file)
            import tune_digits.tune.confirm
            import tune_digits.tune.tracking  # noqa: F401
        except Exception as error:  # handed over to the main thread below
            loaded["error"] = error

    progress = Progress("reading", total=100)
    reader = Thread(target=load, daemon=True)  # a command that is stopped does not wait for it
    with quick_imports():
        slots = plan_slots(study.resources, *start_ray(args.address, meanwhile=reader.start))
        reader.join(2)
    if reader.is_alive() and progress.facts:  # a large file
        with screen.watch(progress):
            while reader.is_alive():
                reader.join(0.2)
                screen.tick(progress)
    reader.join()
    if "error" in loaded:
        raise loaded["error"]
    task = loaded["task"]

    from tune_digits.data.folds.split import make_folds
    from tune_digits.data.folds.subset import subset_rows
    from tune_digits.learn.metrics import metric_of
    from tune_digits.tune.search import share

    screen.say(task.describe())
    train = task.train
    if study.data.subset is not None and study.data.subset < len(train):
        rows = subset_rows(train.labels, train.groups, study.data.subset, study.cv.seed)
        task = replace(task, train=train.take(rows))
        screen.say(f"search and confirm on {len(rows):,} of them, drawn evenly by class")
    metric_of(study.cv, task.targets)  # refuses weights of targets that are not there
    train = task.train
    folds = make_folds(train.labels, train.groups, study.cv, train.targets, train.columns)
    check_fold_numbers(study, len(folds))
    print_folds(folds, train, study, screen)
    report_findings(task, folds, args.strict, screen)
    check_augmentation(study, task)
    check_models(study, task, screen)
    check_losses(study, task)
    screen.say(f"trainings: {slots.describe()}")
    if not args.address and (warning := oversubscription(slots, others, available_cores())):
        screen.warn(warning)
    return *share(task, study), folds, slots


def check_fold_numbers(study: Study, count: int) -> None:
    """The study has checked these numbers, except against a column of folds, which it has not seen."""
    if study.search.fold >= count:
        raise ConfigError(f"search.fold is {study.search.fold}, but the folds are 0..{count - 1}")
    if study.confirm.folds is not None and study.confirm.folds > count:
        raise ConfigError(f"confirm.folds is {study.confirm.folds}, but there are {count} folds")


def check_augmentation(study: Study, task: Task) -> None:
    """Refuse an albumentations pipeline that cannot work on these images before any trial meets it."""
    from tune_digits.config import TrialConfig

    augment = TrialConfig.model_validate(study.space.point(study.space.baseline)[1]).augment
    if augment.backend == "albumentations":
        from tune_digits.learn.albumentations_backend import check_pipeline

        check_pipeline(augment, *task.train.images.shape[1:])


def check_models(study: Study, task: Task, screen: Screen) -> None:
    """Refuse a network that cannot be made for these images, or started from what is given, before any trial."""
    from tune_digits.config.model import SHAPE_NEUTRAL, STARTS

    # these fields make no network fail; zero_last needs residual blocks
    harmless = SHAPE_NEUTRAL - STARTS - {"bn_gamma_init"}
    models = {c.model.without(harmless) for c in study.space.ends()}
    # the networks written here take all images; those of other libraries, and other runs' weights, may not
    doubtful = [m for m in models if ":" in m.name or m != m.without_start()]
    if doubtful:
        from tune_digits.learn.models import check_model

        classes = sum(len(target.classes) for target in task.targets)
        for model in sorted(doubtful, key=str):
            taken = check_model(model, *task.train.images.shape[1:], classes)
            if taken is not None:
                rest = f"; left out: {', '.join(taken.left_out)}" if taken.left_out else ""
                start = model.init_from or model.weights
                screen.say(f"{model.name} starts from {len(taken.copied)} tensors of {start}{rest}")


def check_losses(study: Study, task: Task) -> None:
    """Refuse weights and teachers that do not fit the data before any trial meets them."""
    from tune_digits.data.dataset import head_slices
    from tune_digits.learn.loss_checks import check_loss

    for loss in dict.fromkeys(c.loss for c in study.space.ends()):
        check_loss(loss, head_slices(task.targets), len(task.train), study.data.subset)


def go(study: Study, run: Run, task: Task, data: Any, folds: Any, slots: Any, screen: Screen) -> int:
    from tune_digits.tune.confirm import run_confirm
    from tune_digits.tune.search import run_search

    screen.say(f"run folder: {run.path}   (tensorboard --logdir {run.path})")
    try:
        records = run_search(study, run, data, folds[study.search.fold], slots, screen)
        board = run_confirm(study, run, task, data, folds, records, slots, screen)
    except KeyboardInterrupt:
        screen.say(f"\nnothing is lost; go on with: python scripts/search.py --resume {run.path}")
        raise
    print_board(board, screen)
    screen.say(f"\nleaderboard: {run.leaderboard}")
    screen.say(f"next: python scripts/ensemble.py --top {study.ensemble.top}")
    return 0
