"""Scores, larger is better, in NumPy: the same for one training, for out-of-fold predictions and for a vote.

Shape letters: N samples, T targets (heads), K class columns (all heads side by side).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tune_digits.config import Cv
from tune_digits.data.dataset import Target
from tune_digits.errors import ConfigError


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Part of the samples whose predicted class int64 (N,) is the label (N,)."""
    return float((predicted == labels).mean())


def macro_recall(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur in `labels` of the part of their samples found; both int64 (N,).

    scikit-learn's balanced accuracy. Its recall_score counts a class that is only predicted too, as recall 0.
    """
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=predicted == labels)
    present = counts > 0
    return float((hits[present] / counts[present]).mean())


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur in `labels` or are predicted of 2·hits / (samples + predictions).

    Both int64 (N,). scikit-learn's f1_score(average="macro"): a class that is only predicted counts as 0.
    """
    size = max(predicted.max(), labels.max()) + 1
    samples, predictions = np.bincount(labels, minlength=size), np.bincount(predicted, minlength=size)
    hits = np.bincount(labels, weights=predicted == labels, minlength=size)
    present = samples + predictions > 0
    return float((2 * hits[present] / (samples + predictions)[present]).mean())


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "macro_recall": macro_recall,
    "macro_f1": macro_f1,
}


@dataclass(frozen=True, slots=True)
class Metric:
    """What is maximised: a name in METRICS, and the weight of each head in the mean (T,); None = all alike."""

    name: str = "accuracy"
    weights: tuple[float, ...] | None = None


ACCURACY = Metric()


def metric_of(cv: Cv, targets: Sequence[Target]) -> Metric:
    """The metric of a study for a task's targets. Raises ConfigError where cv.score_weights does not name just these."""
    if cv.score_weights is None:
        return Metric(cv.score)
    names = [t.name for t in targets]
    if set(cv.score_weights) != set(names):
        unknown = [n for n in cv.score_weights if n not in names]
        wrong = f"{unknown[0]!r} is no target" if unknown else "it must name every target"
        raise ConfigError(
            f"cv.score_weights names {', '.join(cv.score_weights) or 'nothing'}: {wrong}. "
            f"The targets of this task are: {', '.join(names)}."
        )
    return Metric(cv.score, tuple(cv.score_weights[n] for n in names))


def score(metric: Metric, proba: np.ndarray, labels: np.ndarray, heads: Sequence[slice]) -> float:
    """The metric, in [0, 1]: the mean over the heads, weighted by `metric.weights` (T,) where given.

    proba: float (N, K), of which only the largest column of each head counts; labels: int64 (N, T); N >= 1.
    Bengali.ai's score is macro_recall with the weights 2, 1, 1.
    """
    per_head = [METRICS[metric.name](proba[:, h].argmax(1), labels[:, t]) for t, h in enumerate(heads)]
    return float(np.average(per_head, weights=metric.weights))
