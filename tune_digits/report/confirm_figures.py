"""Figures of confirmed scores and of what the members of an ensemble add. Boards are those of `leaderboard.csv`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tune_digits.report.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    RED,
    TEXT,
    few_ticks,
    new_figure,
    score_scale,
    short,
    styled,
)

VERDICTS = {"better": GREEN, "worse": RED, "helps": GREEN, "hurts": RED}
NAMED = 12  # points that have the number of their trial beside them


@styled()
def gains(names: Sequence[str], table: pd.DataFrame, label: str) -> Figure:
    """Differences with their 95 % intervals, told ones in colour. table: difference, low, high, verdict; a row a name.

    Where an interval has no end (too few trainings), it goes to the edge.
    """
    figure = new_figure(64 + 22 * max(len(names), 1))
    ax = figure.add_subplot()
    difference = table["difference"].to_numpy(np.float64)
    low, high = table["low"].to_numpy(np.float64), table["high"].to_numpy(np.float64)
    ends = np.concatenate([difference, low, high, [0.0]])
    ends = ends[np.isfinite(ends)]
    pad = max(float(np.ptp(ends)) * 0.08, 1e-4)
    edges = float(ends.min()) - pad, float(ends.max()) + pad
    for place, (value, least, most, verdict) in enumerate(
        zip(difference, low, high, table["verdict"], strict=True)
    ):
        y, colour = len(names) - 1 - place, VERDICTS.get(verdict, FAINT)
        if np.isfinite(value):
            least, most = (
                np.clip(least, edges[0] - pad, edges[1] + pad),
                np.clip(most, edges[0] - pad, edges[1] + pad),
            )
            ax.plot([least, most], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
            ax.plot([value], [y], "o", color=colour, markersize=5)
    ax.axvline(0, color=TEXT, linewidth=0.8)
    ax.set_xlim(*edges)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_yticks(range(len(names))[::-1], [short(name, 34) for name in names])
    few_ticks(ax.xaxis, 5)
    ax.xaxis.set_major_formatter(lambda value, _: "0" if value == 0 else f"{value:+.4g}")
    ax.set_xlabel(label)
    return figure


@styled()
def search_against_confirmed(board: pd.DataFrame, metric: str) -> Figure:
    """The score that a trial had in the search, on one fold, against its confirmed score with its standard error."""
    figure = new_figure(300, 380)
    ax = figure.add_subplot()
    known = board[board["search_score"].notna()]
    x, y = known["search_score"].to_numpy(), known["confirmed"].to_numpy()
    error = known["confirmed_se"].fillna(0).to_numpy()
    seen = np.concatenate([x, y - error, y + error])
    score_scale(ax, "x", np.minimum(seen, 1))
    score_scale(ax, "y", np.minimum(seen, 1))
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (3, 2)), scalex=False, scaley=False)
    roles = (("search", BLUE, "searched"), ("start", GREEN, "start point"), ("baseline", ORANGE, "baseline"))
    for role, colour, label in roles:
        own = (known["role"] == role).to_numpy()
        if own.any():
            ax.errorbar(x[own], y[own], error[own], fmt="o", color=colour, label=label, elinewidth=1)
    for trial, a, b in list(zip(known["trial"], x, y, strict=True))[:NAMED]:
        ax.annotate(str(trial), (a, b), (5, 3), textcoords="offset points", fontsize=9)
    ax.set_xlabel(f"{metric} in the search, on one fold")
    ax.set_ylabel(f"confirmed {metric}")
    figure.legend(loc="outside upper left", ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled()
def cost(board: pd.DataFrame, metric: str) -> Figure:
    """Seconds of a training against the confirmed score."""
    figure = new_figure(260, 380)
    ax = figure.add_subplot()
    baseline = (board["role"] == "baseline").to_numpy()
    x, y = board["seconds_per_training"].to_numpy(), board["confirmed"].to_numpy()
    error = board["confirmed_se"].fillna(0).to_numpy()
    score_scale(ax, "y", np.minimum(np.concatenate([y - error, y + error]), 1))
    for own, colour, label in ((~baseline, BLUE, "searched"), (baseline, ORANGE, "baseline")):
        if own.any():
            ax.errorbar(x[own], y[own], error[own], fmt="o", color=colour, elinewidth=1, label=label)
    for trial, a, b in list(zip(board["trial"], x, y, strict=True))[:NAMED]:
        ax.annotate(str(trial), (a, b), (5, 3), textcoords="offset points", fontsize=9)
    ax.set_xlim(0, None)
    ax.set_xlabel("seconds of a confirming training")
    ax.set_ylabel(f"confirmed {metric}")
    figure.legend(loc="outside upper left", ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure
