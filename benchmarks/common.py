"""What the benchmarks share: sides that take turns, a table, and results with the machine they were seen on."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_digits.machine import environment

if TYPE_CHECKING:
    from tune_digits.data.dataset import Task
    from tune_digits.data.folds.split import Fold
    from tune_digits.runs import Run, TrialRecord
    from tune_digits.study import Study

RESULTS = Path(__file__).parent / "results"


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


def write(name: str, results: Mapping[str, Any]) -> None:
    """Keep `results` as results/NAME.json with machine, versions and date, and print them."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"date": time.strftime("%F"), **environment(), "results": results}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(json.dumps(results, indent=1))


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
