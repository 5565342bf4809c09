"""Does a cheap score rank like the full training, and which policy of a search gains from that?

    python benchmarks/fidelity/replay.py [--orders 100]

Replays the policies of policies.py on the recorded trainings of benchmarks/tables/*.npz. The search sees one seed and
the watched rows. The truth is the mean score of the full trainings with the other seeds, on the rows that were not
watched. Each replayed search proposes 12 of the configurations, as many as kannada.yaml, in a random order. Policies
meet the same searches with the same budget of epochs. What is begun is ranked as the product ranks trials, longer
trained ones first, then by the last score; the best three are confirmed. Regret is the truth of the best of the 12 less
that of the first, and of the best of the confirmed ones.

First the scores themselves: Spearman's correlation of what is known after some epochs with the truth, over all
configurations, and over the half that is better in truth. Places that a configuration gains from that score to the
truth are correlated with the strength of its augmentation: above 0, the score favours weak augmentation. Writes
benchmarks/results/fidelity-replay.json. Two minutes. A table needs two seeds at least.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write
from fidelity.policies import POLICIES, Ask, Report, Start
from fidelity.table_file import EMA, RAW, Key, Record, Table, read_table

from tune_digits.stats.ranks import spearman_interval

TABLES = Path(__file__).parents[1] / "tables"
BUDGETS = (3, 6)  # in full trainings
TRIALS = 12
CONFIRMED, RANKED = 3, 6  # as many of the best: confirmed; of which the rank correlation is given, too


@dataclass(frozen=True)
class Outcome:
    """What a policy has found. ranked: the configurations that it began, best first; cost: epochs."""

    ranked: list[int]
    cost: int


def report(record: Record, epoch: int) -> Report:
    """What a search hears after `epoch`, counted from 1."""
    at = epoch - 1
    right = record.off[EMA, at] == 0
    raw = float((record.off[RAW, at] == 0).mean())
    over = epoch == record.off.shape[1]
    return Report(epoch, raw, float(right.mean()), float(record.loss[EMA, at]), right, over)


def all_reports(table: Table) -> dict[Key, list[Report]]:
    return {
        key: [report(record, epoch) for epoch in range(1, record.off.shape[1] + 1)]
        for key, record in table.trainings.items()
    }


def replay(
    start: Start,
    order: Sequence[int],
    lengths: Sequence[int],
    reports: Callable[[Ask, int], Report],
    budget: int,
) -> Outcome:
    """Let a policy act until its budget of epochs is spent. reports: of an Ask, and the epoch it comes to."""
    policy = start(order, lengths)
    epochs: dict[Ask, int] = {}
    # of each configuration what was trained last: place of its length, epochs, score
    last: dict[int, tuple[int, int, float]] = {}
    cost, answer = 0, None
    try:
        while cost < budget:
            ask = policy.send(answer)
            length = ask.length % len(lengths)
            ask = Ask(ask.configuration, length)
            epochs[ask] = epochs.get(ask, 0) + 1
            answer = reports(ask, epochs[ask])
            last[ask.configuration] = (length, epochs[ask], answer.ema)
            cost += 1
    except StopIteration:
        pass
    if not last:
        return Outcome(list(order), 0)
    # the sort is stable: of equals the first in the order
    begun = [c for c in order if c in last]
    return Outcome(sorted(begun, key=last.__getitem__, reverse=True), cost)


def truth(table: Table, seed: int) -> np.ndarray:
    """Mean score of each configuration's full trainings with the other seeds, on rows not watched: float64 (n,)."""
    others = [s for s in table.seeds() if s != seed]
    full, count = len(table.setting.lengths) - 1, len(table.setting.configurations)
    right = [
        [
            (table.trainings[Key(s, c, full)].end_off[EMA, table.setting.watched :] == 0).mean()
            for c in range(count)
        ]
        for s in others
    ]
    return np.asarray(np.mean(right, axis=0))


def over_policies(table: Table, orders: int) -> dict[str, Any]:
    """budget -> policy -> regret, cost and rank correlation, means over orders and seeds."""
    lengths = table.setting.lengths
    reports = all_reports(table)
    truths = {seed: truth(table, seed) for seed in table.seeds()}
    found: dict[str, Any] = {}
    for full in BUDGETS:
        found[f"{full} full trainings"] = {
            name: _policy(start, table, reports, truths, orders, full * lengths[-1])
            for name, start in POLICIES.items()
        }
    return found


def _policy(
    start: Start,
    table: Table,
    reports: dict[Key, list[Report]],
    truths: dict[int, np.ndarray],
    orders: int,
    budget: int,
) -> dict[str, Any]:
    rows: list[dict[str, float]] = []
    for seed, true in truths.items():

        def heard(ask: Ask, epoch: int, seed: int = seed) -> Report:
            return reports[Key(seed, ask.configuration, ask.length)][epoch - 1]

        rng = np.random.default_rng(0)  # every policy and seed meets the same orders
        for _ in range(orders):
            order = rng.permutation(len(true))[:TRIALS].tolist()
            outcome = replay(start, order, table.setting.lengths, heard, budget)
            rows.append({"seed": seed, **_judged(outcome, order, true)})
    names = [name for name in rows[0] if name != "seed"]
    result: dict[str, Any] = {}
    for name in names:
        by_seed = [[r[name] for r in rows if r["seed"] == seed] for seed in truths]
        means = [float(np.nanmean(values)) for values in by_seed]
        # orders of one seed share its trainings: the error is that of the mean over seeds
        error = float(np.std(means, ddof=1) / len(means) ** 0.5)
        result[name] = {"mean": float(np.mean(means)), "error": error, "by seed": means}
    return result


def _judged(outcome: Outcome, proposed: Sequence[int], true: np.ndarray) -> dict[str, float]:
    ranked = np.array(outcome.ranked)
    best = true[list(proposed)].max()

    def rho(among: np.ndarray) -> float:
        if len(among) < 3 or np.ptp(true[among]) == 0:
            return float("nan")
        return float(spearmanr(-np.arange(len(among)), true[among]).statistic)

    return {
        "regret of the first": float(best - true[ranked[0]]),
        "regret of the confirmed": float(best - true[ranked[:CONFIRMED]].max()),
        "cost": float(outcome.cost),
        "begun": float(len(ranked)),
        "rho, all begun": rho(ranked),
        "rho, best six": rho(ranked[:RANKED]),
    }


def over_fidelities(table: Table) -> dict[str, Any]:
    """What is known after some epochs -> its rank correlation with the truth over all configurations."""
    setting = table.setting
    names = ["short", "middle", "full"]
    found: dict[str, Any] = {}
    for length, epochs in enumerate(setting.lengths):
        at = sorted({1, 3, 9, epochs // 2, epochs} & set(range(1, epochs + 1)))
        for epoch in at if names[length] == "full" else at[-1:]:
            found |= {
                f"{names[length]}, epoch {epoch} of {epochs}, {kind}": _ranks(table, length, epoch, kind)
                for kind in ("EMA", "last weights", "cross-entropy")
            }
    return found


def _ranks(table: Table, length: int, epoch: int, kind: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    strengths = np.array([tree["augment"]["strength"] for tree in table.setting.configurations])
    per_seed, favoured, better = [], [], []
    for seed in table.seeds():
        heard = [
            report(table.trainings[Key(seed, c, length)], epoch)
            for c in range(len(table.setting.configurations))
        ]
        values = {
            "EMA": [r.ema for r in heard],
            "last weights": [r.raw for r in heard],
            "cross-entropy": [-r.loss for r in heard],
        }[kind]
        true = truth(table, seed)
        per_seed.append(spearman_interval(np.array(values), true, rng))
        half = np.argsort(-true)[: len(true) // 2]
        better.append(spearman_interval(np.array(values)[half], true[half], rng).rho)
        gained = rankdata(true) - rankdata(values)
        # the same order gives nobody a place
        favoured.append(float(spearmanr(strengths, gained).statistic) if np.ptp(gained) else 0.0)
    return {
        "rho": float(np.mean([r.rho for r in per_seed])),
        "by seed": [[r.rho, r.low, r.high] for r in per_seed],
        "better half": better,
        "strength and places gained": favoured,
    }


def about(table: Table) -> dict[str, Any]:
    """What a reader must know of a table, and how far apart its configurations are."""
    setting = table.setting
    best = np.array([truth(table, seed) for seed in table.seeds()])
    kept = ("data", "image", "train_rows", "watched", "validated", "rows_per_group", "lengths")
    return {
        **{name: getattr(setting, name) for name in kept},
        "configurations": len(setting.configurations),
        "seeds": len(table.seeds()),
        "truth": {
            "lowest": float(best.mean(0).min()),
            "median": float(np.median(best.mean(0))),
            "highest": float(best.mean(0).max()),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--tables", type=Path, nargs="+", default=sorted(TABLES.glob("*.npz")))
    args = read_arguments(parser)
    results = {}
    for path in args.tables:
        table = read_table(path)
        results[path.stem] = {
            "table": about(table),
            "fidelities": over_fidelities(table),
            "policies": over_policies(table, args.orders),
        }
        for name, r in results[path.stem]["policies"].items():
            for policy, p in r.items():
                told = {k: round(v["mean"] * (100 if "regret" in k else 1), 3) for k, v in p.items()}
                print(path.stem, name, policy, told, flush=True)
    write("fidelity-replay", {"orders": args.orders, "results": results}, args, show=False)


if __name__ == "__main__":
    main()
