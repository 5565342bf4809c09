"""Pseudo-labels (Lee 2013): the vote's sure answers on unlabelled images, taken as labels for one more training.

Shape letters: M members, N images, n of them chosen, T targets (heads), K class columns, all heads side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tune_digits.config import Ensemble


@dataclass(frozen=True, slots=True)
class Rule:
    """Which images get a label; all of it must hold.

    cut: least probability of every head's answer, in (0, 1]. quantile: in every head, of the images with one answer
    this surest fraction, in (0, 1], rounded up. agree: all members give the vote's answer. cap: so many images of one
    class at most, the surest; None = no limit. soft: the label is the vote's probabilities, else its answer as 1.
    """

    cut: float
    quantile: float = 1.0
    agree: bool = False
    cap: int | None = None
    soft: bool = False


def rule_of(plan: Ensemble) -> Rule | None:
    """The rule of a study's ensemble; None without pseudo-labels."""
    if plan.pseudo is None:
        return None
    return Rule(plan.pseudo, plan.pseudo_quantile, plan.pseudo_agree, plan.pseudo_cap, plan.pseudo_soft)


def select_pseudo(
    proba: np.ndarray, labels: np.ndarray, heads: tuple[slice, ...], rule: Rule
) -> tuple[np.ndarray, np.ndarray]:
    """The images that the rule gives a label.

    proba: float (N, K), the vote. labels: int64 (M, N, T), what each member answers. Returns rows int64 (n,),
    ascending, and targets float32 (n, K), which add up to 1 in each head. Among equally sure images the first come
    first. Raises ValueError for a cut or quantile outside (0, 1].

    >>> vote = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    >>> select_pseudo(vote, vote.argmax(1)[None, :, None], (slice(0, 2),), Rule(0.6, cap=1))[0].tolist()
    [0, 2]
    """
    for name, value in (("cut", rule.cut), ("quantile", rule.quantile)):
        if not 0 < value <= 1:
            raise ValueError(f"the {name} must lie in (0, 1], got {value}")
    answers = np.stack([proba[:, head].argmax(axis=1) for head in heads], axis=1)
    sure = np.stack([proba[:, head].max(axis=1) for head in heads], axis=1)
    kept = (sure >= rule.cut).all(axis=1)
    for t in range(len(heads)):
        kept &= _surest(answers[:, t], sure[:, t], rule.quantile)
    if rule.agree:
        kept &= (labels == answers).all(axis=(0, 2))
    rows = np.flatnonzero(kept)
    if rule.cap is not None:
        rows = _capped(rows, answers, sure.min(axis=1), rule.cap)
    if rule.soft:
        return rows, proba[rows].astype(np.float32)
    targets = np.zeros((len(rows), proba.shape[1]), np.float32)
    for t, head in enumerate(heads):
        targets[np.arange(len(rows)), head.start + answers[rows, t]] = 1
    return rows, targets


def _surest(answers: np.ndarray, sure: np.ndarray, quantile: float) -> np.ndarray:
    """bool (N,): of the images with each answer, the surest fraction."""
    kept = np.zeros(len(answers), bool)
    for label in np.unique(answers):
        own = np.flatnonzero(answers == label)
        order = own[np.argsort(-sure[own], kind="stable")]
        kept[order[: math.ceil(quantile * len(own))]] = True
    return kept


def _capped(rows: np.ndarray, answers: np.ndarray, sure: np.ndarray, cap: int) -> np.ndarray:
    """Of the rows, the surest first, those whose class has less than `cap` before them in every head; ascending."""
    counts: dict[tuple[int, int], int] = {}
    kept = []
    for row in rows[np.argsort(-sure[rows], kind="stable")].tolist():
        classes = list(enumerate(answers[row].tolist()))
        if all(counts.get(c, 0) < cap for c in classes):
            kept.append(row)
            for c in classes:
                counts[c] = counts.get(c, 0) + 1
    return np.array(sorted(kept), np.int64)
