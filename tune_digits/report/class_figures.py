"""Figures of classes, from out-of-fold answers: accuracy by fold, confusion, calibration. Tables: `judged.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.special import betaincinv

from tune_digits.report.style import BLUE, FAINT, ORANGE, SIZE, TEXT, new_figure, score_scale, short, styled

MOST = 30  # classes that a figure shows; with more of them, the worst


@styled()
def class_accuracy(table: pd.DataFrame, chosen: int, baseline: int | None) -> Figure:
    """A row per class: a dot per fold and a line at the mean, for the chosen configuration and the baseline.

    table: of `judged.class_accuracies`. With more than 30 classes those on which `chosen` is worst.
    """
    own = table[table["trial"] == chosen]
    mean = own.groupby("label")["accuracy"].mean().sort_values(kind="stable")
    shown = sorted(mean.index[:MOST].tolist(), reverse=True)
    names = dict(zip(table["label"], table["class"], strict=True))
    figure = new_figure(70 + 21 * len(shown))
    ax = figure.add_subplot()
    score_scale(ax, "x", table[table["label"].isin(shown)]["accuracy"].to_numpy())
    sides = [(chosen, BLUE, 0.16, f"trial {chosen}")]
    if baseline is not None and baseline != chosen:
        sides.append((baseline, ORANGE, -0.16, f"trial {baseline}, the baseline"))
    place = {label: y for y, label in enumerate(shown)}
    for trial, colour, shift, label in sides:
        some = table[(table["trial"] == trial) & table["label"].isin(shown)]
        y = some["label"].map(place).to_numpy() + shift
        ax.scatter(some["accuracy"], y, 12, colour, linewidths=0, alpha=0.55)
        for name, group in some.groupby("label"):
            x, y0 = float(group["accuracy"].mean()), place[int(str(name))] + shift
            ax.plot([x, x], [y0 - 0.17, y0 + 0.17], color=colour, linewidth=2.2)
        ax.plot([], [], color=colour, linewidth=2.2, label=label)
    ax.set_yticks(range(len(shown)), [short(names[label]) for label in shown])
    ax.set_ylim(-0.6, len(shown) - 0.4)
    ax.set_xlabel("accuracy: a dot per fold, a line at their mean")
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1.2, handletextpad=0.5)
    return figure


@styled()
def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Labels in rows, answers in columns; the shade is the fraction of the row. Right answers in blue, wrong in orange.

    counts: int64 (K, K). With more than 30 classes those that are in most mistakes.
    """
    wrong = counts - np.diag(np.diag(counts))
    worst = np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:MOST]
    shown = np.sort(worst)
    part = counts[np.ix_(shown, shown)]
    fraction = part / np.maximum(counts[shown].sum(1, keepdims=True), 1)
    count = len(shown)
    cell = 34 if count <= 12 else 22
    figure = new_figure(70 + cell * count, 90 + cell * count)
    ax = figure.add_subplot()
    for i in range(count):
        for j in range(count):
            if part[i, j] == 0:
                continue
            # a single mistake must be seen too
            shade = (
                float(fraction[i, j]) * 0.75 if i == j else 0.15 + 0.85 * min(float(fraction[i, j]) * 5, 1.0)
            )
            colour = BLUE if i == j else ORANGE
            ax.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, color=colour, alpha=shade, linewidth=0))
            if count <= 20:
                ax.text(j, i, str(part[i, j]), ha="center", va="center", fontsize=SIZE - 1, color=TEXT)
    labels = [short(names[k], 10) for k in shown]
    length = max(map(len, labels))
    ax.set_xticks(range(count), labels, rotation=90 if length > 3 else 0)
    ax.set_yticks(range(count), labels)
    ax.set_xlim(-0.5, count - 0.5)
    ax.set_ylim(count - 0.5, -0.5)
    ax.set_aspect("equal")
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set_xlabel("answer")
    ax.set_ylabel("label")
    return figure


@styled()
def reliability(table: pd.DataFrame) -> Figure:
    """Accuracy against confidence in bins, and how many images are in each; table: of `judged.calibration`."""
    figure = new_figure(300, 380)
    ax, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (3, 2)))
    hits = (table["accuracy"] * table["images"]).round()
    misses = table["images"] - hits
    # Clopper and Pearson's 95 % interval; without misses it ends at 1, without hits at 0
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), misses + 1, 0.025), 0)
    high = np.where(misses > 0, betaincinv(hits + 1, np.maximum(misses, 1), 0.975), 1)
    error = [table["accuracy"] - low, high - table["accuracy"]]
    ax.errorbar(
        table["confidence"], table["accuracy"], np.maximum(error, 0), fmt="o", color=BLUE, elinewidth=1
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_ylabel("accuracy")
    below.bar(
        table["low"],
        table["images"],
        table["high"] - table["low"],
        align="edge",
        color=BLUE,
        alpha=0.5,
        linewidth=0,
    )
    below.set_yscale("log")
    below.set_ylim(0.7, None)
    below.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    below.minorticks_off()
    below.set_ylabel("images")
    below.set_xlabel("probability of the answer")
    return figure
