"""The tables of docs/fidelity.md, made of benchmarks/results/fidelity-*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parents[1] / "results"


def results(name: str) -> dict[str, Any]:
    """The results of one script, by data set or by what was compared."""
    return json.loads((RESULTS / f"fidelity-{name}.json").read_text())["results"]


def rows(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def recorded() -> str:
    head = [
        "data",
        "images",
        "trained on",
        "watched; further",
        "epochs",
        "configurations",
        "seeds",
        "truth, %",
    ]
    body = []
    for r in (found["table"] for found in results("replay").values()):
        groups = f", {r['rows_per_group']:,} a writer" if r["rows_per_group"] else ""
        truth = " / ".join(f"{100 * r['truth'][name]:.2f}" for name in ("lowest", "median", "highest"))
        body.append(
            [
                f"{r['data']}{groups}",
                r["image"],
                f"{r['train_rows']:,}",
                f"{r['watched']:,}; {r['validated'] - r['watched']:,}",
                ", ".join(map(str, r["lengths"])),
                str(r["configurations"]),
                str(r["seeds"]),
                truth,
            ]
        )
    return rows(head, body)


def fidelities() -> str:
    """One row for what is known; each data set has the correlations by seed, and who gains places."""
    found = results("replay")
    head = ["known"]
    for name in found:
        head += [f"{name}: rank correlation, by seed", "better half", "strength and places gained"]
    body = []
    for known in next(iter(found.values()))["fidelities"]:
        line = [known]
        for r in found.values():
            own = r["fidelities"][known]
            by_seed = ", ".join(f"{rho:+.2f}" for rho, _, _ in own["by seed"])
            line.append(f"{own['rho']:+.2f} ({by_seed})")
            line += [f"{np.mean(own[name]):+.2f}" for name in ("better half", "strength and places gained")]
        body.append(line)
    return rows(head, body)


def plus_minus(seen: dict[str, Any]) -> str:
    return f"{100 * seen['mean']:.2f} ± {100 * seen['error']:.2f}"


def policies(data: str) -> str:
    by_budget = results("replay")[data]["policies"]
    head = ["policy"]
    for budget in by_budget:
        head += [
            f"budget of {budget}: regret of the first, points",
            "of the best of three, points",
            "epochs",
            "begun",
            "rank correlation of all begun",
            "of the best six",
        ]
    body = []
    for policy in next(iter(by_budget.values())):
        line = [policy]
        for found in by_budget.values():
            own = found[policy]
            line += [plus_minus(own["regret of the first"]), plus_minus(own["regret of the confirmed"])]
            line += [f"{own[name]['mean']:.0f}" for name in ("cost", "begun")]
            line += [f"{own[name]['mean']:+.2f}" for name in ("rho, all begun", "rho, best six")]
        body.append(line)
    return rows(head, body)


def shared_images() -> str:
    head = [
        "data",
        "training",
        "pairs share beside the order",
        "pairs",
        "same seed, %",
        "other seeds, %",
        "less, %",
    ]
    body = []
    for data, lengths in results("shared").items():
        for length, found in lengths.items():
            for kind, r in found["images"].items():
                saved = f"{100 * r['saved']:.1f} ± {100 * r['error']:.1f}"
                both = [f"{100 * r[name]:.2f}" for name in ("same seed", "other seeds")]
                body.append([data, length, kind, str(r["pairs"]), *both, saved])
    return rows(head, body)


def shared_scores() -> str:
    head = [
        "data",
        "training",
        "configurations",
        "shared fraction (95 % interval)",
        "deviation of the rest, points",
    ]
    body = []
    for data, lengths in results("shared").items():
        for length, found in lengths.items():
            for kind, r in found["scores"].items():
                fraction = f"{r['fraction']:+.2f} ({r['low']:+.2f} to {r['high']:+.2f})"
                body.append([data, length, kind, fraction, f"{100 * r['deviation']:.2f}"])
    return rows(head, body)


def draws() -> str:
    head = [
        "plain, compared with another: what is shared",
        "right in one alone, %",
        "deviation of the difference, points",
    ]
    body = [
        [
            name,
            f"{100 * r['discordant']:.2f} ± {100 * r['error']:.2f}",
            f"{100 * r['deviation of the difference']:.2f}",
        ]
        for name, r in results("draws").items()
    ]
    return rows(head, body)


def fidelity_tables() -> str:
    parts = {"The tables": recorded, "What ranks like the full training": fidelities}
    parts |= {f"Policies, {data}": lambda data=data: policies(data) for data in results("replay")}
    parts |= {
        "Same seed: images": shared_images,
        "Same seed: scores": shared_scores,
        "A generator for each operation": draws,
    }
    return "\n".join(f"### {title}\n\n{make()}" for title, make in parts.items())
