"""What out-of-fold answers say of classes and rows: against scikit-learn, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from run_samples import MADE_FROM
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tune_digits.report import judged
from tune_digits.runs import FoldResult

RNG = np.random.default_rng(0)
LABELS, ANSWERS = RNG.integers(0, 5, 200), RNG.integers(0, 5, 200)


def result(
    rows: list[int], proba: list[list[float]], trial: int = 0, fold: int = 0, seed: int = 0
) -> FoldResult:
    return FoldResult(trial, fold, seed, np.array(rows), np.array(proba, np.float32), 0.5, 1.0, MADE_FROM)


def test_answers_are_the_mean_over_the_trainings_that_judged_a_row() -> None:
    rows, proba = judged.mean_answers(
        [
            result([4, 1], [[0.2, 0.8], [1.0, 0.0]]),
            result([4], [[0.6, 0.4]], seed=1),
            result([2], [[0, 1]], fold=1),
        ]
    )
    assert rows.tolist() == [1, 2, 4]
    assert proba == pytest.approx(np.array([[1, 0], [0, 1], [0.4, 0.6]]))


def test_confusion_and_class_table_are_scikit_learns() -> None:
    counts = judged.confusion(LABELS, ANSWERS, 5)
    assert np.array_equal(counts, confusion_matrix(LABELS, ANSWERS))
    table = judged.class_table(counts, list("abcde"))
    precision, recall, f1, images = precision_recall_fscore_support(LABELS, ANSWERS)
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1), ("images", images)):
        assert table[name].to_numpy() == pytest.approx(values)
    assert table["class"].tolist() == list("abcde")


def test_a_class_without_images_or_answers_has_no_figure() -> None:
    table = judged.class_table(judged.confusion(np.array([0, 0]), np.array([0, 1]), 3), "abc")
    assert np.isnan(table["recall"][1]) and table["precision"][1] == 0
    assert table.loc[2, ["precision", "recall", "f1"]].isna().all()


def test_pairs_are_ordered_by_how_often_they_are_confused() -> None:
    counts = np.array([[90, 0, 10], [3, 5, 2], [0, 0, 7]])
    pairs = judged.confused_pairs(counts, "abc", most=2)
    assert pairs.values.tolist() == [["a", "c", 10, 0.1], ["b", "a", 3, 0.3]]
    assert len(judged.confused_pairs(counts, "abc")) == 3
    assert judged.confused_pairs(np.eye(3, dtype=int), "abc").empty


def test_accuracies_are_of_each_class_in_each_fold_over_its_seeds() -> None:
    labels = np.array([0, 0, 1, 1])
    results = [
        result([0, 2], [[9, 0.9, 0.1], [9, 0.9, 0.1]]),
        result([0, 2], [[9, 0.1, 0.9], [9, 0.1, 0.9]], seed=1),
        result([1], [[9, 0.9, 0.1]], fold=1),
    ]
    table = judged.class_accuracies(results, labels, slice(1, 3), ["x", "y"])
    assert table.values.tolist() == [[0, 0, 0, "x", 0.5, 2], [0, 0, 1, "y", 0.5, 2], [0, 1, 0, "x", 1.0, 1]]


def test_calibration_by_hand() -> None:
    proba = np.array([[0.95, 0.05], [0.91, 0.09], [0.45, 0.55], [1.0, 0.0]])
    table = judged.calibration(proba, np.array([0, 1, 1, 0]))
    assert table[["low", "images"]].values.tolist() == [[0.5, 1], [0.9, 3]]
    assert table["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    assert table["confidence"].tolist() == pytest.approx([0.55, 2.86 / 3])
    assert judged.calibration_error(table) == pytest.approx((0.45 + (2.86 - 2)) / 4)


def test_answers_that_are_right_as_often_as_they_are_sure_are_calibrated() -> None:
    confidence = RNG.uniform(0.5, 1, 40_000)
    right = RNG.random(40_000) < confidence
    proba = np.stack([confidence, 1 - confidence], axis=1)
    assert judged.calibration_error(judged.calibration(proba, np.where(right, 0, 1))) < 0.01


def test_the_surest_mistakes_come_first() -> None:
    proba = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    assert judged.mistakes(proba, np.array([1, 1, 1, 0])).tolist() == [1, 3, 0]


def test_swapped_labels_are_found_and_others_are_not() -> None:
    labels = RNG.integers(0, 4, 400)
    logits = RNG.normal(0, 0.3, (400, 4))
    logits[np.arange(400), labels] += 4
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    swapped = np.array([7, 30, 200])
    given = labels.copy()
    given[swapped] = (given[swapped] + 1) % 4
    assert sorted(judged.likely_label_errors(proba, given)[:3].tolist()) == swapped.tolist()
    # an answer that is unsure for its class is no reason to doubt a label
    proba[7] = [0.28, 0.24, 0.24, 0.24]
    assert 7 not in judged.likely_label_errors(proba, given)


def test_confident_learning_by_hand() -> None:
    """Thresholds: class 0 the mean of 0.9, 0.7 and 0.2, 0.6; class 1 that of 0.8 and 0.6, 0.7."""
    proba = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8], [0.4, 0.6]])
    assert judged.likely_label_errors(proba, np.array([0, 0, 0, 1, 1])).tolist() == [2]
