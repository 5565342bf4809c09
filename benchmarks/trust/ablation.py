"""How often does an ablation of eight tricks say something false, and how often does it find a trick that helps?

    python benchmarks/trust/ablation.py [--ablations 500]

Simulated ablations (simulated.py): the whole configuration and eight tricks, on 3 or 5 folds. Either no trick is worth
anything, and every verdict but *cannot tell* is false, or one of them is worth 0.1 or 0.3 points. Verdicts as `ablate`
gives them: round by round, with those that leave early at p < 0.001, and Holm's correction over all tricks. False: the
fraction of ablations with one false verdict or more. Ten minutes. Writes benchmarks/results/trust-ablation.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from simulated import World, leaderboard, rate

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write

from tune_digits.stats.compare import LEVEL, compare
from tune_digits.stats.noise import training_noise
from tune_digits.stats.ranks import holm
from tune_digits.tune.ablation import EARLY

TRICKS = 8


def verdicts(outcomes: dict, groups: np.ndarray | None, rounds: int) -> tuple[np.ndarray, int]:
    """Of each trick 1 (helps), -1 (hurts) or 0, and how many trainings it took. Configuration 0 has all tricks."""
    active = list(range(TRICKS + 1))
    seen: dict = {c: [] for c in outcomes}
    taken = 0
    for number in range(rounds):
        for c in active:
            seen[c].append(outcomes[c][number])
            taken += 1
        noise = training_noise(seen, groups)
        compared = [compare(seen[0], seen[c], groups, noise) for c in range(1, TRICKS + 1)]
        p = holm([c.p for c in compared])
        if number + 1 < rounds:
            told = {c + 1 for c in range(TRICKS) if p[c] < EARLY and compared[c].trainings > 1}
            active = [c for c in active if c not in told]
            if active == [0]:
                break
    return np.where(p < LEVEL, np.sign([c.difference for c in compared]), 0).astype(int), taken


def measure(world: World, worth: float, ablations: int, seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    false = found = 0
    taken = []
    rounds = world.folds * world.seeds
    for _ in range(ablations):
        gains = np.zeros(TRICKS + 1)
        gains[1] = -worth  # without the first trick it is worse
        outcomes, groups = leaderboard(world, gains, rng)
        ordered = {c: sorted(own, key=lambda t: (t.seed, t.fold)) for c, own in outcomes.items()}
        said, trainings = verdicts(ordered, groups, rounds)
        taken.append(trainings)
        right = said[0] == 1 and worth > 0
        found += bool(right)
        false += bool((said[1:] != 0).any() or (said[0] != 0 and not right))
    return {
        "found": rate(found, ablations),
        "false": rate(false, ablations),
        "trainings": float(np.mean(taken)),
        "planned": rounds * (TRICKS + 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ablations", type=int, default=500)
    args = read_arguments(parser)
    results = {}
    for writers in (0, 47):
        for folds in (3, 5):
            for worth in (0.0, 0.001, 0.003):
                kind = f"{writers} writers" if writers else "independent rows"
                name = f"{kind}, {folds} folds, one trick is worth {100 * worth:.1f} points"
                world = World(folds, 1, 12_000, writers, 0.0007)
                results[name] = measure(world, worth, args.ablations, len(results))
                print(name, results[name], flush=True)
    write("trust-ablation", {"ablations": args.ablations, "results": results}, args, show=False)


if __name__ == "__main__":
    main()
