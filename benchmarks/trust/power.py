"""How often is a true gain of 0.1 points at 99 % found, and how often a false one?

    python benchmarks/trust/power.py [--leaderboards 1000]

Simulated leaderboards (simulated.py) of six configurations: the baseline, one that is better by 0.1 points, four that
are equally good. Compared with the baseline are the better one (a verdict *better* is a find) and one of the equals
(any verdict but *cannot tell* is false), by `compare` and by the paired t-test over trainings. Eight minutes. Writes
benchmarks/results/trust-power.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from simulated import World, leaderboard, rate

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write

from tune_digits.stats.compare import compare, paired_t
from tune_digits.stats.noise import training_noise

GAINS = np.array([0.0, 0.001, 0.0, 0.0, 0.0, 0.0])


def worlds() -> dict[str, World]:
    found = {}
    for writers in (0, 47):
        for rows in (12_000, 2_500):
            for folds in (3, 5):
                for seeds in (1, 2):
                    kind = f"{writers} writers" if writers else "independent rows"
                    name = f"{kind}, {rows} rows, {folds} folds, {seeds} seeds"
                    found[name] = World(folds, seeds, rows, writers, 0.0007)
    usual = {"folds": 3, "seeds": 1, "rows": 12_000, "writers": 47}
    found["no training noise"] = World(**usual, noise=0.0)
    found["training noise 0.15 points"] = World(**usual, noise=0.0015)
    found["writers prefer configurations three times as much"] = World(**usual, noise=0.0007, by_writer=0.3)
    found["only three configurations"] = World(**usual, noise=0.0007)
    found["seeds of a fold share half of the noise"] = World(
        **{**usual, "seeds": 2}, noise=0.0007, by_fold=0.5
    )
    return found


def measure(world: World, gains: np.ndarray, leaderboards: int, seed: int) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    hits = dict.fromkeys(["found", "false", "found by t", "false by t", "covered", "wrong way"], 0)
    for _ in range(leaderboards):
        outcomes, groups = leaderboard(world, gains, rng)
        noise = training_noise(outcomes, groups)
        better, equal = (compare(outcomes[c], outcomes[0], groups, noise) for c in (1, 2))
        hits["found"] += better.verdict == "better"
        hits["wrong way"] += better.verdict == "worse"
        hits["covered"] += better.low <= 0.001 <= better.high
        hits["false"] += equal.verdict != "cannot tell"
        scores = [np.array([t.contributions.sum() for t in outcomes[c]]) for c in (0, 1, 2)]
        hits["found by t"] += paired_t(scores[1] - scores[0]).verdict == "better"
        hits["false by t"] += paired_t(scores[2] - scores[0]).verdict != "cannot tell"
    return {name: rate(count, leaderboards) for name, count in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leaderboards", type=int, default=1000)
    args = read_arguments(parser)
    results = {}
    for number, (name, world) in enumerate(worlds().items()):
        gains = GAINS[:3] if "three configurations" in name else GAINS
        results[name] = measure(world, gains, args.leaderboards, number)
        print(name, {k: round(v["rate"], 3) for k, v in results[name].items()}, flush=True)
    write("trust-power", {"leaderboards": args.leaderboards, "results": results}, args, show=False)


if __name__ == "__main__":
    main()
