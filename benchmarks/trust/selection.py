"""Is the corrected score of a winner right, and does its interval hold the truth?

    python benchmarks/trust/selection.py [--searches 1000]

Simulated leaderboards (simulated.py), three folds and one seed, in which the candidates' true gains are normal with a
standard deviation of 0, 0.05 or 0.15 points, or all are equal but one, which is worse by a point. The winner is the
best by its score; its truth is the score that it would have over all writers and trainings. Bias and coverage of its
own score (with the interval of a single configuration), of BBC-CV (in every tenth search, with 100 resamples, since it
is slow) and of `corrected_score`. Eight minutes. Writes benchmarks/results/trust-selection.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.special import stdtrit
from simulated import ERROR, World, leaderboard, rate

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write

from tune_digits.stats.noise import training_noise
from tune_digits.stats.selection import bootstrap_corrected, candidates, corrected_score


def gains(spread: float | None, count: int, rng: np.random.Generator) -> np.ndarray:
    if spread is None:
        return np.where(np.arange(count) == 0, -0.01, 0.0)
    return rng.normal(0, spread, count)


def measure(
    world: World, spread: float | None, count: int, searches: int, seed: int
) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    off: dict[str, list[float]] = {"naive": [], "BBC-CV": [], "corrected": []}
    held: dict[str, list[bool]] = {name: [] for name in off}
    for number in range(searches):
        gain = gains(spread, count, rng)
        outcomes, groups = leaderboard(world, gain, rng)
        noise = training_noise(outcomes, groups)
        found = corrected_score(outcomes, groups, noise)
        truth = 1 - ERROR + gain[found.winner]
        alone = candidates({0: outcomes[found.winner]}, groups, noise)
        half = stdtrit(alone.freedom, 0.975) * np.hypot(alone.common_error, alone.errors[0])
        seen = {
            "naive": (found.naive, found.naive - half, found.naive + half),
            "corrected": (found.score, found.low, found.high),
        }
        if number % 10 == 0:
            mean = np.stack([np.concatenate([t.contributions for t in own]) for own in outcomes.values()])
            ones = np.ones(mean.shape[1])
            bbc = bootstrap_corrected(mean * world.rows, ones, groups, rng, 100)
            seen["BBC-CV"] = (bbc.score, bbc.low, bbc.high)
        for name, (score, low, high) in seen.items():
            off[name].append(score - truth)
            held[name].append(bool(low <= truth <= high))
    result = {}
    for name, values in off.items():
        error = float(np.std(values, ddof=1) / len(values) ** 0.5)
        cover = rate(sum(held[name]), len(values))
        result[name] = {
            "bias": float(np.mean(values)),
            "bias_error": error,
            "coverage": cover["rate"],
            "coverage_error": cover["error"],
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=1000)
    args = read_arguments(parser)
    results = {}
    for writers, rows in ((0, 12_000), (0, 2_500), (47, 12_000)):
        for count in (4, 8):
            for spread in (0.0, 0.0005, 0.0015, None):
                words = "one is bad" if spread is None else f"true spread {100 * spread:.2f} points"
                kind = f"{writers} writers" if writers else "independent rows"
                name = f"{kind}, {rows} rows, {count} candidates, {words}"
                world = World(3, 1, rows, writers, 0.0007)
                results[name] = measure(world, spread, count, args.searches, len(results))
                told = {
                    k: (round(1e4 * v["bias"], 1), round(v["coverage"], 3)) for k, v in results[name].items()
                }
                print(name, told, flush=True)
    write("trust-selection", {"searches": args.searches, "results": results}, args, show=False)


if __name__ == "__main__":
    main()
