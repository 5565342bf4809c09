"""Small runs for tests: records, a data set whose classes a small network learns in seconds, and studies of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tune_digits import runs
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Dataset, Target, Task
from tune_digits.data.folds.split import Fold
from tune_digits.execute.executor import Executor
from tune_digits.execute.inline import InlineExecutor
from tune_digits.execute.slots import Slots
from tune_digits.learn.metrics import metric_of
from tune_digits.runs import Fingerprints, FoldResult, Run, TrialRecord
from tune_digits.screen import Screen
from tune_digits.study import Study, make_study
from tune_digits.tune import prepare
from tune_digits.tune.confirm import run_confirm
from tune_digits.tune.search import run_search
from tune_digits.tune.searcher import open_study
from tune_digits.tune.training import share

MADE_FROM = Fingerprints("data", "folds")
INLINE = InlineExecutor(Slots(1, 0, 1))
SMALL = {"model": {"name": "lean_cnn", "width": 4, "depth": 1}, "train": {"epochs": 4, "batch_size": 20}}


def record(
    number: int,
    score: float | None,
    epochs: int = 4,
    role: str = "search",
    state: runs.State = "finished",
    config: TrialConfig | None = None,
    **more: Any,
) -> TrialRecord:
    config = config or TrialConfig.model_validate({"optimizer": {"name": "adamw", "lr": (number + 1) / 100}})
    searched = {"optimizer.lr": number / 10}
    return TrialRecord(number, state, role, config, searched, MADE_FROM, epochs, score, score, 1.0, **more)


def fold_result(trial: int, fold: int, seed: int, score: float, outside: float | None = None) -> FoldResult:
    holdouts = {} if outside is None else {"Dig": outside}
    rows, proba = np.zeros(0, np.int64), np.zeros((0, 10), np.float32)
    return FoldResult(trial, fold, seed, rows, proba, score, 2.0, MADE_FROM, holdouts)


def halves(count: int = 100, side: int = 8, seed: int = 0) -> Dataset:
    """Images uint8 (count, 1, side, side) whose left or right half is brighter, which is their label; `writer` groups
    ten rows in a row."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 80, (count, 1, side, side))
    for i, half in enumerate(labels):
        images[i, 0, :, half * side // 2 : (half + 1) * side // 2] += 60
    groups = np.arange(count) // 10
    return Dataset(
        images.astype(np.uint8),
        labels[:, None],
        np.arange(count),
        (Target("half", ("left", "right")),),
        groups,
    )


def halves_task(count: int = 100, test: int = 0) -> Task:
    whole = halves(count + test)
    train = whole.take(np.arange(count))
    return Task("halves", train, whole.take(np.arange(count, count + test)) if test else None)


def small_study(trial: dict[str, Any] | None = None, **parts: Any) -> Study:
    """A study of `halves`: lr is searched; trial: parts of the trial's tree, over SMALL."""
    tree = {**SMALL, "optimizer": {"name": "adamw", "lr": {"loguniform": [1e-4, 1e-1]}}, **(trial or {})}
    raw = {"trial": tree, "cv": {"folds": 3}, "search": {"trials": 4, "startup_trials": 2}, **parts}
    return make_study(raw, "small.yaml", "small", {})


def folds_of(study: Study, task: Task) -> tuple[Fold, ...]:
    return prepare.folds_of(study.cv, task.train)


def searched_run(
    folder: Path,
    study: Study,
    task: Task,
    executor: Executor = INLINE,
    resume: bool = False,
) -> tuple[Run, list[TrialRecord]]:
    """A run folder below `folder` with the search of the study done; resume: the one that is there."""
    run = (
        runs.open_run(folder / "latest")
        if resume
        else runs.create_run(folder, study.name, study.to_yaml(), {})
    )
    _, data = share(task, metric_of(study.cv, task.targets), executor)
    fold = folds_of(study, task)[study.search.fold]
    return run, run_search(study, run, data, fold, MADE_FROM, executor, Screen())


def confirmed_run(
    folder: Path, study: Study, task: Task, executor: Executor = INLINE, resume: bool = False
) -> tuple[Run, pd.DataFrame]:
    """A run folder below `folder` with search and confirmation done, and its leaderboard."""
    run, records = searched_run(folder, study, task, executor, resume)
    task, data = share(task, metric_of(study.cv, task.targets), executor)
    board = run_confirm(study, run, task, data, folds_of(study, task), records, MADE_FROM, executor, Screen())
    return run, board


def told(run: Run, study: Any) -> list[Any]:
    """The trials as Optuna's journal has them."""
    return open_study(run.journal, study.search, study.space, 0).trials
