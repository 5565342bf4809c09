"""What each step towards an ensemble is worth: its score on rows that it has not seen, and its gain over the step
before, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tune_digits.runs import FoldResult
from tune_digits.stats.compare import LEVEL, Comparison, Verdict, compare, paired_t
from tune_digits.stats.noise import Noise, training_noise
from tune_digits.stats.selection import candidates
from tune_digits.tune.leaderboard import Judges, mean_and_error

# of one outer fold: how another training would do is not known, and the images alone decide
IMAGES_ALONE = Noise(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Rung:
    """One step. score: mean over the outer folds, in [0, 1]; error: its standard error.

    Against the last rung that is used (None for the first): difference, its 95 % interval low to high, p and verdict.
    p is that of the best of `tried` forms of the step (Bonferroni); the interval is not corrected for that. used:
    whether the ensemble is to have the step. seconds: what it took, without what was on record.
    """

    name: str
    score: float
    error: float
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict | None
    tried: int
    used: bool
    seconds: float


def judge_rung(
    name: str,
    own: Sequence[FoldResult],
    climbed: Sequence[Sequence[FoldResult]],
    before: int | None,
    judges: Judges,
    seconds: float,
    *,
    tried: int = 1,
    unless_worse: bool = False,
    force: bool = False,
) -> Rung:
    """One rung from its answers to each outer fold's rows, paired with those of the last used rung.

    climbed: the answers of all rungs so far; before: the place of the last used one among them, None for the first
    rung. A rung is used where it is told to be better; unless_worse: where it is not told to be worse; force: in any
    case.
    """
    score, error = score_and_error(own, judges)
    if before is None:
        return Rung(name, score, error, None, None, None, None, None, tried, True, seconds)
    seen = compared(own, climbed, before, judges)
    p = min(seen.p * tried, 1.0)
    verdict: Verdict = "cannot tell" if p >= LEVEL else "better" if seen.difference > 0 else "worse"
    used = force or verdict == "better" or (unless_worse and verdict != "worse")
    return Rung(name, score, error, seen.difference, seen.low, seen.high, p, verdict, tried, used, seconds)


def compared(
    own: Sequence[FoldResult], climbed: Sequence[Sequence[FoldResult]], before: int, judges: Judges
) -> Comparison:
    """own minus climbed[before], on the same outer folds.

    How much a step varies from training to training is estimated from all rungs together, since two of them on three
    folds have two degrees of freedom. Where the metric is no sum over images: Student's t over folds.
    """
    every = [*climbed, own]
    outcomes = judges.outcomes([replace(r, trial=place) for place, side in enumerate(every) for r in side])
    if outcomes is None:
        return paired_t(np.array([a.score - b.score for a, b in zip(own, every[before], strict=True)]))
    noise = IMAGES_ALONE if len(own) == 1 else training_noise(outcomes, judges.groups)
    return compare(outcomes[len(climbed)], outcomes[before], judges.groups, noise)


def score_and_error(own: Sequence[FoldResult], judges: Judges) -> tuple[float, float]:
    """Mean over the outer folds and its standard error; of one fold that of its images, NaN where there is none."""
    score, error = mean_and_error([r.score for r in own])
    if len(own) > 1:
        return score, error
    outcomes = judges.outcomes([replace(r, trial=0) for r in own])
    if outcomes is None:
        return score, math.nan
    return score, candidates(outcomes, judges.groups, IMAGES_ALONE).common_error


def in_words(rungs: Sequence[Rung]) -> list[str]:
    """The ladder for the screen, in percentage points, a line for each rung."""
    width = max(len(rung.name) for rung in rungs)
    lines = []
    for rung in rungs:
        line = f"{rung.name:<{width}}  {100 * rung.score:6.2f} ± {100 * rung.error:.2f}"
        if rung.difference is not None and rung.low is not None and rung.high is not None:
            interval = f"95 % [{100 * rung.low:+.2f}, {100 * rung.high:+.2f}]"
            line += f"   ({100 * rung.difference:+.2f}, {interval}, {rung.verdict})"
        lines.append(line if rung.used else line + "   not used")
    return lines
