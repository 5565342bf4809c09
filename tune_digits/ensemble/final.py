"""The last judgement: the saved ensemble on the rows that nothing has touched (`cv.untouched`), read once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_digits import disk
from tune_digits.data.dataset import Task
from tune_digits.ensemble.members import MANIFEST, predict_members, read_manifest, vote
from tune_digits.errors import RunError
from tune_digits.learn.metrics import score
from tune_digits.runs import Run
from tune_digits.stats.contributions import NotASum, contributions
from tune_digits.stats.noise import Noise
from tune_digits.stats.outcomes import Training
from tune_digits.stats.selection import corrected_score


@dataclass(frozen=True, slots=True)
class Final:
    """What an ensemble scores on the untouched rows. low, high: a 95 % interval, from how much the rows (or groups of
    rows) differ; None where the metric is no sum over images. ensemble: digest of its manifest; data: fingerprint of
    the rows; read: when; look: which ensemble this is, counted from 1, that these rows have judged."""

    score: float
    low: float | None
    high: float | None
    images: int
    ensemble: str
    data: str
    read: str
    look: int


def final_score(
    run: Run, task: Task, device: Any, each: Callable[[int], None] = lambda done: None
) -> tuple[Final, bool]:
    """The score of the run's ensemble on the untouched rows, and whether the rows were read for it just now.

    What has been read once is told from `ensemble/final.json` and not measured again. Another ensemble is judged again,
    with its look counted: who chooses by these looks has touched the rows. Raises RunError where the study sets no rows
    aside.
    """
    if task.untouched is None:
        raise RunError(
            f"{run.path}: no rows were set aside. A search with --set cv.untouched=0.1 keeps a tenth for the end"
        )
    manifest = read_manifest(run.ensemble)
    ensemble, data = disk.file_digest(run.ensemble / MANIFEST), task.untouched.fingerprint
    file = run.ensemble / "final.json"
    looks = [Final(**look) for look in disk.read_json(file)["looks"]] if file.exists() else []
    known = next((look for look in looks if (look.ensemble, look.data) == (ensemble, data)), None)
    if known is not None:
        return known, False
    proba = vote(
        predict_members(run.ensemble, manifest, task.untouched.images, device, manifest.tta, each), manifest
    )
    labels = task.untouched.labels
    low, high = _interval(manifest.metric.name, manifest.metric.weights, proba, task, manifest.heads)
    final = Final(
        score(manifest.metric, proba, labels, manifest.heads),
        low,
        high,
        len(labels),
        ensemble,
        data,
        time.strftime("%F %T"),
        len(looks) + 1,
    )
    disk.write_json(file, {"looks": [asdict(look) for look in (*looks, final)]})
    return final, True


def _interval(
    metric: str, weights: Any, proba: np.ndarray, task: Task, heads: tuple[slice, ...]
) -> tuple[float | None, float | None]:
    assert task.untouched is not None, "the caller has seen to it"
    rows = np.arange(len(proba))
    try:
        each = contributions(metric, weights, proba, task.untouched.labels, heads)
    except NotASum:
        return None, None
    # one trained vote: how other trainings would vote is not part of the question
    seen = corrected_score(
        {0: [Training(0, 0, rows, each)]}, task.untouched.groups, Noise(0.0, 0.0, 0.0, 1.0)
    )
    return seen.low, seen.high


def in_words(final: Final, path: Path) -> list[str]:
    """For the screen. path: of the ensemble's folder."""
    interval = ""
    if final.low is not None and final.high is not None:
        interval = f", 95 % interval {final.low:.4f} to {final.high:.4f}"
    lines = [
        f"{path}: score {final.score:.4f}{interval} on {final.images:,} untouched rows, read on {final.read}"
    ]
    if final.look > 1:
        lines.append(
            f"these rows have judged {final.look} ensembles; who chooses between them by these scores has made the "
            "rows part of the search, and the score too good"
        )
    return lines
