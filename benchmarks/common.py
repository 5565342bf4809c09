"""What the benchmarks share: sides that take turns, and results that are kept only where their code is a commit.

The numbers in the documentation are made from results/*.json. So that anybody can check out what was measured, a result
is written from a clean commit only. `--allow-dirty`, which every script has, measures a tree with changes all the same;
its results are printed, and no file is written.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tune_digits
from tune_digits.disk import write_text
from tune_digits.machine import environment

if TYPE_CHECKING:
    from tune_digits.data.dataset import Task
    from tune_digits.data.folds.split import Fold
    from tune_digits.runs import Run, TrialRecord
    from tune_digits.study import Study

RESULTS = Path(__file__).parent / "results"
# what is made of results is no code: writing the first must not make the tree dirty for the second
MADE = (
    "benchmarks/results",
    *(f"docs/{page}.md" for page in ("performance", "keras-parity", "trust", "fidelity")),
)


def commit() -> str | None:
    """The commit of the package that is measured; with -dirty where its tracked files were changed since, None outside
    git. What is made of results (MADE) does not count as a change."""

    def git(*args: str) -> str:
        folder = Path(tune_digits.__file__).parent
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        number = git("rev-parse", "--short=12", "HEAD")
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", ":/", *(f":(top,exclude){p}" for p in MADE)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{number}-dirty" if changed else number


def check_clean() -> None:
    """End the script, saying why, where what would be measured is no commit that anybody can check out."""
    state = commit()
    if state is None or state.endswith("-dirty"):
        what = (
            "is no git checkout"
            if state is None
            else f"has changes since commit {state.removesuffix('-dirty')}"
        )
        raise SystemExit(
            f"{Path(tune_digits.__file__).parents[1]} {what}, so nobody could measure the same again. Commit first; or "
            "give --allow-dirty, which prints the results and keeps none"
        )


def read_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The script's arguments, with `allow_dirty` and `load`, the machine's load before anything is measured.

    Ends the script before it measures what could not be kept.
    """
    parser.add_argument(
        "--allow-dirty",
        action="store_true",
        help="measure a tree with changes, too: results are printed and not kept",
    )
    args = parser.parse_args()
    if not args.allow_dirty:
        check_clean()
    args.load = os.getloadavg()[0]
    return args


def write(name: str, record: Mapping[str, Any], args: argparse.Namespace, *, show: bool = True) -> None:
    """Print record["results"] where there are any, and keep the record as results/NAME.json.

    Date, commit, machine, versions, and the machine's load before and after are added. args: of `read_arguments`; with
    `allow_dirty` nothing is kept. Ends the script where the tree has been changed since it was started.
    """
    if show:
        print(json.dumps(record["results"], indent=1))
    if args.allow_dirty:
        return
    check_clean()
    load = {"before": args.load, "after": os.getloadavg()[0]}
    facts = {"date": time.strftime("%F"), **environment(), "git": commit(), "load_average": load}
    # of no checksum: these files are read and compared by people, and git has one of each
    write_text(RESULTS / f"{name}.json", json.dumps({**facts, **record}, indent=1, ensure_ascii=False) + "\n")


def child_environment() -> dict[str, str]:
    """Environment of a process that imports these scripts, and the same tune_digits as this process."""
    paths = [Path(__file__).parent, Path(tune_digits.__file__).parents[1]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def take_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each side measures in each round, A B A B: a machine that slows down slows all of them."""
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(rounds):
        # every other round backwards, so that no side always comes first
        for name in list(sides)[:: 1 if round_ % 2 == 0 else -1]:
            seen[name].append(sides[name]())
    return seen


def ratio(a: list[float], b: list[float]) -> dict[str, float]:
    """Median, least and largest of a / b, round by round."""
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def search_on(study: Study, task: Task, fold: Fold, folder: Path) -> tuple[Run, list[TrialRecord]]:
    """The search of a study, on Ray, into a new run folder below `folder`."""
    from tune_digits import runs
    from tune_digits.execute.on_ray import start_ray
    from tune_digits.learn.metrics import metric_of
    from tune_digits.screen import Screen
    from tune_digits.tune.search import run_search
    from tune_digits.tune.training import share

    executor = start_ray(study.resources)
    task, data = share(task, metric_of(study.cv, task.targets), executor)
    run = runs.create_run(folder, study.name, study.to_yaml(), {}, None)
    made_from = runs.Fingerprints("benchmark", "benchmark")
    return run, run_search(study, run, data, fold, made_from, executor, Screen())


def noise_task(count: int, side: int = 28) -> Task:
    """`random_images` as a task of ten classes."""
    from tune_digits.data.dataset import Dataset, Target, Task

    images, labels = random_images(count, side)
    target = Target("digit", tuple("0123456789"))
    return Task("noise", Dataset(images, labels[:, None], np.arange(count), (target,)))


def random_images(count: int, side: int = 28, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Noise uint8 (count, 1, side, side) and labels int64 (count,): time does not depend on what is learnt."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 1, side, side), dtype=np.uint8)
    return images, rng.integers(0, classes, count)
