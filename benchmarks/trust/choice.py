"""How good is what is sent in, and how often is it worse than the baseline?

    python benchmarks/trust/choice.py [--searches 1000]

Simulated searches (simulated.py) whose true gains over the baseline are known: eight candidates, normal with a mean
of -0.05 points and a standard deviation of 0.1 points, and the baseline. The search's score of each is one training of
fold 0 with a fifth of the rows. Three policies: the best search score, the best confirmed mean, `choose`. A choice is
*significantly* worse than the baseline where a judgement of both on 40,000 unseen independent rows would say so at
95 %: by 0.14 points or more at an error of 1 % whose mistakes are half shared (1.96 standard errors of a paired
difference). Also the bias of the corrected score of what `choose` sends in, and how often its interval holds the truth.
Five minutes. Writes benchmarks/results/trust-choice.json.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from simulated import ERROR, World, leaderboard, rate

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write

from tune_digits.stats.choose import Facts, choose
from tune_digits.stats.noise import training_noise
from tune_digits.stats.selection import corrected_score

CANDIDATES = 8
SEEN_WORSE = 1.96 * (ERROR / 40_000) ** 0.5


def measure(world: World, searches: int, seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    chosen: dict[str, list[float]] = {"best search score": [], "best confirmed mean": [], "choose": []}
    rules: Counter[str] = Counter()
    off, held = [], 0
    for _ in range(searches):
        gain = np.concatenate([[0.0], rng.normal(-0.0005, 0.001, CANDIDATES)])
        gain = np.minimum(gain, 0.8 * ERROR)
        outcomes, groups = leaderboard(world, gain, rng)
        facts = {
            c: Facts("baseline" if c == 0 else "start" if c < 3 else "search", 1.0 + rng.random())
            for c in outcomes
        }
        noise = training_noise(outcomes, groups)
        choice = choose(outcomes, facts, groups, noise, rng)
        rules[choice.rule] += 1
        seen = corrected_score(outcomes, groups, noise, choice.name)
        truth = 1 - ERROR + gain[choice.name]
        off.append(seen.score - truth)
        held += bool(seen.low <= truth <= seen.high)
        means = [np.mean([t.contributions.sum() for t in own]) for own in outcomes.values()]
        short = World(1, 1, world.rows // 5, world.writers, world.noise)
        search = [own[0].contributions.sum() for own in leaderboard(short, gain, rng)[0].values()]
        chosen["best search score"].append(gain[int(np.argmax(search))])
        chosen["best confirmed mean"].append(gain[int(np.argmax(means))])
        chosen["choose"].append(gain[choice.name])
    policies = {
        name: {
            "true gain": float(np.mean(values)),
            "error": float(np.std(values, ddof=1) / searches**0.5),
            "worse": rate(int(np.sum(np.array(values) < 0)), searches),
            "significantly worse": rate(int(np.sum(np.array(values) < -SEEN_WORSE)), searches),
        }
        for name, values in chosen.items()
    }
    return {
        "policies": policies,
        "rules": {rule: n / searches for rule, n in rules.items()},
        "corrected": {
            "bias": float(np.mean(off)),
            "error": float(np.std(off, ddof=1) / searches**0.5),
            "coverage": rate(held, searches),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=1000)
    args = read_arguments(parser)
    results = {}
    for writers in (0, 47):
        for rows in (12_000, 2_500):
            name = f"{f'{writers} writers' if writers else 'independent rows'}, {rows} rows"
            results[name] = measure(World(3, 1, rows, writers, 0.0007), args.searches, len(results))
            print(name, results[name], flush=True)
    write("trust-choice", {"searches": args.searches, "results": results}, args, show=False)


if __name__ == "__main__":
    main()
