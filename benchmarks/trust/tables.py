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


def ablation() -> str:
    head = ["simulated", "found, %", "a false verdict or more, %", "trainings of those planned, %"]
    body = [
        [name, percent(r["found"]), percent(r["false"]), f"{100 * r['trainings'] / r['planned']:.0f}"]
        for name, r in results("ablation").items()
    ]
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
        "Which trick helps": ablation,
        "Rank correlation of few pairs": ranks,
    }
    return "\n".join(f"### {title}\n\n{make()}" for title, make in parts.items())
