"""The part of the page that each trial has for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tune_digits.report.facts import gain_in_words, plus_minus
from tune_digits.report.material import Material
from tune_digits.runs import TrialRecord
from tune_digits.screen import clock
from tune_digits.space.tree import flatten
from tune_digits.tune.search import rank

MOST_PARTS = 300  # trials that get a part of their own; of more, the confirmed, the failed and the best ones
MOST_FAILED = 50
LONGEST = 2000  # letters of an error message


@dataclass(frozen=True, slots=True)
class TrialPart:
    """One trial's own part. differences: (key, its value, the baseline's). curve: (epoch, score), finite ones."""

    number: int
    role: str
    state: str
    score: str
    epochs: int
    seconds: str
    gain: str
    confirmed: str
    error: str
    differences: tuple[tuple[str, str, str], ...]
    curve: tuple[tuple[int, float], ...]


def shown(value: Any) -> str:
    """A value of a configuration, numbers with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)


def differences(own: TrialRecord, other: TrialRecord) -> tuple[tuple[str, str, str], ...]:
    """(key, value in `own`, value in `other`) where the configurations differ; – for a key that one of them lacks."""
    a, b = flatten(own.config.model_dump(mode="json")), flatten(other.config.model_dump(mode="json"))
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return tuple((key, shown(a.get(key)), shown(b.get(key))) for key in keys)


def with_parts(m: Material) -> list[int]:
    """The trials that get a part of their own, by number: all, or of many the confirmed, failed and best ones."""
    if len(m.records) <= MOST_PARTS:
        return [r.number for r in m.records]
    failed = [r.number for r in m.records if r.state == "failed"][:MOST_FAILED]
    baseline = [] if m.baseline is None else [m.baseline.number]
    first = [*m.confirmed, *baseline, *failed, *(r.number for r in rank(m.records))]
    return sorted(list(dict.fromkeys(first))[:MOST_PARTS])


def trial_parts(m: Material) -> list[TrialPart]:
    wanted = set(with_parts(m))
    board = {} if m.board is None else {int(r["trial"]): r for r in m.board.to_dict("records")}
    curves = {
        int(str(trial)): own for trial, own in m.curves[m.curves["trial"].isin(wanted)].groupby("trial")
    }
    parts = []
    for record in m.records:
        if record.number not in wanted:
            continue
        row = board.get(record.number)
        own = curves.get(record.number)
        curve = [] if own is None else own[np.isfinite(own["score"])][["epoch", "score"]].values.tolist()
        parts.append(
            TrialPart(
                record.number,
                record.role,
                record.state,
                "" if record.score is None else f"{record.score:.4f}",
                record.epochs,
                clock(record.seconds),
                "" if row is None else gain_in_words(row),
                "" if row is None else plus_minus(row["confirmed"], row["confirmed_se"]),
                (record.error or "").strip()[-LONGEST:],
                () if m.baseline is None else differences(record, m.baseline),
                tuple((int(epoch), float(score)) for epoch, score in curve),
            )
        )
    return parts


def small_curves(m: Material, parts: list[TrialPart]) -> dict[int, str]:
    """Trial -> the points of its learning curve for an SVG <polyline> in a box of 200 x 60; all on one scale.

    Thousands of figures of matplotlib would take minutes and megabytes.
    """
    scores = [score for part in parts for _, score in part.curve]
    if not scores:
        return {}
    low, high = max(min(scores), max(scores) - 0.5), max(scores)
    epochs = max(m.study.epochs, 2)

    def point(epoch: int, score: float) -> str:
        height = (max(score, low) - low) / (high - low) if high > low else 1.0
        return f"{round(200 * (epoch - 1) / (epochs - 1))},{round(58 - 56 * height)}"

    return {part.number: " ".join(point(*p) for p in part.curve) for part in parts if len(part.curve) > 1}


def others(m: Material, there: set[int]) -> list[tuple[int, str, str, int]]:
    """(number, state, score, epochs) of the trials without a part of their own."""
    return [
        (r.number, r.state, "" if r.score is None else f"{r.score:.4f}", r.epochs)
        for r in m.records
        if r.number not in there
    ]
