"""Simulated leaderboards, of which the truth is known.

Configurations have an error of 1 % (score 0.99) less their gain. Writers differ as they do on Kannada: their error has
a beta distribution with mean 1 % and standard deviation 1.2 points, so that three folds of ten writers differ by about
0.2 points (docs/log.md). Each configuration is better with some writers and worse with others: its error with a writer
is multiplied by a log-normal factor with mean 1 and the standard deviation `by_writer`. Images are easy or hard: only
hard ones, twice as many as there are errors, are ever wrong, half of the time, so that two trainings share half of
their errors. A training shifts the error of all images of its fold by a normal number with the standard deviation
`noise`, in points / 100; `by_fold` is the fraction of its variance that the seeds of one fold share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tune_digits.stats.outcomes import Training

ERROR = 0.01
WRITER_SPREAD = 0.012


@dataclass(frozen=True)
class World:
    """rows: validated in each fold; writers: of all folds together, 0 = rows are independent; folds_of: how many folds
    the writers are divided into, of which `folds` are trained."""

    folds: int
    seeds: int
    rows: int
    writers: int
    noise: float
    by_writer: float = 0.1
    by_fold: float = 0.0
    folds_of: int = 5


def leaderboard(
    world: World, gains: np.ndarray, rng: np.random.Generator
) -> tuple[dict[int, list[Training]], np.ndarray | None]:
    """Trainings by configuration, and the groups of the rows (None without writers). gains: float64, one for each."""
    count = len(gains)
    outcomes: dict[int, list[Training]] = {c: [] for c in range(count)}
    groups = []
    for fold in range(world.folds):
        rows = np.arange(fold * world.rows, (fold + 1) * world.rows)
        if world.writers:
            own = len(range(fold, world.writers, world.folds_of))
            a = ERROR * (ERROR * (1 - ERROR) / WRITER_SPREAD**2 - 1)
            errors = np.minimum(rng.beta(a, a * (1 - ERROR) / ERROR, own), 0.25)
            s = np.sqrt(np.log1p(world.by_writer**2))
            factors = rng.lognormal(-(s**2) / 2, s, (count, own))
            writer = np.arange(world.rows) * own // world.rows
            groups.append(writer + fold * 1000)
        else:
            errors, factors, writer = np.array([ERROR]), np.ones((count, 1)), np.zeros(world.rows, int)
        hard = np.flatnonzero(rng.random(world.rows) < 2 * errors[writer])
        lasting = rng.normal(0, world.noise * world.by_fold**0.5, count)
        for seed in range(world.seeds):
            shifts = lasting + rng.normal(0, world.noise * (1 - world.by_fold) ** 0.5, count)
            for c in range(count):
                chance = 0.5 * factors[c, writer[hard]] * (1 - (gains[c] + shifts[c]) / ERROR)
                contributions = np.full(world.rows, 1 / world.rows)
                contributions[hard[rng.random(len(hard)) < chance]] = 0.0
                outcomes[c].append(Training(fold, seed, rows, contributions))
    return outcomes, np.concatenate(groups) if world.writers else None


def rate(hits: int, count: int) -> dict[str, float]:
    """A fraction, with its Monte Carlo standard error."""
    p = hits / count
    return {"rate": p, "error": float(np.sqrt(max(p * (1 - p), 1 / count) / count))}
