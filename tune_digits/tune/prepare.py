"""What a search needs before its first trial: an executor, the data, their folds, and the rows that are trained on.

executor, task = start_and_read(study, None, None, Screen())
folds = trained_folds(study, task.train, draw_subset(study, task.train))
preflight(study, task, folds)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tune_digits.config import Cv
    from tune_digits.data.dataset import Labelled, Task
    from tune_digits.data.folds.split import Fold
    from tune_digits.execute.executor import Executor, Stored
    from tune_digits.runs import Fingerprints
    from tune_digits.screen import Screen
    from tune_digits.study import Study
    from tune_digits.tune.training import TrainingData


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a search needs besides its study. facts: what run.json keeps."""

    task: Task
    data: Stored[TrainingData]
    folds: tuple[Fold, ...]
    made_from: Fingerprints
    facts: dict[str, Any]
    executor: Executor


def start_and_read(
    study: Study, address: str | None, cache: Path | None, screen: Screen
) -> tuple[Executor, Task]:
    """The executor, and all the data of the study.

    address: of a Ray cluster to join; cache: where parsed copies of large files are kept. Starting Ray, reading, and
    importing what a search needs take seconds each; side by side they take little more than the longest. Raises
    ConfigError and DataError.
    """
    from concurrent.futures import Future
    from threading import Thread

    from tune_digits.data.files.paths import existing
    from tune_digits.execute.start import start_executor
    from tune_digits.patches.ray_warm import quick_imports
    from tune_digits.screen import Progress

    if study.data.path is not None and not study.data.path.startswith("torchvision:"):
        existing(study.data.path)  # a misspelt path is refused before Ray starts
    progress = Progress("reading", total=100)
    loaded: Future[Task] = Future()

    def load() -> None:
        try:
            from tune_digits.data.load import load_task

            task = load_task(study.data, study.cv, cache, progress.of_file)
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


def draw_subset(study: Study, train: Labelled) -> np.ndarray | None:
    """The rows that are trained on, int64 (n,); None where these are all."""
    from tune_digits.data.folds.subset import subset_rows

    if study.data.subset is None or study.data.subset >= len(train):
        return None
    return subset_rows(train.labels, train.groups, study.data.subset, study.cv.seed)


def trained_folds(study: Study, train: Labelled, rows: np.ndarray | None) -> tuple[Fold, ...]:
    """The folds of all labelled rows, of which only `rows` (int64 (n,); None = all) are trained on.

    All rows of a fold's validation part judge it, or as many as cv.valid_rows says. Raises DataError.
    """
    from tune_digits.data.folds.limits import limit_folds

    cv = study.cv
    return limit_folds(folds_of(cv, train), train.labels, rows, cv.valid_rows, cv.seed)


def folds_of(cv: Cv, train: Labelled) -> tuple[Fold, ...]:
    """The folds of labelled rows, with all that is known of them. Raises DataError."""
    from tune_digits.data.folds.split import make_folds

    return make_folds(train.labels, train.groups, cv, train.targets, train.columns)
