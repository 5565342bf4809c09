"""What votes learn from out-of-fold predictions: weights, a regression, offsets of classes.

Shapes: C configurations, N rows that their networks were not trained on, T targets (heads), K class columns, k of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tune_digits.ensemble.vote import Ballot, Heads, Stack, log_features, shifted
from tune_digits.learn.metrics import METRICS, Metric
from tune_digits.stats.contributions import NotASum, image_weights

BAGS = 10  # resamples of the rows whose selections `greedy` averages
STEPS = 20  # selections in each
GAP = 1e-5  # `weighted` ends where no weights have a log loss that is better by more
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
LEAST = 1e-12  # a smaller probability has the logarithm of this one


@dataclass(frozen=True, slots=True)
class Seen:
    """What C configurations say of N rows. proba: float (C, N, K); labels: int64 (N, T).

    units: int64 (N,), rows with the same number (a writer's, or one row predicted by two seeds) are drawn together.
    """

    proba: np.ndarray
    labels: np.ndarray
    units: np.ndarray


def fit_weighted(seen: Seen, heads: Heads, metric: Metric, rng: np.random.Generator) -> Ballot:
    """The weights on the simplex with the least log loss, for each target by itself.

    The log loss is convex in the weights, so there is one optimum, and unlike the metric it counts how sure a
    configuration was. Rows weigh as much as in the metric (of macro recall, classes alike). Found by expectation
    maximisation for the proportions of a mixture (Dempster, Laird and Rubin 1977), from equal weights.
    """
    weights = []
    for target, head in enumerate(heads):
        labels = seen.labels[:, target]
        likely = np.take_along_axis(seen.proba[:, :, head], labels[None, :, None], axis=2)[:, :, 0]
        likely = np.maximum(likely.astype(np.float64), LEAST)
        rows = row_weights(metric, labels)
        own = np.full(len(likely), 1 / len(likely))
        for _ in range(2000):
            ratios = likely @ (rows / (own @ likely))
            if np.log(ratios.max()) < GAP:  # an upper bound of what is still to be gained
                break
            own = own * ratios / (own @ ratios)
        weights.append(tuple(own.tolist()))
    return Ballot("weighted", tuple(weights))


def fit_greedy(seen: Seen, heads: Heads, metric: Metric, rng: np.random.Generator) -> Ballot:
    """Weights by selection: again and again the configuration is added that makes the metric of the mean best.

    With replacement, the best prefix of STEPS selections (Caruana et al. 2004, "Ensemble selection from libraries of
    models"), averaged over BAGS bootstrap samples of the units (Sun and Pfahringer 2011, "Bagging ensemble selection").
    Equal scores go to the lower log loss. Each target by itself.
    """
    units, inverse = np.unique(seen.units, return_inverse=True)
    bags = []
    for _ in range(BAGS):
        drawn = np.bincount(rng.integers(0, len(units), len(units)), minlength=len(units))
        bags.append(np.repeat(np.arange(len(inverse)), drawn[inverse]))
    weights = []
    for target, head in enumerate(heads):
        proba = seen.proba[:, :, head].astype(np.float64)
        chosen = [
            _selected(proba[:, rows], seen.labels[rows, target], METRICS[metric.name])
            if len(proba) > 1
            else np.ones(1)
            for rows in bags
        ]
        weights.append(tuple(np.mean(chosen, axis=0).tolist()))
    return Ballot("greedy", tuple(weights))


def _selected(
    proba: np.ndarray, labels: np.ndarray, score: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    """How often each configuration is in the best prefix, as fractions: (C, N, k), int64 (N,) -> float64 (C,)."""
    first = proba.argmax(axis=2)
    # where all agree, so does each mean of them
    split = np.flatnonzero((first != first[0]).any(axis=0))
    contested = proba[:, split]
    likely = np.take_along_axis(proba, labels[None, :, None], axis=2)[:, :, 0]
    answers, total, right = first[0].copy(), np.zeros(contested.shape[1:]), np.zeros(len(labels))
    chosen: list[int] = []
    found = []
    for step in range(1, STEPS + 1):
        tried = []
        for place in range(len(proba)):
            answers[split] = (total + contested[place]).argmax(axis=1)
            loss = -float(np.log(np.maximum((right + likely[place]) / step, LEAST)).mean())
            tried.append((score(answers, labels), -loss))
        best = max(range(len(proba)), key=tried.__getitem__)
        chosen.append(best)
        found.append(tried[best])
        total += contested[best]
        right += likely[best]
    length = 1 + max(range(STEPS), key=found.__getitem__)
    return np.asarray(np.bincount(chosen[:length], minlength=len(proba)) / length)


def fit_stacked(seen: Seen, heads: Heads, metric: Metric, rng: np.random.Generator) -> Ballot:
    """scikit-learn's multinomial logistic regression on the log probabilities, for each target by itself.

    Its penalty is the default, half the squared coefficients beside the sum of the log losses; rows weigh as in
    `fit_weighted`. A class without a row is never the answer.
    """
    from sklearn.linear_model import LogisticRegression

    stacks = []
    for target, head in enumerate(heads):
        labels, classes = seen.labels[:, target], head.stop - head.start
        features = log_features(seen.proba[:, :, head])
        coefficients = np.zeros((classes, features.shape[1]))
        intercepts = np.full(classes, -1e3)
        there = np.unique(labels)
        if len(there) == 1:
            intercepts[there] = 0.0
        else:
            model = LogisticRegression(max_iter=5000)
            model.fit(features, labels, sample_weight=row_weights(metric, labels) * len(labels))
            # of two classes it has the row of the second alone
            last = there[-len(model.coef_) :]
            intercepts[there] = 0.0
            coefficients[last], intercepts[last] = model.coef_, model.intercept_
        stacks.append(Stack(tuple(tuple(row) for row in coefficients.tolist()), tuple(intercepts.tolist())))
    return Ballot("stacked", configurations=tuple(range(len(seen.proba))), stacks=tuple(stacks))


FITS: dict[str, Callable[[Seen, Heads, Metric, np.random.Generator], Ballot]] = {
    "weighted": fit_weighted,
    "greedy": fit_greedy,
    "stacked": fit_stacked,
}


def fit_offsets(voted: np.ndarray, labels: np.ndarray, heads: Heads, metric: Metric) -> np.ndarray:
    """Offsets of the log probabilities that favour rare classes as the metric does: float64 (K,), for `shifted`.

    voted: float64 (N, K). -t · log(frequency of the class), with the least t of EXPONENTS that makes the metric best
    (Menon et al. 2021, arXiv:2007.07314): one number for each target, where one for each class would fit the noise of
    rare classes.
    """
    offsets = np.zeros(heads[-1].stop)
    for target, head in enumerate(heads):
        truth, classes = labels[:, target], head.stop - head.start
        # a class that does not occur counts as half a row
        counts = np.maximum(np.bincount(truth, minlength=classes), 0.5)
        rare = -np.log(counts / counts.sum())
        own = voted[:, head]
        single = (slice(0, classes),)
        scores = [
            METRICS[metric.name](shifted(own, single, exponent * rare).argmax(1), truth)
            for exponent in EXPONENTS
        ]
        offsets[head] = EXPONENTS[int(np.argmax(scores))] * rare
    return offsets


def row_weights(metric: Metric, labels: np.ndarray) -> np.ndarray:
    """How much each row counts in the metric of one target, int64 (N,) -> float64 (N,) with the sum 1; alike for a
    metric that is no sum over rows."""
    try:
        return image_weights(metric.name, None, labels[:, None])[:, 0]
    except NotASum:
        return np.full(len(labels), 1 / len(labels))
