"""What stops weak trials: Ray Tune's schedulers by name, with their memory filled from what an interrupted run has on
record.

Ray Tune's own HyperBandScheduler is not among them. It waits with a decision until all trials of a bracket have come to
an epoch, and pauses those that have. With no more trials in flight than there are workers, a bracket is halved among
those few alone. Hyperband here is the asynchronous one, of brackets of ASHA, which pauses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tune_digits.config import Search

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

    Choose: TypeAlias = Callable[[int], TrialScheduler]


def asha(search: Search, epochs: int) -> Choose:
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934)."""
    one = _halving(search, epochs, search.grace_period)
    return lambda number: one


def hyperband(search: Search, epochs: int) -> Choose:
    """Brackets of ASHA, over which the trials are spread by their numbers (Li et al. 2018, arXiv:1603.06560)."""
    brackets = hyperband_brackets(epochs, search.grace_period, search.reduction_factor)
    inner = [_halving(search, epochs, grace) for grace, _ in brackets]
    # every bracket's trials evenly over a cycle, so that a short search has trials in all of them
    places = [((i + 0.5) / trials, b) for b, (_, trials) in enumerate(brackets) for i in range(trials)]
    order = [b for _, b in sorted(places)]
    return lambda number: inner[order[number % len(order)]]


def median(search: Search, epochs: int) -> Choose:
    """The median stopping rule (Golovin et al. 2017): best score so far against the median of the others' means."""
    from ray.tune.schedulers import MedianStoppingRule

    one = MedianStoppingRule(
        time_attr="epoch",
        metric="score",
        mode="max",
        grace_period=search.grace_period,
        min_samples_required=search.min_samples,
        # so that no trial waits for others
        min_time_slice=math.inf,  # type: ignore[arg-type]  # it is only compared
    )
    return lambda number: one


def none(search: Search, epochs: int) -> Choose:
    """No trial is stopped."""
    from ray.tune.schedulers import FIFOScheduler

    one = FIFOScheduler()  # type: ignore[no-untyped-call]  # Ray's
    return lambda number: one


# the names that `search.scheduler` may have -> from a study's search and epochs to the scheduler of a trial's number
SCHEDULERS: dict[str, Callable[[Search, int], Choose]] = {
    "asha": asha,
    "hyperband": hyperband,
    "median": median,
    "none": none,
}


def hyperband_brackets(epochs: int, grace_period: int, factor: int) -> list[tuple[int, int]]:
    """(grace period, trials in a cycle) of each bracket, the one with the shortest grace period first.

    The last has all epochs as its grace period. Sizes are those of algorithm 1 of arXiv:1603.06560.

    >>> hyperband_brackets(81, 1, 3)
    [(1, 81), (3, 34), (9, 15), (27, 8), (81, 5)]
    """
    most = 0
    while epochs // factor ** (most + 1) >= grace_period:
        most += 1
    return [(epochs // factor**s, math.ceil((most + 1) * factor**s / (s + 1))) for s in range(most, -1, -1)]


def _halving(search: Search, epochs: int, grace_period: int) -> TrialScheduler:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    return AsyncHyperBandScheduler(
        time_attr="epoch",
        metric="score",
        mode="max",
        max_t=epochs,
        grace_period=grace_period,
        reduction_factor=search.reduction_factor,
    )


NO_CONTROLLER: Any = None  # what runs the trials on Ray: none of these schedulers looks at it


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """What Ray Tune's schedulers look at in a trial. Each is equal to itself alone, so that it can be a key."""

    trial_id: str


class TrialStopper:
    """Says of each epoch of each trial whether the trial is stopped there; an `executor.Scheduler`.

    An epoch is judged once: one that a trial reports again, after its worker died, changes nothing. Schedulers that
    would make a trial wait, or look at others but by their reports, cannot stand behind it.
    """

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._trials: dict[int, Any] = {}  # _Trial, which Ray's annotations do not know
        self._heard: dict[int, int] = {}

    def stops(self, number: int, report: Mapping[str, Any]) -> bool:
        if report["epoch"] <= self._heard.get(number, 0):
            return False
        scheduler, trial = self._told(number, report["epoch"])
        decision: str = scheduler.on_trial_result(NO_CONTROLLER, trial, dict(report))
        return decision == scheduler.STOP

    def remember(self, number: int, report: Mapping[str, Any]) -> None:
        """Compare others with this epoch of a trial, on which it was decided before."""
        from ray.tune.schedulers import MedianStoppingRule

        scheduler, trial = self._told(number, report["epoch"])
        if isinstance(scheduler, MedianStoppingRule):  # it refuses epochs after one at which it stops a trial
            scheduler.on_trial_complete(NO_CONTROLLER, trial, dict(report))
        else:
            scheduler.on_trial_result(NO_CONTROLLER, trial, dict(report))

    def _told(self, number: int, epoch: int) -> tuple[TrialScheduler, Any]:
        """The scheduler of a trial, and what stands for the trial there; this epoch is noted as told."""
        scheduler = self._choose(number)
        if number not in self._trials:
            self._trials[number] = _Trial(str(number))
            scheduler.on_trial_add(NO_CONTROLLER, self._trials[number])
        self._heard[number] = epoch
        return scheduler, self._trials[number]


def make_scheduler(
    search: Search,
    epochs: int,
    over: Iterable[tuple[int, list[dict[str, Any]]]] = (),
    running: Iterable[tuple[int, list[dict[str, Any]]]] = (),
) -> TrialStopper:
    """The scheduler that `search` names, over `epochs`. over, running: (trial number, its recorded epochs).

    What is recorded of other trials is what a new one is compared with. A running trial reports its epochs once more
    when it is taken up again; all but the last have been judged, and so that it cannot be stopped at one of them by
    trials that came later, only the last one is judged again.
    """
    stopper = TrialStopper(SCHEDULERS[search.scheduler](search, epochs))
    judged = [*over, *((number, reports[:-1]) for number, reports in running)]
    for number, reports in judged:
        for report in reports:
            stopper.remember(number, report)
    return stopper
