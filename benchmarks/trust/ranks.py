"""Does the interval of a rank correlation hold the truth, for few pairs?

    python benchmarks/trust/ranks.py [--samples 2000]

Pairs from a bivariate normal distribution whose Spearman correlation is known. Coverage of the 95 % interval of
`spearman_interval`, and how often it lies above 0. Half a minute. Writes benchmarks/results/trust-ranks.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from simulated import rate

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write

from tune_digits.stats.ranks import fisher_interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    args = read_arguments(parser)
    rng = np.random.default_rng(0)
    results = {}
    for pairs in (4, 5, 6, 8, 10, 12):
        for linear in (0.0, 0.5, 0.8, 0.95):
            truth = 6 / np.pi * np.arcsin(linear / 2)
            held = above = 0
            for _ in range(args.samples):
                x = rng.normal(size=pairs)
                y = linear * x + (1 - linear**2) ** 0.5 * rng.normal(size=pairs)
                rho = np.corrcoef(x.argsort().argsort(), y.argsort().argsort())[0, 1]
                low, high = fisher_interval(float(rho), pairs)
                held += low <= truth <= high
                above += low > 0
            results[f"{pairs} pairs, correlation {truth:.2f}"] = {
                "coverage": rate(held, args.samples),
                "above 0": rate(above, args.samples),
            }
    write("trust-ranks", {"samples": args.samples, "results": results}, args)


if __name__ == "__main__":
    main()
