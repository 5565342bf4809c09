"""What out-of-fold probabilities say of classes and rows, beside the labels: pure functions of arrays.

Shape letters: N samples, K classes of one target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tune_digits.runs import FoldResult


def mean_answers(results: Sequence[FoldResult]) -> tuple[np.ndarray, np.ndarray]:
    """The validated rows, int64 (N,) ascending, and the mean of what the trainings say of each, float64 (N, all
    columns). results: one or more, of one configuration or several; every row is judged by networks that have not
    seen it."""
    rows = np.unique(np.concatenate([r.valid_idx for r in results]))
    total = np.zeros((len(rows), results[0].valid_proba.shape[1]))
    count = np.zeros(len(rows))
    for result in results:
        place = np.searchsorted(rows, result.valid_idx)
        total[place] += result.valid_proba
        count[place] += 1
    return rows, total / count[:, None]


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often each label (row) got each answer (column): int64 (K, K). labels, predicted: int64 (N,).

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    flat = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return np.asarray(flat.reshape(classes, classes))


def class_table(counts: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """A row per class of a confusion matrix: class, images, precision, recall, f1; NaN where there is nothing to divide
    by (a class that never occurs, or is never the answer)."""
    hits = np.diag(counts).astype(np.float64)
    images, answers = counts.sum(1), counts.sum(0)

    def over(below: np.ndarray) -> np.ndarray:
        return np.asarray(np.divide(hits, below, out=np.full(len(hits), np.nan), where=below > 0))

    f1 = np.divide(2 * hits, images + answers, out=np.full(len(hits), np.nan), where=images + answers > 0)
    return pd.DataFrame(
        {
            "class": list(names),
            "images": images,
            "precision": over(answers),
            "recall": over(images),
            "f1": f1,
        }
    )


def confused_pairs(counts: np.ndarray, names: Sequence[str], most: int = 10) -> pd.DataFrame:
    """Which class is taken for which other most often: label, answer, images, fraction (of the label's images)."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)]
    return pd.DataFrame(
        [
            (names[i], names[j], int(wrong[i, j]), wrong[i, j] / counts[i].sum())
            for i, j in pairs
            if wrong[i, j] > 0
        ],
        columns=["label", "answer", "images", "fraction"],
    )


def class_accuracies(
    results: Sequence[FoldResult], labels: np.ndarray, head: slice, names: Sequence[str]
) -> pd.DataFrame:
    """The accuracy on each class in each fold, over its seeds: trial, fold, class, accuracy, images.

    labels: int64 (rows of the training set,), of one target, whose columns are `head`. Classes that a fold has no image
    of are not in it.
    """
    parts = []
    for r in results:
        own = labels[r.valid_idx]
        right = r.valid_proba[:, head].argmax(1) == own
        parts.append(pd.DataFrame({"trial": r.trial, "fold": r.fold, "label": own, "right": right}))
    table = pd.concat(parts).groupby(["trial", "fold", "label"])["right"].agg(["mean", "size"]).reset_index()
    table["class"] = [names[label] for label in table["label"]]
    table = table.rename(columns={"mean": "accuracy", "size": "images"})
    return table[["trial", "fold", "label", "class", "accuracy", "images"]]


def calibration(proba: np.ndarray, labels: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """How often answers of a confidence are right, in bins: low, high, confidence (mean), accuracy, images.

    proba: float (N, K); labels: int64 (N,). The bins are of equal width over [0, 1], those without an image left out
    (Guo et al. 2017, arXiv:1706.04599).
    """
    confidence = proba.max(1)
    right = proba.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = [
        (
            b / bins,
            (b + 1) / bins,
            confidence[place == b].mean(),
            right[place == b].mean(),
            (place == b).sum(),
        )
        for b in range(bins)
        if (place == b).any()
    ]
    return pd.DataFrame(rows, columns=["low", "high", "confidence", "accuracy", "images"])


def calibration_error(table: pd.DataFrame) -> float:
    """The expected calibration error: mean |accuracy - confidence| of the bins, weighted by their images, in [0, 1]."""
    return float(np.average((table["accuracy"] - table["confidence"]).abs(), weights=table["images"]))


def mistakes(proba: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Samples with a wrong answer, the surest wrong ones first: int64 (mistakes,). proba: (N, K); labels: (N,)."""
    wrong = np.flatnonzero(proba.argmax(1) != labels)
    return np.asarray(wrong[np.argsort(-proba[wrong].max(1), kind="stable")])


def likely_label_errors(proba: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Samples whose label is probably wrong, likeliest first: int64 (found,). proba: (N, K), by networks that were not
    trained on the sample; labels: int64 (N,).

    Confident learning (Northcutt et al. 2021, arXiv:1911.00068): a sample counts as class j if its probability of j is
    at least what samples labelled j get of j on average, the largest of those classes if they are several; it is
    listed where j is not its label. Sorted by the probability of the label less that of the answer.
    """
    classes = proba.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = np.bincount(labels, weights=proba[np.arange(len(labels)), labels], minlength=classes)
    least = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    sure = np.where(proba >= least, proba, -1.0)
    counted = sure.argmax(1)
    found = np.flatnonzero((sure.max(1) >= 0) & (counted != labels))
    margin = proba[found, labels[found]] - proba[found, counted[found]]
    return np.asarray(found[np.argsort(margin, kind="stable")])
