"""What a run has on record as tables: one of its trials, one of their epochs, and the searched keys as axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tune_digits.runs import Run, TrialRecord
from tune_digits.space.domains import Range
from tune_digits.space.space import Space
from tune_digits.stats.ranks import spearman_interval

OWN = ("number", "role", "state", "score", "best_score", "epochs", "seconds", "error")


def trials_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row per trial: number, role, state, score, best_score (NaN where there is none), epochs, seconds, error, and
    the searched values in a column per dotted key, missing where a trial's branch has no such key."""
    rows = [{**{name: getattr(r, name) for name in OWN}, **r.searched} for r in records]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys([*OWN, *(k for row in rows for k in row)])))
    return frame.astype({"score": float, "best_score": float})


def curves_frame(run: Run, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row per trial and epoch: trial, epoch, score, train_loss, valid_loss; float64, NaN where not measured."""
    names = ("epoch", "score", "train_loss", "valid_loss")
    rows = [
        (r.number, *(report.get(name) for name in names)) for r in records for report in run.epochs(r.number)
    ]
    frame = pd.DataFrame(rows, columns=["trial", *names])
    return frame.astype(
        {"trial": int, "epoch": int, "score": float, "train_loss": float, "valid_loss": float}
    )


@dataclass(frozen=True, slots=True)
class KeyAxis:
    """A searched key as an axis. log: drawn evenly on a logarithmic scale. labels: the values as text where they are
    no numbers, () otherwise; low, high: the ends (places of the first and the last label)."""

    key: str
    log: bool
    labels: tuple[str, ...]
    low: float
    high: float

    def places(self, values: Sequence[Any]) -> np.ndarray:
        """Where values stand on this axis: float64 (n,), numbers as they are, others by their label; NaN: missing."""
        if not self.labels:
            return np.array([np.nan if _missing(v) else float(v) for v in values], np.float64)
        index = {label: float(place) for place, label in enumerate(self.labels)}
        return np.array([np.nan if _missing(v) else index[str(v)] for v in values], np.float64)

    def fractions(self, values: Sequence[Any]) -> np.ndarray:
        """The same from 0 at the lower end to 1 at the upper one; 0.5 where both are one."""
        places, low, high = self.places(values), self.low, self.high
        if self.log:
            places, low, high = np.log10(places), math.log10(low), math.log10(high)
        return np.asarray(
            (places - low) / (high - low) if high > low else np.where(np.isnan(places), places, 0.5)
        )


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def key_axes(space: Space, trials: pd.DataFrame) -> list[KeyAxis]:
    """The searched keys that at least two different values were tried of, in the order of the study file."""
    axes = []
    for key, nodes in space.searched().items():
        tried = [v for v in trials[key].tolist() if not _missing(v)] if key in trials else []
        ranges = [node for node in nodes if isinstance(node, Range)]
        if len({str(v) for v in tried}) < 2:
            continue
        if ranges and all(map(_is_number, tried)):
            low = min(min(map(float, tried)), *(float(node.low) for node in ranges))
            high = max(max(map(float, tried)), *(float(node.high) for node in ranges))
            axes.append(KeyAxis(key, any(node.log for node in ranges) and low > 0, (), low, high))
        else:
            numbers = all(map(_is_number, tried))
            labels = tuple(str(v) for v in sorted(set(tried)) if numbers) or tuple(
                dict.fromkeys(map(str, tried))
            )
            axes.append(KeyAxis(key, False, labels, 0.0, float(len(labels) - 1)))
    return axes


def associations(trials: pd.DataFrame, axes: Sequence[KeyAxis]) -> pd.DataFrame:
    """How the score goes with each key: key, rho (Spearman's rank correlation), low, high (95 %), trials.

    Over the trials that were not stopped, each key by itself, strongest first. Keys whose values have no order are not
    in it.
    """
    whole = trials[trials["state"].isin(("finished", "ended")) & trials["score"].notna()]
    rows = []
    for axis in axes:
        numbers = whole[axis.key].map(_is_number).astype(bool)
        if axis.labels and not numbers.all():
            continue
        known = whole[numbers & whole[axis.key].notna()]
        if len(known) < 4:
            continue
        x, y = known[axis.key].to_numpy(np.float64), known["score"].to_numpy(np.float64)
        seen = spearman_interval(x, y, np.random.default_rng(0))
        if not math.isnan(seen.rho):
            rows.append((axis.key, seen.rho, seen.low, seen.high, seen.pairs))
    frame = pd.DataFrame(rows, columns=["key", "rho", "low", "high", "trials"])
    return frame.sort_values("rho", key=lambda rho: -rho.abs(), ignore_index=True)
