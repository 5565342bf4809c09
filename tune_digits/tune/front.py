"""Two objectives, the score and the images per second at inference: which configurations no other one beats in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tune_digits.runs import TrialRecord


def fronts(values: np.ndarray) -> np.ndarray:
    """The front of each row of values (n, objectives), the larger the better: int64 (n,), 0 for the best front.

    No row beats a row of front 0: is at least as good in every objective, and better in one. Front 1 is what no row
    beats when front 0 is taken away, and so on (Deb et al. 2002).

    >>> fronts(np.array([[0.9, 10], [0.8, 20], [0.8, 10], [0.7, 5]]))
    array([0, 0, 1, 2])
    """
    at_least = (values[:, None] >= values[None]).all(2)
    beats = at_least & ~at_least.T
    front = np.full(len(values), -1)
    number = 0
    while (front < 0).any():
        left = front < 0
        front[left & ~(beats & left[:, None]).any(0)] = number
        number += 1
    return front


def front_first(ranked: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Judged trials by the front of their search score and speed, in their order within each front.

    Where no speed was measured, which is then no objective, the order is left as it is.
    """
    measured = [r for r in ranked if r.inference_images_per_second is not None]
    if not measured:
        return list(ranked)
    values = np.array([[r.score, r.inference_images_per_second] for r in measured], float)
    order = np.argsort(fronts(values), kind="stable")
    return [measured[i] for i in order] + [r for r in ranked if r.inference_images_per_second is None]


def with_front(board: pd.DataFrame, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """The leaderboard with each configuration's speed, and whether it is on the front of speed and confirmed score.

    The board itself where no speed was measured.
    """
    speeds = {r.number: r.inference_images_per_second for r in records}
    speed = board["trial"].map(speeds).astype(float)
    if not speed.notna().any():
        return board
    known = speed.notna().to_numpy()
    on_front = np.zeros(len(board), bool)
    on_front[known] = fronts(np.column_stack([board["confirmed"], speed])[known]) == 0
    place = list(board.columns).index("gain")
    board = board.copy()
    board.insert(place, "inference_images_per_second", speed)
    board.insert(place + 1, "on_front", on_front)
    return board
