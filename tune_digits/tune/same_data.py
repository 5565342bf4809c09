"""Whether a run goes on with the data, folds and given weights that it was begun with; refused in words where not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tune_digits.data.dataset import Task
from tune_digits.data.folds.split import Fold
from tune_digits.runs import Fingerprints, Run
from tune_digits.study import Study


def made_from(whole: Task, rows: np.ndarray | None, folds: Sequence[Fold]) -> Fingerprints:
    return Fingerprints("", "")


def facts_of(study: Study, whole: Task, fingerprints: Fingerprints) -> dict[str, Any]:
    return {"data": whole.describe()}


def check_same_data(run: Run, study: Study, whole: Task, fingerprints: Fingerprints) -> None: ...


def check_same_task(run: Run, whole: Task) -> None: ...
