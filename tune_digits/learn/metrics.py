"""Scores, larger is better: the same for one training, for out-of-fold predictions and for an ensemble.

In NumPy: scikit-learn's metrics give the same numbers, and importing them takes 3 s of a core in every worker
(docs/log.md). Shape letters: N samples, T targets (heads), K class columns (all heads side by side).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tune_digits.config import Cv
from tune_digits.data.dataset import Target
from tune_digits.errors import ConfigError


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of the samples whose predicted class is the label; both int64 (N,)."""
    return float((predicted == labels).mean())


def macro_recall(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall over the classes that occur in `labels`; both int64 (N,).

    scikit-learn's balanced_accuracy_score. Its recall_score also counts a class that is only predicted, with recall 0.

    >>> macro_recall(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    0.8333333333333333
    """
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=predicted == labels)
    present = counts > 0
    return float((hits[present] / counts[present]).mean())


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 score, 2 · hits / (samples + predictions), over the classes that occur in `labels` or are predicted.

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
    """What is maximised: a name in METRICS, and the weight of each head in the mean (T,); None = equal weights."""

    name: str = "accuracy"
    weights: tuple[float, ...] | None = None


ACCURACY = Metric()


def metric_of(cv: Cv, targets: Sequence[Target]) -> Metric:
    """The metric of a study for a task's targets. Raises ConfigError where cv.score_weights names others than these."""
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

    proba: float (N, K); the prediction is the largest column of each head. labels: int64 (N, T). N >= 1. Bengali.ai's
    score is macro_recall with the weights 2, 1, 1.
    """
    per_head = [METRICS[metric.name](proba[:, h].argmax(1), labels[:, t]) for t, h in enumerate(heads)]
    return float(np.average(per_head, weights=metric.weights))
