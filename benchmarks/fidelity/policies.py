"""Policies of a search, as they would have acted on recorded trainings.

A policy is a generator: it yields what to train for one more epoch, and is sent the report. It knows nothing but the
reports, and does not know when the budget ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from tune_digits.config import Search
from tune_digits.tune.scheduler import make_scheduler


class Ask(NamedTuple):
    """One more epoch of a configuration's training. length: place in the table's lengths, -1 = the full one."""

    configuration: int
    length: int = -1


@dataclass(frozen=True)
class Report:
    """After an epoch, counted from 1: accuracy of the last weights, of their EMA, and the EMA's cross-entropy.

    right: bool (W,), which watched rows the EMA got right. over: whether it was the training's last epoch.
    """

    epoch: int
    raw: float
    ema: float
    loss: float
    right: np.ndarray
    over: bool


Policy: TypeAlias = Generator[Ask, Report, None]
# from the order in which configurations are proposed, and the epochs of each length, to a policy
Start: TypeAlias = Callable[[Sequence[int], Sequence[int]], Policy]
Judge: TypeAlias = Callable[
    [list[Report], int], float
]  # a training's reports so far, and its epochs -> its score

FACTOR = 3
LOST_BY = 2.0  # standard errors of a paired difference, by which `race` gives a configuration up


# ── what a rung is judged by ─────────────────────────────────────────────────────────────────────────


def by_ema(reports: list[Report], epochs: int) -> float:
    return reports[-1].ema


def by_raw(reports: list[Report], epochs: int) -> float:
    return reports[-1].raw


def by_loss(reports: list[Report], epochs: int) -> float:
    return -reports[-1].loss


def by_extrapolation(reports: list[Report], epochs: int) -> float:
    """The EMA's accuracy at the last epoch, if its error goes on as a power of the epoch since a third of now."""
    now = reports[-1]
    then = reports[max(math.ceil(now.epoch / FACTOR), 1) - 1]
    least = 0.5 / len(now.right)  # no error seen is no proof that there is none
    errors = [max(1 - r.ema, least) for r in (then, now)]
    if then.epoch == now.epoch:
        return 1 - errors[1]
    slope = min(math.log(errors[1] / errors[0]) / math.log(now.epoch / then.epoch), 0.0)
    return float(1 - errors[1] * (epochs / now.epoch) ** slope)


# ── policies ─────────────────────────────────────────────────────────────────────────────────────────


def stopping(scheduler: str, judge: Judge = by_ema, grace: int | None = None, together: int = 1) -> Start:
    """The product's own schedulers (tune/scheduler.py): trials are stopped where they say so.

    together: how many trials run at a time, as on so many workers; they take turns of one epoch.
    """

    def start(order: Sequence[int], lengths: Sequence[int]) -> Policy:
        given = {} if grace is None else {"grace_period": grace}
        stopper = make_scheduler(Search(scheduler=scheduler, **given), lengths[-1])
        waiting = list(enumerate(order))
        running: list[tuple[int, int, list[Report]]] = []  # number of the trial, configuration, its reports
        while waiting or running:
            while waiting and len(running) < together:
                number, configuration = waiting.pop(0)
                running.append((number, configuration, []))
            for trial in list(running):
                number, configuration, reports = trial
                reports.append((yield Ask(configuration)))
                score = judge(reports, lengths[-1])
                stopped = stopper.stops(number, {"epoch": reports[-1].epoch, "score": score})
                if stopped or reports[-1].over:
                    running.remove(trial)

    return start


def rungs_of(grace: int, epochs: int) -> list[int]:
    """The epochs at which a trial is judged: the grace period and its multiples by powers of 3, below `epochs`.

    >>> rungs_of(1, 27)
    [1, 3, 9]
    """
    found = []
    while grace < epochs:
        found.append(grace)
        grace *= FACTOR
    return found


def pausing(grace: int, judge: Judge = by_ema) -> Start:
    """ASHA as its paper has it (Li et al. 2020, algorithm 2): every trial pauses at each rung, and goes on once it is
    among the best third there. Where none is and nothing is left to start, the best one of the highest rung goes on.
    """

    def start(order: Sequence[int], lengths: Sequence[int]) -> Policy:
        stops = [*rungs_of(grace, lengths[-1]), lengths[-1]]
        waiting: list[dict[int, float]] = [{} for _ in stops]  # score at each rung of those that stand there
        heard: list[list[float]] = [[] for _ in stops]  # scores of all that came there
        reports: dict[int, list[Report]] = {}
        left = list(order)

        def train(configuration: int, rung: int) -> Policy:
            own = reports.setdefault(configuration, [])
            while len(own) < stops[rung]:
                own.append((yield Ask(configuration)))
            score = judge(own, lengths[-1])
            heard[rung].append(score)
            waiting[rung][configuration] = score

        while True:
            promoted = _promoted(waiting, heard)
            if promoted is None and left:
                yield from train(left.pop(0), 0)
                continue
            if promoted is None:
                standing = [rung for rung in range(len(stops) - 1) if waiting[rung]]
                if not standing:
                    return
                promoted = standing[-1], max(waiting[standing[-1]], key=waiting[standing[-1]].__getitem__)
            rung, configuration = promoted
            del waiting[rung][configuration]
            yield from train(configuration, rung + 1)

    return start


def _promoted(waiting: list[dict[int, float]], heard: list[list[float]]) -> tuple[int, int] | None:
    """(rung, configuration) that goes on: of the highest rung where one waits among the best third that came there."""
    for rung in reversed(range(len(waiting) - 1)):
        best = sorted(heard[rung], reverse=True)[: len(heard[rung]) // FACTOR]
        ready = {c: score for c, score in waiting[rung].items() if best and score >= best[-1]}
        if ready:
            return rung, max(ready, key=ready.__getitem__)
    return None


def race(grace: int) -> Start:
    """Random configurations, each given up at a rung where it is clearly behind the best one that came there.

    Clearly: by 2 standard errors of the paired difference on the watched rows, (a - b) / sqrt(a + b) for a and b rows
    that only one of the two got right.
    """

    def start(order: Sequence[int], lengths: Sequence[int]) -> Policy:
        best: dict[int, np.ndarray] = {}
        rungs = rungs_of(grace, lengths[-1])
        for configuration in order:
            while True:
                report = yield Ask(configuration)
                if report.over:
                    break
                if report.epoch not in rungs:
                    continue
                other = best.get(report.epoch)
                if other is None or report.right.sum() > other.sum():
                    best[report.epoch] = report.right
                elif clearly_behind(report.right, other):
                    break

    return start


def clearly_behind(right: np.ndarray, other: np.ndarray) -> bool:
    """Whether bool (W,) is behind another by LOST_BY standard errors of their paired difference."""
    lost, won = int((other & ~right).sum()), int((right & ~other).sum())
    return lost - won > LOST_BY * math.sqrt(lost + won)


def no_stopping(order: Sequence[int], lengths: Sequence[int]) -> Policy:
    """Random search: every trial trains all epochs."""
    for configuration in order:
        for _ in range(lengths[-1]):
            yield Ask(configuration)


def first_epochs(epochs: int) -> Start:
    """So many epochs of each, then the best ones go on to the end, one after the other."""

    def start(order: Sequence[int], lengths: Sequence[int]) -> Policy:
        scores: dict[int, float] = {}
        for configuration in order:
            for _ in range(epochs):
                scores[configuration] = (yield Ask(configuration)).ema
        for configuration in sorted(scores, key=scores.__getitem__, reverse=True):
            for _ in range(lengths[-1] - epochs):
                yield Ask(configuration)

    return start


def shorter(length: int) -> Start:
    """A training with a shorter schedule for each, then full trainings of the best ones, from their beginning."""

    def start(order: Sequence[int], lengths: Sequence[int]) -> Policy:
        scores: dict[int, float] = {}
        for configuration in order:
            for _ in range(lengths[length]):
                scores[configuration] = (yield Ask(configuration, length)).ema
        for configuration in sorted(scores, key=scores.__getitem__, reverse=True):
            for _ in range(lengths[-1]):
                yield Ask(configuration)

    return start


def by_chance(order: Sequence[int], lengths: Sequence[int]) -> Policy:
    """The control: nothing is trained, and the first of the order are confirmed."""
    yield from ()


# name in the results -> policy. Rungs are those of 27 epochs: 1, 3, 9; grace 9 is aug.yaml's 6 of 18
POLICIES: dict[str, Start] = {
    "asha, grace 1 (default)": stopping("asha"),
    "asha, grace 3": stopping("asha", grace=3),
    "asha, grace 9 (aug.yaml)": stopping("asha", grace=9),
    "asha, grace 1, on 4 workers": stopping("asha", together=4),
    "asha, grace 9, on 4 workers": stopping("asha", grace=9, together=4),
    "asha, grace 1, judged by the last weights": stopping("asha", by_raw),
    "asha, grace 9, judged by the last weights": stopping("asha", by_raw, 9),
    "asha, grace 1, judged by cross-entropy": stopping("asha", by_loss),
    "asha, grace 3, judged by extrapolation": stopping("asha", by_extrapolation, 3),
    "asha, grace 9, judged by extrapolation": stopping("asha", by_extrapolation, 9),
    "pausing, grace 1": pausing(1),
    "pausing, grace 3": pausing(3),
    "pausing, grace 9": pausing(9),
    "hyperband": stopping("hyperband"),
    "median": stopping("median"),
    "random and race, grace 1": race(1),
    "random and race, grace 3": race(3),
    "random, no stopping": no_stopping,
    "1 epoch of each, then the best": first_epochs(1),
    "3 epochs of each, then the best": first_epochs(3),
    "short trainings, then the best": shorter(0),
    "middle trainings, then the best": shorter(1),
    "by chance": by_chance,
}
