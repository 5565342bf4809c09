"""Figures of a search: its history, curves, and what was tried. Data frames are those of `tables.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from tune_digits.report.style import (
    BLUE,
    FAINT,
    GREEN,
    MANY,
    ORANGE,
    RED,
    SIZE,
    TEXT,
    VIOLET,
    few_ticks,
    log_ticks,
    new_figure,
    score_scale,
    short,
    styled,
)
from tune_digits.report.tables import KeyAxis

TOP = 10  # trials that stand out among all
BRIGHT = (ORANGE, BLUE, GREEN, VIOLET, RED)  # of lines that are named


@styled()
def history(trials: pd.DataFrame, metric: str) -> Figure:
    """The score of each trial in the order of their numbers, and the best of those that were not stopped so far."""
    figure = new_figure(250)
    ax = figure.add_subplot()
    judged = trials[trials["score"].notna()]
    many = len(judged) > MANY
    whole = judged[judged["state"].isin(("finished", "ended"))]
    styles = (
        ("stopped by the scheduler", judged["state"] == "pruned", FAINT),
        ("running", judged["state"] == "running", VIOLET),
        ("trained to the end", judged["state"].isin(("finished", "ended")), BLUE),
    )
    for label, rows, colour in styles:
        if rows.any():
            some = judged[rows]
            ax.scatter(some["number"], some["score"], 22, colour, label=label, rasterized=many, linewidths=0)
    if len(whole):
        ordered = whole.sort_values("number")
        best = ordered["score"].cummax()
        ax.step(ordered["number"], best, where="post", color=ORANGE, label="best so far", linewidth=1.4)
    failed = trials[trials["state"] == "failed"]
    score_scale(ax, "y", _visible(judged["score"].to_numpy()))
    if len(failed):
        place = np.full(len(failed), 0.02)
        ax.scatter(
            failed["number"],
            place,
            18,
            RED,
            marker="x",
            label="failed",
            transform=ax.get_xaxis_transform(),
            rasterized=many,
        )
    ax.set_xlabel("trial")
    ax.set_ylabel(f"{metric} on one fold")
    few_ticks(ax.xaxis, whole=True)
    figure.legend(loc="outside upper left", ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure


def _visible(scores: np.ndarray) -> np.ndarray:
    """The scores without the few lowest ones, if these alone would take most of the axis."""
    if len(scores) < 8:
        return scores
    low, middle = np.quantile(scores, [0.1, 0.5])
    return np.asarray(scores[scores >= low - 2 * max(middle - low, 0.01)])


@styled()
def survivors(trials: pd.DataFrame, epochs: int, rungs: Sequence[int]) -> Figure:
    """How many trials trained each epoch; the rungs, at which the scheduler stops the weaker ones, are marked."""
    figure = new_figure(250)
    ax = figure.add_subplot()
    reached = trials["epochs"].to_numpy()
    steps = np.arange(1, epochs + 1)
    count = np.array([(reached >= step).sum() for step in steps])
    ax.fill_between(steps, count, step="mid", color=BLUE, alpha=0.25, linewidth=0)
    ax.step(steps, count, where="mid", color=BLUE, label="trials")
    for number, rung in enumerate(rungs):
        label = "the scheduler judges here" if number == 0 else None
        ax.axvline(rung, color=ORANGE, linestyle=(0, (3, 2)), linewidth=1, label=label)
    ax.set_ylim(0, max(int(count.max()), 1) * 1.05 if len(count) else 1)
    ax.set_xlim(0.5, epochs + 0.5)
    ax.set_xlabel("epoch")
    ax.set_ylabel("trials that trained it")
    few_ticks(ax.xaxis, whole=True)
    few_ticks(ax.yaxis, whole=True)
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled()
def learning_curves(
    curves: pd.DataFrame, pruned: set[int], named: Mapping[int, str], value: str, label: str
) -> Figure:
    """A line per trial over the epochs (rows in the order of trial and epoch), of the column `value` of the curves:
    stopped ones in grey, the `named` (trial -> what it is called, the five first) in colours of their own."""
    figure = new_figure(270)
    ax = figure.add_subplot()
    table = curves[["trial", "epoch", value]].to_numpy(np.float64)
    starts = np.flatnonzero(np.diff(table[:, 0])) + 1
    groups = {int(part[0, 0]): part[:, 1:] for part in np.split(table, starts) if len(part)}
    unnamed = groups.keys() - named.keys()
    alpha = min(0.6, max(60 / max(len(unnamed), 1), 0.05))
    for some, colour in ((unnamed - pruned, BLUE), (unnamed & pruned, FAINT)):
        lines = [groups[trial] for trial in sorted(some)]
        _lines(ax, lines, colour, alpha, 0.9)
        alone = np.array([line[0] for line in lines if len(line) == 1])
        if len(alone):
            ax.scatter(alone[:, 0], alone[:, 1], 6, colour, alpha=alpha, linewidths=0)
    for (trial, name), colour in zip(list(named.items())[: len(BRIGHT)], BRIGHT, strict=False):
        if trial in groups:
            ax.plot(*groups[trial].T, color=colour, label=name, linewidth=2)
    seen = curves[value].to_numpy()
    seen = seen[np.isfinite(seen)]
    if value == "score":
        score_scale(ax, "y", _visible(seen))
    else:
        positive = seen[seen > 0]
        if len(positive):
            ax.set_yscale("log")
            ax.set_ylim(positive.min() * 0.9, np.quantile(positive, 0.98) * 1.1)
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.minorticks_off()
    ax.plot([], [], color=BLUE, alpha=0.6, linewidth=0.9, label="others")
    if pruned & groups.keys():
        ax.plot([], [], color=FAINT, alpha=0.6, linewidth=0.9, label="stopped by the scheduler")
    ax.set_xlim(0.5, float(curves["epoch"].max()) + 0.5)
    ax.set_xlabel("epoch")
    ax.set_ylabel(label)
    few_ticks(ax.xaxis, whole=True)
    figure.legend(loc="outside upper left", ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled()
def parallel(trials: pd.DataFrame, axes: Sequence[KeyAxis], metric: str) -> Figure:
    """A line per trial through its value of each key to its score; the best ones in colour."""
    figure = new_figure(330, max(460, 74 * (len(axes) + 1)))
    ax = figure.add_subplot()
    known = trials[trials["score"].notna()].sort_values("score", kind="stable")
    score = known["score"].to_numpy()
    order = _rank_fractions(score)
    lines = np.column_stack([*(axis.fractions(known[axis.key].tolist()) for axis in axes), order])
    x = np.arange(lines.shape[1])
    best, rest = lines[-TOP:], lines[:-TOP]
    _broken(ax, x, rest, FAINT, min(0.5, max(60 / max(len(rest), 1), 0.05)), 0.8)
    _broken(ax, x, best, ORANGE, 0.9, 1.3)
    for place, axis in enumerate(axes):
        ax.plot([place, place], [0, 1], color=FAINT, linewidth=0.8)
        ends = (axis.labels[0], axis.labels[-1]) if axis.labels else (f"{axis.low:.3g}", f"{axis.high:.3g}")
        for height, end, align in ((-0.03, ends[0], "top"), (1.03, ends[1], "bottom")):
            ax.text(place, height, short(end, 12), ha="center", va=align, fontsize=SIZE - 1)
        for height, label in enumerate(axis.labels[1:-1], 1):
            ax.text(place + 0.03, height / axis.high, short(label, 12), fontsize=SIZE - 1, va="center")
    last = len(axes)
    ax.plot([last, last], [0, 1], color=FAINT, linewidth=0.8)
    if len(score):
        ax.text(last, -0.03, f"{score[0]:.4g}", ha="center", va="top", fontsize=SIZE - 1)
        ax.text(last, 1.03, f"{score[-1]:.4g}", ha="center", va="bottom", fontsize=SIZE - 1)
    names = [_over_lines(axis.key) for axis in axes]
    ax.set_xticks(x, [*names, f"{metric}\n(by rank)"])
    ax.tick_params("x", length=0, pad=16)
    ax.set_yticks([])
    ax.grid(False)
    ax.set_xlim(-0.4, last + 0.4)
    ax.set_ylim(-0.02, 1.08)
    ax.spines[["left", "bottom"]].set_visible(False)
    return figure


def _over_lines(key: str) -> str:
    """A dotted key over several lines: the part, and what is after it, broken at underscores."""
    part, _, name = key.partition(".")
    lines: list[str] = []
    for word in name.replace("_", "_ ").split():
        if lines and len(lines[-1]) + len(word) <= 11:
            lines[-1] += word
        else:
            lines.append(word)
    return "\n".join(short(line, 12) for line in (part, *lines))


def _rank_fractions(score: np.ndarray) -> np.ndarray:
    """0 for the lowest to 1 for the highest; equal scores stand at one height."""
    if len(score) < 2:
        return np.ones(len(score))
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(middle[inverse] / (len(score) - 1))


def _broken(ax: Axes, x: np.ndarray, lines: np.ndarray, colour: str, alpha: float, width: float) -> None:
    """Lines (n, len(x)) that leave out what is missing: dashed from the value before to the one after it."""
    solid, dashed = [], []
    for line in lines:
        there = np.flatnonzero(np.isfinite(line))
        for part in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
            solid.append(np.column_stack([x[part], line[part]]))
        for a, b in pairwise(there.tolist()):
            if b > a + 1:
                dashed.append(np.array([[x[a], line[a]], [x[b], line[b]]]))
    _lines(ax, solid, colour, alpha, width)
    _lines(ax, dashed, colour, alpha / 2, width, "dashed")


def _lines(
    ax: Axes, lines: Sequence[np.ndarray], colour: str, alpha: float, width: float, style: str = "solid"
) -> None:
    """Lines, (points, 2) each, as one artist: thousands of them one by one would take seconds."""
    collection = LineCollection(lines, colors=colour, alpha=alpha, linewidths=width, linestyles=style)
    collection.set_rasterized(len(lines) > MANY // 4)
    ax.add_collection(collection, autolim=False)


@styled()
def slices(trials: pd.DataFrame, axes: Sequence[KeyAxis], metric: str) -> Figure:
    """A panel per key: its values against the scores; trials that the scheduler stopped in grey."""
    columns = min(3, max(len(axes), 1))
    rows = -(-len(axes) // columns) if axes else 1
    figure = new_figure(155 * rows + 20, 940 if columns == 3 else 310 * columns)
    panels = np.atleast_1d(figure.subplots(rows, columns, sharey=True, squeeze=False)).ravel()
    known = trials[trials["score"].notna()]
    whole = known["state"].isin(("finished", "ended"))
    many = len(known) > MANY // 4
    rng = np.random.default_rng(0)
    for panel, axis in zip(panels, axes, strict=False):
        places = axis.places(known[axis.key].tolist())
        if axis.labels:
            places = places + rng.uniform(-0.15, 0.15, len(places))
        for rows_of, colour in ((~whole, FAINT), (whole, BLUE)):
            panel.scatter(
                places[rows_of], known["score"][rows_of], 10, colour, linewidths=0, alpha=0.8, rasterized=many
            )
        if axis.log:
            panel.set_xscale("log")
            ticks = log_ticks(*panel.get_xlim())
            panel.set_xticks(ticks, [f"{tick:.4g}" for tick in ticks])
            panel.minorticks_off()
        if axis.labels:
            length = max(6, 26 // len(axis.labels))
            panel.set_xticks(range(len(axis.labels)), [short(label, length) for label in axis.labels])
            panel.set_xlim(-0.5, len(axis.labels) - 0.5)
            if len(axis.labels) > 4:
                panel.tick_params("x", rotation=90)
        elif not axis.log:
            few_ticks(panel.xaxis, 4)
        panel.set_xlabel(short(axis.key, 34))
        score_scale(panel, "y", _visible(known["score"].to_numpy()))
    for panel in panels[len(axes) :]:
        panel.set_visible(False)
    figure.supylabel(metric, fontsize=SIZE, color=TEXT)
    return figure


@styled()
def correlations(table: pd.DataFrame) -> Figure:
    """Spearman's rank correlation of each key with the score, and its 95 % interval; `tables.associations`."""
    figure = new_figure(60 + 20 * max(len(table), 1))
    ax = figure.add_subplot()
    places = np.arange(len(table))[::-1]
    rho = table["rho"].to_numpy()
    ax.errorbar(
        rho,
        places,
        xerr=np.maximum([rho - table["low"], table["high"] - rho], 0),
        fmt="o",
        color=BLUE,
        ecolor=FAINT,
        elinewidth=1.4,
    )
    ax.axvline(0, color=TEXT, linewidth=0.8)
    ax.set_yticks(places, [short(key, 30) for key in table["key"]])
    ax.set_xlim(-1.05, 1.05)
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xlabel("rank correlation with the score")
    return figure
