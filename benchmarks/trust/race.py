"""Does a race find the winner of the whole confirmation, for less than half of the trainings?

    python benchmarks/trust/race.py [--races 500]

Simulated confirmations (simulated.py) of a baseline and eight candidates with true gains, normal with a mean of -0.05
points and a standard deviation of 0.1 or 0.3 points, on five folds with two seeds: 90 trainings, of which a race may
take 36. Its winner is the best of those still in it at the end. Compared with the winner of all 90 trainings: how often
it is the same, or one that the 90 trainings cannot tell from it; and the true gain of both, and of 36 trainings on four
folds without anybody leaving. Seven minutes. Writes benchmarks/results/trust-race.json.
"""

from __future__ import annotations

import argparse
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
from simulated import ERROR, World, leaderboard, rate

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write

from tune_digits.stats.compare import compare
from tune_digits.stats.noise import training_noise
from tune_digits.stats.outcomes import Training
from tune_digits.stats.selection import adjusted_means
from tune_digits.tune.race import AT_LEAST, LEAVES, cells

CANDIDATES, FOLDS, SEEDS, BUDGET = 9, 5, 2, 36


def best_of(outcomes: dict[int, list[Training]], among: list[int]) -> int:
    scores = {c: {(t.fold, t.seed): t.contributions.sum() for t in own} for c, own in outcomes.items()}
    means = adjusted_means(scores)
    return max(among, key=lambda c: means[c])


def race(
    whole: dict[int, list[Training]], groups: np.ndarray | None, leaves: float
) -> tuple[int, int, list[int]]:
    """The winner, the trainings taken, and who is left. Decides as `tune.race.still_in`, on what the simulation has."""
    at = {c: {(t.fold, t.seed): t for t in own} for c, own in whole.items()}
    active, taken = list(whole), 0
    seen: dict[int, list[Training]] = {c: [] for c in whole}
    for cell in takewhile(lambda cell: cell[1] < SEEDS, cells(range(FOLDS), SEEDS)):
        if taken + len(active) > BUDGET:
            break
        for c in active:
            seen[c].append(at[c][cell])
        taken += len(active)
        best, noise = best_of(seen, active), training_noise(seen, groups)
        compared = {c: compare(seen[best], seen[c], groups, noise) for c in active if c != best}
        active = [
            c for c in active if c in (0, best) or compared[c].p >= leaves or compared[c].trainings < AT_LEAST
        ]
    return best_of(seen, active), taken, active


def measure(world: World, spread: float, races: int, seed: int, leaves: float = LEAVES) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    same = alike = lost = 0
    gains: dict[str, list[float]] = {"race": [], "whole": [], "four folds": []}
    taken = []
    for _ in range(races):
        gain = np.concatenate([[0.0], rng.normal(-0.0005, spread, CANDIDATES - 1)])
        gain = np.minimum(gain, 0.8 * ERROR)
        whole, groups = leaderboard(world, gain, rng)
        every = list(whole)
        first = best_of(whole, every)
        winner, trainings, left = race(whole, groups, leaves)
        lost += int(np.argmax(gain)) not in left
        taken.append(trainings)
        part = {c: [t for t in own if t.seed == 0 and t.fold < 4] for c, own in whole.items()}
        told = winner != first and (
            compare(whole[first], whole[winner], groups, training_noise(whole, groups)).verdict == "better"
        )
        same += winner == first
        alike += not told
        for name, c in (("race", winner), ("whole", first), ("four folds", best_of(part, every))):
            gains[name].append(gain[c])
    return {
        "same": rate(int(same), races),
        "alike": rate(int(alike), races),
        "best left": rate(int(lost), races),
        "trainings": float(np.mean(taken)),
        "of": CANDIDATES * FOLDS * SEEDS,
        "gains": {
            name: {"mean": float(np.mean(v)), "error": float(np.std(v, ddof=1) / races**0.5)}
            for name, v in gains.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--races", type=int, default=500)
    args = read_arguments(parser)
    results = {}
    for writers in (0, 47):
        for rows in (12_000, 2_500):
            for spread in (0.001, 0.003):
                kind = f"{writers} writers" if writers else "independent rows"
                name = f"{kind}, {rows} rows, true spread {100 * spread:.1f} points"
                world = World(FOLDS, SEEDS, rows, writers, 0.0007)
                results[name] = measure(world, spread, args.races, len(results))
                print(name, results[name], flush=True)
    write("trust-race", {"races": args.races, "results": results}, args, show=False)


if __name__ == "__main__":
    main()
