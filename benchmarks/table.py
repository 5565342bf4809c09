"""The table in docs/performance.md, made from benchmarks/results/*.json.

    python benchmarks/table.py

A row is a question, the script that answers it, what was seen and the goal. Where a result is a range over rounds, the
median stands before it. A result that is not there yet leaves its rows out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- made by benchmarks/table.py -->\n", "<!-- end -->\n"


def spread(seen: dict[str, float], form: str = ".2f") -> str:
    return f"{seen['median']:{form}} ({seen['low']:{form}} to {seen['high']:{form}})"


def over(form: str, seen: dict[str, Any]) -> str:
    """Of the seconds of several runs: their median, and the least and the largest."""
    return spread({"median": seen["median"], "low": min(seen["seconds"]), "high": max(seen["seconds"])}, form)


def times(r: dict[str, Any], chain: str, other: str) -> str:
    rates = r["images_per_second"]
    return f"{rates[f'{chain}, batched'] / rates[f'{chain}, {other}']:.1f}"


def percent(seen: dict[str, float]) -> str:
    return f"{seen['median']:.1%}"


LEAN, SMALL = "lean_cnn width 32 depth 2", "lean_cnn width 16"
ALL, WITH_VALIDATION = "fit with all / bare", "fit with all and validation / bare"

Row = tuple[str, Callable[[dict[str, Any]], str], str]
# result file -> its rows: question, what was seen, goal
ROWS: dict[str, list[Row]] = {
    "pipeline": [
        (
            "`fit` with augmentation, mixing, EMA and reports over the bare step: lean_cnn 16/2; 32/2",
            lambda r: f"{r[SMALL][ALL]:.2f}; {r[LEAN][ALL]:.2f}",
            "0.90",
        ),
        ("the same, keras8", lambda r: f"{r['keras8'][ALL]:.2f}", "0.97"),
        (
            "the same with validation on a quarter as many images, which the bare step has not: the three",
            lambda r: "; ".join(f"{r[m][WITH_VALIDATION]:.2f}" for m in (SMALL, LEAN, "keras8")),
            "",
        ),
    ],
    "augmentation": [
        (
            "batched augmentation over albumentations' stock transforms: nine operations; all 18",
            lambda r: (
                f"{times(r, 'core', 'albumentations stock')}; {times(r, 'full', 'albumentations stock')}"
            ),
            "40",
        ),
        (
            "over albumentations with the same distributions: nine; all 18",
            lambda r: f"{times(r, 'core', 'albumentations')}; {times(r, 'full', 'albumentations')}",
            "",
        ),
        (
            "over kornia: nine; the 16 that it has too",
            lambda r: f"{times(r, 'core', 'kornia')}; {times(r, 'common', 'kornia')}",
            "5",
        ),
        (
            "images per second and thread: nine; all 18",
            lambda r: "; ".join(f"{r['images_per_second'][f'{c}, batched']:,}" for c in ("core", "full")),
            "40,000",
        ),
        (
            "part of a lean_cnn 32/2 epoch: nine; all 18",
            lambda r: "; ".join(percent(r["part_of_an_epoch"][c]) for c in ("core", "full")),
            "under 8 %",
        ),
        (
            "the albumentations backend over a DataLoader with as many workers: 1; 2",
            lambda r: "; ".join(
                spread(r["albumentations_against_a_data_loader"][f"{n} workers"]["backend_over_data_loader"])
                for n in (1, 2)
            ),
            "1",
        ),
    ],
    "whole_search": [
        (
            "a whole search of 8 trials × 3 epochs × 6,000 images: Ray's tutorial way takes as many times as long",
            lambda r: spread(r["tutorial / ours"]),
            "2.5",
        ),
        ("two bare processes without Ray", lambda r: spread(r["bare / ours"]), "0.88"),
        ("Optuna in one process with two threads", lambda r: spread(r["optuna / ours"]), "1.2"),
        ("Ray Tune with two trials that train nothing", lambda r: spread(r["floor / ours"]), ""),
    ],
    "whole_search-9-epochs": [
        (
            "with 9 epochs: two bare processes; Optuna with two threads (one round)",
            lambda r: f"{r['bare / ours']['median']:.2f}; {r['optuna / ours']['median']:.2f}",
            "0.88; 1.2",
        )
    ],
    "overhead": [
        ("from the command to the first epoch on digits, s", lambda r: over(".1f", r["first_epoch"]), "12"),
        ("`--help`, s", lambda r: over(".2f", r["help"]), "1.0"),
        ("a trial that trains next to nothing, s", lambda r: over(".3f", r["per_trial"]), "0.4"),
        ("saving 1 MB and recording an epoch, s", lambda r: over(".4f", r["checkpoint"]), "0.020"),
    ],
    "fused-cpu": [
        (
            f"{name.replace(',', ':')} as one over one after the other, one core",
            lambda r, name=name: spread(r[name]),
            "",
        )
        for name in ("lean_cnn 4 1, 5 networks", "lean_cnn 32 2, 2 networks", "lean_cnn 32 2, 5 networks")
    ],
    "inference": [
        (
            "prediction over its bare forward passes: 5 members, 8 views, 10,000 images",
            lambda r: spread(r["ensemble / bare"]),
            "1.15",
        )
    ],
    "growth": [
        (
            "time per trial, last 200 of 2,000 over the first 200",
            lambda r: f"{r['time']['last / first']:.2f}",
            "2",
        ),
        (
            "memory of a search over 3,000 images; 200,000 images (one copy is 157 MB); with 200 trials, MB",
            lambda r: "; ".join(f"{v / 1e6:,.0f}" for k, v in r["memory"].items() if "trials" in k),
            "",
        ),
    ],
}


def table(results: Path = HERE / "results") -> str:
    lines = ["| question | script | seen | goal |", "|---|---|---|---|"]
    for name, rows in ROWS.items():
        path = results / f"{name}.json"
        if path.exists():
            whole = json.loads(path.read_text())
            script = name.split("-")[0]
            for question, seen, goal in rows:
                cell = seen(whole.get("results", whole))
                lines.append(f"| {question} | `{script}.py`, {whole['date']} | {cell} | {goal} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table of now between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
    print(table())
