"""How figures look, and how they become a part of a page: inline SVG whose colours follow the page's theme.

A figure is drawn in the colours below, which can be read on white and on black. In the SVG each of them is replaced by
a CSS variable of the page (`--fig-blue`), so that light and dark theme have their own shades.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

COLOURS = {
    "text": "#767778",
    "faint": "#9a9b9c",
    "blue": "#3b82c4",
    "orange": "#d9822b",
    "green": "#3a9d5d",
    "red": "#d1495b",
    "violet": "#8e6bbf",
}
TEXT, FAINT, BLUE, ORANGE, GREEN, RED, VIOLET = COLOURS.values()
MANY = 300  # marks from which an artist is drawn as an image: as SVG it would take more bytes
WIDTH = 470  # of an ordinary figure in pixels, so that its text can be read on a telephone
SIZE = 11  # of text in pixels
STYLE: dict[Any, Any] = {
    "figure.dpi": 72,  # a pixel of the page is a point of the figure
    "font.size": SIZE,
    "font.family": "DejaVu Sans",
    "text.color": TEXT,
    "text.parse_math": False,  # names are data, and $ is a letter in them
    "axes.edgecolor": FAINT,
    "axes.labelcolor": TEXT,
    "axes.titlesize": SIZE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "figure.facecolor": "none",
    "svg.fonttype": "none",  # text stays text, in the font of the page
}


@contextmanager
def styled() -> Iterator[None]:
    """The look of the project's figures, in a `with` or above a function that draws."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of that size in pixels, laid out so that no label is cut off."""
    return Figure(figsize=(width / 72, height / 72), layout="constrained")


def short(text: object, length: int = 18) -> str:
    """A name that fits beside an axis; the end is cut off where it is longer."""
    words = str(text)
    return words if len(words) <= length else words[: length - 1] + "…"


def score_scale(ax: Axes, which: str, values: Sequence[float] | np.ndarray) -> None:
    """An axis of scores in [0, 1], stretched towards 1 as the logarithm of 1 - score.

    0.98 and 0.99 are then as far apart as 0.8 and 0.9. which: 'x' or 'y'; values: what must be seen, finite ones count.
    """
    seen = np.asarray(values, np.float64)
    seen = seen[np.isfinite(seen)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    floor = max((1 - high) / 2, 1e-4)  # where the logarithm ends

    def stretch(score: np.ndarray) -> np.ndarray:
        return -np.log10(np.maximum(1 + floor - score, 1e-12))

    def back(place: np.ndarray) -> np.ndarray:
        return 1 + floor - 10.0**-place

    least, most = stretch(np.array(low)), stretch(np.array(high))
    pad = max(0.06 * float(most - least), 0.01)
    low = max(float(back(least - pad)), 0.0)
    high = float(back(most + pad))
    known = [0, 0.2, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 1]
    ticks = [tick for tick in known if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= min(high, 1)]
    axis: Axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("function", functions=(stretch, back))
    if which == "x":
        ax.set_xlim(low, high)
    else:
        ax.set_ylim(low, high)
    apart = _apart(ticks, [float(stretch(np.array(t))) for t in ticks], float(most - least) / 9)
    axis.set_major_locator(FixedLocator(apart))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:.6g}"))
    axis.set_minor_locator(FixedLocator([]))


def few_ticks(axis: Axis, most: int = 8, whole: bool = False) -> None:
    """At most so many ticks; whole: at whole numbers only."""
    axis.set_major_locator(MaxNLocator(most, integer=whole))


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """1, 2 and 5 times powers of ten between two positive numbers; fewer of them where they are more than `most`."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def _apart(ticks: Sequence[float], places: Sequence[float], least: float) -> list[float]:
    """The ticks without those that are too near to the one before."""
    kept: list[float] = []
    last = -np.inf
    for tick, place in zip(ticks, places, strict=True):
        if place - last >= least:
            kept.append(float(tick))
            last = place
    return kept


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for an HTML page; name: makes the ids in it different from other figures'."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's font draws them
        figure.savefig(
            buffer, format="svg", dpi=144, transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'(<path|<clipPath|<image) id="', rf'\1 id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+)px[^;\"]*", r"font-size: \1px", text)
    size = 'width="{:.0f}" height="{:.0f}"'.format(*(figure.get_size_inches() * 72))
    text = re.sub(
        r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", rf'<svg {size} \1 aria-hidden="true">', text, count=1
    )
    text = re.sub(r'\b(d|x|y|transform)="[^"]*"', lambda found: _rounded(found[0]), text)
    text = re.sub(r"\n\s*", "\n", text)
    for colour, value in COLOURS.items():
        text = text.replace(value, f"var(--fig-{colour})")
    return text.strip()


def _rounded(attribute: str) -> str:
    """Places to a hundredth of a pixel."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute)
