"""Write the tables of performance, keras-parity, trust and fidelity in docs/ anew from benchmarks/results/*.json.

    python benchmarks/table.py

A row of the first is a question, the script that answers it (date, commit and processor), the result and the goal. A
result over several rounds is their median, with the lowest and the highest in brackets.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fidelity.tables import fidelity_tables
from trust.tables import all_tables

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
BEGIN, END = "<!-- made by benchmarks/table.py -->\n", "<!-- end -->\n"


def spread(seen: dict[str, float], form: str = ".2f") -> str:
    return f"{seen['median']:{form}} ({seen['low']:{form}} to {seen['high']:{form}})"


def over_runs(form: str, seen: dict[str, Any]) -> str:
    """The median of the seconds of several runs, with the least and the largest."""
    return spread({"median": seen["median"], "low": min(seen["seconds"]), "high": max(seen["seconds"])}, form)


def times_as_fast(r: dict[str, Any], chain: str, other: str) -> str:
    rates = r["images_per_second"]
    return f"{rates[f'{chain}, batched'] / rates[f'{chain}, {other}']:.1f}"


def percent(seen: dict[str, float]) -> str:
    return f"{seen['median']:.1%}"


LEAN, SMALL = "lean_cnn width 32 depth 2", "lean_cnn width 16"
ALL, WITH_VALIDATION = "fit with all / bare", "fit with all and validation / bare"

Row = tuple[str, Callable[[dict[str, Any]], str], str]
# result file -> its rows: question, result in words, goal
ROWS: dict[str, list[Row]] = {
    "pipeline": [
        (
            "speed of `fit` with augmentation, mixing, EMA and reports, relative to the bare training step: "
            "lean_cnn 16/2; lean_cnn 32/2",
            lambda r: f"{r[SMALL][ALL]:.2f}; {r[LEAN][ALL]:.2f}",
            "0.90",
        ),
        ("the same for keras8", lambda r: f"{r['keras8'][ALL]:.2f}", "0.97"),
        (
            "the same, with validation on a quarter as many images, which the bare step does not do: "
            "lean_cnn 16/2; lean_cnn 32/2; keras8",
            lambda r: "; ".join(f"{r[m][WITH_VALIDATION]:.2f}" for m in (SMALL, LEAN, "keras8")),
            "",
        ),
    ],
    "augmentation": [
        (
            "speed of the batched augmentation, relative to albumentations' own transforms: "
            "nine operations; all 18",
            lambda r: (
                f"{times_as_fast(r, 'core', 'albumentations stock')}; "
                f"{times_as_fast(r, 'full', 'albumentations stock')}"
            ),
            "40",
        ),
        (
            "the same, relative to albumentations with our distributions: nine; all 18",
            lambda r: (
                f"{times_as_fast(r, 'core', 'albumentations')}; {times_as_fast(r, 'full', 'albumentations')}"
            ),
            "",
        ),
        (
            "the same, relative to kornia: nine; the 16 that kornia has",
            lambda r: f"{times_as_fast(r, 'core', 'kornia')}; {times_as_fast(r, 'common', 'kornia')}",
            "5",
        ),
        (
            "images augmented per second on one thread: nine operations; all 18",
            lambda r: "; ".join(f"{r['images_per_second'][f'{c}, batched']:,}" for c in ("core", "full")),
            "40,000",
        ),
        (
            "fraction of an epoch of lean_cnn 32/2 that augmentation takes: nine operations; all 18",
            lambda r: "; ".join(percent(r["part_of_an_epoch"][c]) for c in ("core", "full")),
            "under 8 %",
        ),
        (
            "speed of the albumentations backend, relative to a DataLoader with as many workers: "
            "one worker; two",
            lambda r: "; ".join(
                spread(r["albumentations_against_a_data_loader"][f"{n} workers"]["backend_over_data_loader"])
                for n in (1, 2)
            ),
            "1",
        ),
    ],
    "whole_search": [
        (
            "time of Ray Tune written as in its tutorial, relative to a whole search here "
            "(8 trials × 3 epochs × 6,000 images)",
            lambda r: spread(r["tutorial / ours"]),
            "2.5",
        ),
        (
            "time of two processes without Ray, relative to the same",
            lambda r: spread(r["bare / ours"]),
            "0.88",
        ),
        (
            "time of Optuna in one process with two threads, relative to the same",
            lambda r: spread(r["optuna / ours"]),
            "1.2",
        ),
        (
            "time of Ray Tune with two trials that train nothing, relative to the same",
            lambda r: spread(r["floor / ours"]),
            "",
        ),
    ],
    "whole_search-9-epochs": [
        (
            "with 9 epochs instead of 3 (one round): two processes without Ray; Optuna with two threads",
            lambda r: f"{r['bare / ours']['median']:.2f}; {r['optuna / ours']['median']:.2f}",
            "0.88; 1.2",
        )
    ],
    "overhead": [
        (
            "seconds from the command to the first epoch, on digits",
            lambda r: over_runs(".1f", r["first_epoch"]),
            "12",
        ),
        ("seconds of `search.py --help`", lambda r: over_runs(".2f", r["help"]), "1.0"),
        ("seconds per trial that trains next to nothing", lambda r: over_runs(".3f", r["per_trial"]), "0.4"),
        (
            "seconds to save a state of 1 MB and record an epoch",
            lambda r: over_runs(".4f", r["checkpoint"]),
            "0.020",
        ),
    ],
    "fused-cpu": [
        (
            f"speed of {networks} networks trained as one, relative to one after the other, one core: {name}",
            lambda r, key=f"{model}, {networks} networks": spread(r[key]),
            "",
        )
        for name, model, networks in (
            ("lean_cnn 4/1", "lean_cnn 4 1", 5),
            ("lean_cnn 32/2", "lean_cnn 32 2", 2),
            ("lean_cnn 32/2", "lean_cnn 32 2", 5),
        )
    ],
    "inference": [
        (
            "time of prediction relative to its bare forward passes: 5 members, 8 views, 10,000 images, lean_cnn 8/1",
            lambda r: spread(r["ensemble / bare"]),
            "1.15",
        )
    ],
    "growth": [
        (
            "time per trial of the last 200 of 2,000 trials, relative to the first 200",
            lambda r: f"{r['time']['last / first']:.2f}",
            "2",
        ),
        (
            "memory of a search in MB: 24 trials on 3,000 images; 24 trials on 200,000 images "
            "(one copy of them is 157 MB); 200 trials on 200,000 images",
            lambda r: "; ".join(f"{v / 1e6:,.0f}" for k, v in r["memory"].items() if "trials" in k),
            "",
        ),
    ],
}


def of_commit(whole: dict[str, Any]) -> str:
    """Which code was measured, in words."""
    state = whole.get("git")
    if state is None:
        return "commit not recorded"
    number = state.removesuffix("-dirty")[:7]
    return f"{number} with changes" if state.endswith("-dirty") else number


def processor(whole: dict[str, Any]) -> str:
    name: str = whole["machine"]["cpu"] if "machine" in whole else whole["cpu"]
    return name.replace("(R)", "").removesuffix(" Processor")


def speed_table(results: Path = HERE / "results") -> str:
    """The table of docs/performance.md."""
    lines = ["| question | script, date, commit, processor | result | goal |", "|---|---|---|---|"]
    for name, rows in ROWS.items():
        whole = json.loads((results / f"{name}.json").read_text())
        source = f"`{name.partition('-')[0]}.py`, {whole['date']}, {of_commit(whole)}, {processor(whole)}"
        for question, result, goal in rows:
            lines.append(f"| {question} | {source} | {result(whole.get('results', whole))} | {goal} |")
    return "\n".join(lines) + "\n"


# ── what each of Keras's defaults is worth ───────────────────────────────────────────────────────────

# recipe in the results (a name in keras_parity.py) -> words for it, in the table's order
RECIPES = {
    "Keras's defaults": "Keras's defaults (the baseline)",
    "first weights: PyTorch's": "initial weights of PyTorch",
    "gamma starts at 1": "initial γ of BatchNorm 1",
    "epsilon 1e-8 beside the root": "ε 1e-8, outside the root",
    "epsilon 1e-7 beside the root (Keras of 2019)": "ε 1e-7, outside the root (Keras of 2019)",
    "no biases ahead of BatchNorm": "no biases in layers that a BatchNorm follows",
    "epsilon 1e-8 beside the root, no biases ahead of BatchNorm": "the same, and ε 1e-8 outside the root",
    "rho 0.99": "RMSprop's ρ 0.99",
    "BatchNorm momentum 0.9 taken over as it stands": "BatchNorm momentum 0.9, Keras's number copied unchanged",
    "last BatchNorm like the others": "last BatchNorm with the settings of the others",
    "running variance over n - 1": "running variance divided by n − 1",
    "no label smoothing": "no label smoothing",
    "images less their mean over their deviation": "images standardised (mean 0, standard deviation 1)",
    "all of PyTorch's": "all of PyTorch's defaults",
}


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and standard error, NaN of a single value."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return statistics.mean(values), error


def keras_table(runs: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The table of docs/keras-parity.md: accuracy in percent, and the loss against the baseline, paired by seed.

    Each ± its standard error. runs: recipe -> seed -> figures of its training.
    """
    lines = [
        "| recipe | accuracy, % | worse than the baseline by, percentage points | seeds |",
        "|---|---|---|---|",
    ]
    base = runs[next(iter(RECIPES))]
    for name, words in RECIPES.items():
        own = runs.get(name, {})
        seeds = sorted(own.keys() & base.keys(), key=int)
        if not seeds:
            continue
        mean, error = mean_and_error([100 * own[s]["accuracy"] for s in seeds])
        lost, lost_error = mean_and_error([100 * (base[s]["accuracy"] - own[s]["accuracy"]) for s in seeds])
        loss = "" if own is base else f"{lost:+.2f} ± {lost_error:.2f}"
        lines.append(f"| {words} | {mean:.2f} ± {error:.2f} | {loss} | {len(seeds)} |")
    return "\n".join(lines) + "\n"


# ── the pages ────────────────────────────────────────────────────────────────────────────────────────

# page in docs/ -> what makes its table
TABLES: dict[str, Callable[[], str]] = {
    "performance.md": speed_table,
    "keras-parity.md": lambda: keras_table(
        json.loads((HERE / "results/keras_parity.json").read_text())["runs"]
    ),
    "trust.md": all_tables,
    "fidelity.md": fidelity_tables,
}


def with_table(page: str, table: str) -> str:
    """The page with `table` between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table + END + after


if __name__ == "__main__":
    for name, make in TABLES.items():
        path = DOCS / name
        path.write_text(with_table(path.read_text(), make()))
        print(path.relative_to(HERE.parent))
