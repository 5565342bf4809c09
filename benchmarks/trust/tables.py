"""The tables of docs/trust.md, made of benchmarks/results/trust-*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def results(name: str) -> dict[str, Any]:
    """The results of one simulation, by what was simulated."""
    return json.loads((RESULTS / f"trust-{name}.json").read_text())["results"]


def percent(seen: dict[str, float]) -> str:
    return f"{100 * seen['rate']:.1f} ± {100 * seen['error']:.1f}"


def rows(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def power() -> str:
    head = [
        "simulated",
        "found, %",
        "found by t over trainings, %",
        "false, %",
        "false by t, %",
        "interval covers, %",
    ]
    names = ["found", "found by t", "false", "false by t", "covered"]
    return rows(head, [[name, *(percent(r[n]) for n in names)] for name, r in results("power").items()])


def selection() -> str:
    head = ["simulated"]
    head += [f"{name}: bias, points; coverage, %" for name in ("naive", "BBC-CV", "corrected")]

    def cell(r: dict[str, float]) -> str:
        bias = f"{100 * r['bias']:+.3f} ± {100 * r['bias_error']:.3f}"
        return f"{bias}; {100 * r['coverage']:.1f} ± {100 * r['coverage_error']:.1f}"

    names = ["naive", "BBC-CV", "corrected"]
    return rows(head, [[name, *(cell(r[n]) for n in names)] for name, r in results("selection").items()])


def choice() -> str:
    head = [
        "simulated",
        "policy",
        "true gain over the baseline, points",
        "worse, %",
        "significantly worse, %",
        "its corrected score: bias, points; coverage, %",
    ]
    body = []
    for name, r in results("choice").items():
        for policy, p in r["policies"].items():
            gain = f"{100 * p['true gain']:+.3f} ± {100 * p['error']:.3f}"
            seen, corrected = r["corrected"], "-"
            if policy == "choose":
                corrected = (
                    f"{100 * seen['bias']:+.3f} ± {100 * seen['error']:.3f}; {percent(seen['coverage'])}"
                )
            worse = [percent(p["worse"]), percent(p["significantly worse"])]
            body.append([name, policy, gain, *worse, corrected])
    return rows(head, body)


def race() -> str:
    head = [
        "simulated",
        "same winner as all 90 trainings, %",
        "or one that they cannot tell from it, %",
        "the truly best one left, %",
        "trainings",
        "true gain of the winner, points: race; all 90; 36 on four folds",
    ]
    body = []
    for name, r in results("race").items():
        gains = (r["gains"][who] for who in ("race", "whole", "four folds"))
        told = "; ".join(f"{100 * g['mean']:+.3f} ± {100 * g['error']:.3f}" for g in gains)
        rates = [percent(r[key]) for key in ("same", "alike", "best left")]
        body.append([name, *rates, f"{r['trainings']:.1f}", told])
    return rows(head, body)


def ranks() -> str:
    head = ["simulated", "interval covers, %", "interval above 0, %"]
    body = [[name, percent(r["coverage"]), percent(r["above 0"])] for name, r in results("ranks").items()]
    return rows(head, body)


def all_tables() -> str:
    parts = {
        "Is a gain found": power,
        "The winner's score": selection,
        "What is sent in": choice,
        "A race": race,
        "Rank correlation of few pairs": ranks,
    }
    return "\n".join(f"### {title}\n\n{make()}" for title, make in parts.items())
