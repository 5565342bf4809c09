"""What does it take off the noise of a difference that configurations are trained with the same seeds?

    python benchmarks/fidelity/shared.py

From the recorded trainings of benchmarks/tables/*.npz, in two ways.

*Scores.* A training's score is its configuration's mean, a shift that all configurations have with this seed, and a
rest. Only the rest is left in a difference of two configurations of one seed. The shared fraction of the variance is an
intraclass correlation (consistency, single score: Shrout and Fleiss 1979, ICC(3,1)) with its exact 95 % interval.

*Images.* The fraction of validated rows that one of two trainings has right and the other one wrong. A difference of
scores varies with the rows in proportion to it. Compared are pairs of configurations with the same seed and with
different seeds, separately for pairs that share initial weights (same width) and draws of the augmentation (the same
operations are on): docs/fidelity.md. The error is that over seeds left out in turn (jackknife).

Writes benchmarks/results/fidelity-shared.json. Seconds.
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import f as f_distribution

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write
from fidelity.table_file import EMA, Key, Table, read_table

TABLES = Path(__file__).parents[1] / "tables"
OPERATIONS = ("elastic", "cutout")  # the others are on in every configuration


def shared_fraction(scores: np.ndarray) -> dict[str, float]:
    """The fraction of the variance of a training's score that all configurations share: float64 (seeds, n) -> ICC.

    freedom: of the seeds' mean square. Perfectly shared shifts give 1, independent ones 0 on average.
    """
    seeds, count = scores.shape
    rest = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    within = float((rest**2).sum() / ((seeds - 1) * (count - 1)))
    between = float(count * ((scores.mean(1) - scores.mean()) ** 2).sum() / (seeds - 1))
    freedom = (seeds - 1, (seeds - 1) * (count - 1))
    ratio = between / within if within else np.inf
    low = ratio / f_distribution.ppf(0.975, *freedom)
    high = ratio * f_distribution.ppf(0.975, *freedom[::-1])

    def icc(f: float) -> float:
        return 1.0 if np.isinf(f) else float((f - 1) / (f - 1 + count))

    return {
        "fraction": icc(ratio),
        "low": icc(low),
        "high": icc(high),
        "deviation": within**0.5,
        "seeds": seeds,
    }


def discordance(wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool (seeds, n, V) -> rows that one of two trainings alone has right: float64 (n, n) each, same and other seeds.

    The mean over seeds of pairs of one seed, and over ordered pairs of different seeds.
    """
    seeds, _, rows = wrong.shape
    flat = wrong.astype(np.float32)
    # a + b - 2 ab is 1 where exactly one is wrong
    both = np.einsum("scv,tdv->stcd", flat, flat, optimize=True) / rows
    alone = flat.mean(2)
    each = alone[:, None, :, None] + alone[None, :, None, :] - 2 * both
    same = each[np.arange(seeds), np.arange(seeds)].mean(0)
    other = (each.sum((0, 1)) - seeds * same) / (seeds * (seeds - 1))
    return same.astype(np.float64), other.astype(np.float64)


def saved(wrong: np.ndarray, pairs: list[tuple[int, int]]) -> dict[str, float]:
    """Over these pairs: discordance with the same and with other seeds; 1 - their ratio, with its jackknife error."""
    left, right = (np.array(side) for side in zip(*pairs, strict=True))

    def means(among: np.ndarray) -> tuple[float, float]:
        same, other = discordance(among)
        return float(same[left, right].mean()), float(other[left, right].mean())

    same, other = means(wrong)
    seeds = len(wrong)
    left_out = [means(np.delete(wrong, seed, axis=0)) for seed in range(seeds)] if seeds > 2 else []
    gains = np.array([1 - s / o for s, o in left_out])
    error = float(np.sqrt((seeds - 1) / seeds * ((gains - gains.mean()) ** 2).sum())) if left_out else np.nan
    return {
        "same seed": same,
        "other seeds": other,
        "saved": 1 - same / other,
        "error": error,
        "pairs": len(pairs),
    }


def kinds_of_pairs(configurations: list[dict[str, Any]]) -> dict[str, list[tuple[int, int]]]:
    """What a pair shares beside the order of rows -> the pairs."""
    found: dict[str, list[tuple[int, int]]] = {}
    for a, b in combinations(range(len(configurations)), 2):
        one, other = configurations[a], configurations[b]
        weights = one["model"]["width"] == other["model"]["width"]
        draws = all((one["augment"][o] > 0) == (other["augment"][o] > 0) for o in OPERATIONS)
        kind = {
            (True, True): "initial weights and draws",
            (True, False): "initial weights",
            (False, True): "draws",
            (False, False): "neither",
        }[weights, draws]
        found.setdefault(kind, []).append((a, b))
    return dict(sorted(found.items()))


def measure(table: Table) -> dict[str, Any]:
    setting, seeds = table.setting, table.seeds()
    numbers = range(len(setting.configurations))
    kinds = kinds_of_pairs(setting.configurations)
    found: dict[str, Any] = {}
    for length, epochs in enumerate(setting.lengths):
        wrong = np.array(
            [[table.trainings[Key(s, c, length)].end_off[EMA] != 0 for c in numbers] for s in seeds]
        )
        scores = 1 - wrong.mean(2)
        best = np.argsort(-scores.mean(0))[: len(numbers) // 2]
        widths = np.array([tree["model"]["width"] for tree in setting.configurations])
        found[f"{epochs} epochs"] = {
            "scores": {
                "all": shared_fraction(scores),
                "better half": shared_fraction(scores[:, best]),
                **{f"width {w}": shared_fraction(scores[:, widths == w]) for w in np.unique(widths)},
            },
            "images": {kind: saved(wrong, pairs) for kind, pairs in kinds.items()},
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, nargs="+", default=sorted(TABLES.glob("*.npz")))
    args = read_arguments(parser)
    write(
        "fidelity-shared", {"results": {path.stem: measure(read_table(path)) for path in args.tables}}, args
    )


if __name__ == "__main__":
    main()
