"""Every figure from small tables, and how a figure becomes a part of a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tune_digits.report import class_figures, confirm_figures, judged, search_figures
from tune_digits.report.style import BLUE, COLOURS, log_ticks, new_figure, score_scale, short, styled, svg
from tune_digits.report.tables import KeyAxis

HOSTILE = "<b>&\"'$^{$ ಕ </text>"  # what stands between the two $ is no formula


def trials(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    states = np.array(["finished", "pruned", "pruned", "failed", "running", "ended"])[np.arange(count) % 6]
    return pd.DataFrame(
        {
            "number": np.arange(count),
            "state": states,
            "score": np.where(states == "failed", np.nan, 1 - rng.uniform(0, 0.2, count)),
            "epochs": np.where(states == "finished", 6, 2),
            "optimizer.lr": 10 ** rng.uniform(-3, -1, count),
            "model.name": np.where(np.arange(count) % 2, "a", HOSTILE),
            "augment.rotate": np.where(np.arange(count) % 3, rng.uniform(0, 20, count), np.nan),
        }
    )


def curves(table: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (trial, epoch, 1 - 0.5 / epoch, 2 / epoch, 2 / epoch)
        for trial, epochs in zip(table["number"], table["epochs"], strict=True)
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows, columns=["trial", "epoch", "score", "train_loss", "valid_loss"])


AXES = [
    KeyAxis("optimizer.lr", True, (), 0.001, 0.1),
    KeyAxis("model.name", False, (HOSTILE, "a"), 0, 1),
    KeyAxis("augment.rotate", False, (), 0, 20),
]
BOARD = pd.DataFrame(
    {
        "trial": [3, 0, 5],
        "role": ["search", "baseline", "start"],
        "confirmed": [0.99, 0.98, 1.0],
        "confirmed_se": [0.001, np.nan, 0.0],
        "search_score": [0.97, 0.98, np.nan],
        "seconds_per_training": [3.0, 2.0, 5.0],
    }
)
GAINS = pd.DataFrame(
    {
        "difference": [0.01, -0.02, 0.0],
        "low": [0.005, -0.03, -np.inf],
        "high": [0.015, -0.01, np.inf],
        "verdict": ["better", "worse", "cannot tell"],
    }
)
LABELS = np.arange(60) % 40
PROBA = np.eye(40)[(LABELS + (np.arange(60) % 7 == 0)) % 40] * 0.9 + 0.1 / 40
ACCURACIES = pd.DataFrame(
    [
        (t, f, c, HOSTILE if c == 0 else str(c), 0.9 + 0.01 * f, 5)
        for t in (3, 0)
        for f in range(3)
        for c in range(40)
    ],
    columns=["trial", "fold", "label", "class", "accuracy", "images"],
)
FIGURES: dict[str, Callable[[], Figure]] = {
    "history": lambda: search_figures.history(trials(20), HOSTILE),
    "history of many": lambda: search_figures.history(trials(500), "accuracy"),
    "history of one": lambda: search_figures.history(trials(1), "accuracy"),
    "survivors": lambda: search_figures.survivors(trials(20), 6, [2, 4]),
    "learning curves": lambda: search_figures.learning_curves(
        curves(trials(20)), {1, 2}, {0: HOSTILE, 99: "not there"}, "score", "accuracy"
    ),
    "losses of many": lambda: search_figures.learning_curves(
        curves(trials(400)), {1, 2}, {0: "trial 0"}, "valid_loss", "loss"
    ),
    "parallel": lambda: search_figures.parallel(trials(20), AXES, "accuracy"),
    "parallel of many": lambda: search_figures.parallel(trials(500), AXES, "accuracy"),
    "slices": lambda: search_figures.slices(trials(20), AXES, "accuracy"),
    "one slice": lambda: search_figures.slices(trials(20), AXES[:1], "accuracy"),
    "correlations": lambda: search_figures.correlations(
        pd.DataFrame({"key": [HOSTILE], "rho": [0.5], "low": [-0.1], "high": [0.8], "trials": [9]})
    ),
    "gains": lambda: confirm_figures.gains([HOSTILE, "b", "c"], GAINS, "gain"),
    "one gain without an end": lambda: confirm_figures.gains(["c"], GAINS[2:], "gain"),
    "search against confirmed": lambda: confirm_figures.search_against_confirmed(BOARD, HOSTILE),
    "cost": lambda: confirm_figures.cost(BOARD, "accuracy"),
    "class accuracy": lambda: class_figures.class_accuracy(ACCURACIES, 3, 0),
    "class accuracy of the baseline": lambda: class_figures.class_accuracy(ACCURACIES, 0, 0),
    "confusion": lambda: class_figures.confusion_matrix(np.array([[5, 1], [0, 9]]), [HOSTILE, "b"]),
    "confusion of many": lambda: class_figures.confusion_matrix(
        judged.confusion(LABELS, PROBA.argmax(1), 40), list(map(str, range(40)))
    ),
    "reliability": lambda: class_figures.reliability(judged.calibration(PROBA, LABELS)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_well_formed_follows_the_theme_and_is_small(name: str) -> None:
    text = svg(FIGURES[name](), "one")
    # in HTML the prefix xlink needs no declaration
    root = ElementTree.fromstring(text.replace("<svg", '<svg xmlns:xlink="x"', 1))
    assert root.tag == "svg" and len(text) < 500_000 and "<style" not in text
    assert not [value for value in COLOURS.values() if value in text]
    assert "var(--fig-text)" in text and "http" not in text
    assert all(i.startswith("one-") for i in re.findall(r'id="([^"]*)"', text))
    width, height = root.get("width"), root.get("height")
    assert width is not None and height is not None and float(width) >= 200 and float(height) >= 60


def test_ids_of_two_figures_differ() -> None:
    first, second = (
        set(re.findall(r'id="([^"]*)"', svg(FIGURES["cost"](), name))) for name in ("one", "two")
    )
    assert first and not first & second
    used = re.findall(r'(?:href="|url\()#([^")]*)', svg(FIGURES["cost"](), "one"))
    assert used and set(used) <= first


def test_the_same_figure_gives_the_same_text() -> None:
    assert svg(FIGURES["history"](), "one") == svg(FIGURES["history"](), "one")


def test_many_marks_are_an_image_and_few_are_not() -> None:
    assert "<image" in svg(FIGURES["history of many"](), "one")
    assert "<image" not in svg(FIGURES["history"](), "one")


def test_numbers_in_text_are_left_as_they_are() -> None:
    """Only places are rounded."""
    with styled():
        figure = new_figure(200)
        ax = figure.add_subplot()
        ax.plot([0, 1], [0, 1.23456], color=BLUE)
        ax.set_title("0.9876")
    text = svg(figure, "one")
    assert "0.9876" in text and not re.search(r' d="[^"]*\.\d{3}', text)


def test_what_was_stopped_is_grey_and_what_is_named_is_in_the_legend() -> None:
    figure = FIGURES["learning curves"]()
    ax = figure.axes[0]
    colours = {len(c.get_segments()): c.get_edgecolor()[0][:3].tolist() for c in ax.collections}
    assert set(colours) == {2, 17}  # of 20 trials two were stopped and one is named
    assert np.round(np.array(colours[2]) * 255).astype(int).tolist() == [0x9A, 0x9B, 0x9C]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [HOSTILE, "others", "stopped by the scheduler"]


def test_the_best_so_far_is_of_trials_that_were_not_stopped() -> None:
    table = pd.DataFrame(
        {
            "number": [0, 1, 2, 3],
            "state": ["finished", "pruned", "ended", "finished"],
            "score": [0.9, 0.99, 0.95, 0.93],
        }
    )
    ax = search_figures.history(table, "accuracy").axes[0]
    assert ax.lines[0].get_ydata().tolist() == [0.9, 0.95, 0.95]


def test_survivors_are_counted_and_rungs_are_marked() -> None:
    ax = search_figures.survivors(pd.DataFrame({"epochs": [6, 2, 4, 0]}), 6, [2, 4]).axes[0]
    assert ax.lines[0].get_ydata().tolist() == [3, 3, 2, 2, 1, 1]
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == [2, 4]


def test_lines_that_lack_a_key_are_dashed_over_the_gap() -> None:
    table = trials(6).iloc[:5].assign(score=[0.9, 0.8, 0.7, 0.6, 0.5])
    order = [AXES[0], AXES[2], AXES[1]]  # rotate, which two of them lack, is in the middle
    ax = search_figures.parallel(table, order, "accuracy").axes[0]
    dashed = [c for c in ax.collections if c.get_linestyles()[0][1] is not None and len(c.get_segments())]
    assert sum(len(c.get_segments()) for c in dashed) == 2
    assert all(np.ptp(s[:, 0]) == 2 for c in dashed for s in c.get_segments())


@pytest.mark.parametrize("values", [[0.99, 0.995, 1.0], [0.5, 0.999], [0.97, 0.97], [], [0.0, 1.0]])
def test_a_score_axis_shows_all_scores_and_has_ticks(values: list[float]) -> None:
    with styled():
        figure = new_figure(200)
        ax = figure.add_subplot()
        ax.plot(values, values)
        score_scale(ax, "y", values)
    low, high = ax.get_ylim()
    assert all(low <= value <= high for value in values) and low < high
    ticks = ax.get_yticks()
    assert 2 <= len(ticks) <= 14 and all(low <= tick <= min(high, 1) for tick in ticks)
    svg(figure, "one")


def test_ticks_of_a_logarithmic_axis_are_few() -> None:
    assert log_ticks(0.9, 11) == pytest.approx([1, 2, 5, 10])
    assert log_ticks(1e-9, 1) == pytest.approx([1e-9, 1e-7, 1e-5, 1e-3, 1e-1])


def test_long_names_are_cut() -> None:
    assert short("abcdef", 4) == "abc…" and short("abcd", 4) == "abcd"
