"""The interface between what is trained and where it runs.

`on_ray.RayExecutor` runs trainings side by side, on one machine or on a cluster. `inline.InlineExecutor` runs them in
this process, one after the other, for tests, notebooks and debuggers. Both give the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tune_digits.config import TrialConfig
from tune_digits.execute.slots import Slots

Job = TypeVar("Job")
Result = TypeVar("Result")
Shared = TypeVar("Shared")
Value_co = TypeVar("Value_co", covariant=True)
Value = TypeVar("Value")


class Stored(Protocol[Value_co]):
    """Something that many trainings read, small enough itself to be sent anywhere."""

    def get(self) -> Value_co:
        """The value. Its arrays may be read-only."""
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a trial is to train. number: its own, from 0; role: baseline, start or search.

    searched: of the configuration the values that were searched, by the dotted keys of the study file.
    """

    number: int
    config: TrialConfig
    role: str
    searched: dict[str, Any] = field(default_factory=dict)


class Trials(Protocol):
    """The other side of `Executor.run_trials`: proposes trials and hears what becomes of them. `key` names a trial."""

    def propose(self, key: str) -> Proposal: ...

    def started(self, key: str) -> None:
        """Also told of a trial that starts once more, after a worker died."""
        ...

    def reported(self, key: str, report: Mapping[str, Any]) -> None: ...

    def ended(self, key: str) -> None:
        """It was stopped, or trained to its own end."""
        ...

    def failed(self, key: str, error: str) -> None: ...


class Scheduler(Protocol):
    """Told of every epoch of every trial, in the order in which they come."""

    def stops(self, number: int, report: Mapping[str, Any]) -> bool:
        """Whether the trial of this number ends with the epoch that it reports."""
        ...


@dataclass(frozen=True, slots=True)
class TrialRun:
    """All that `run_trials` needs.

    train: from a Proposal's (number, config) and `shared` to the reports of its epochs, a mapping each; it runs in a
    worker, and is closed where the scheduler stops the trial. count: trials to start. seconds: after so long all are
    ended where they stand, without a word to `trials`; None = no limit. folder: where Ray may keep its own files.
    """

    train: Callable[[int, TrialConfig, Any], Iterator[Mapping[str, Any]]]
    shared: Any
    trials: Trials
    scheduler: Scheduler
    count: int
    seconds: float | None
    folder: Path


class Executor(Protocol):
    """Runs trainings. slots: how many at once, and what each of them gets."""

    @property
    def slots(self) -> Slots: ...

    def store(self, value: Value) -> Stored[Value]:
        """Keep `value` once for all trainings of this machine."""
        ...

    def run_jobs(
        self, function: Callable[[Job, Shared], Result], jobs: Sequence[Job], shared: Shared
    ) -> Iterator[tuple[Job, Result | Exception]]:
        """`function(job, shared)` for every job; yields (job, result) as each is ready.

        A job that raises yields its exception as the result: what to make of it is the caller's.
        """
        ...

    def run_trials(self, run: TrialRun) -> None:
        """Start trials until there have been `run.count` of them, and return when all have ended."""
        ...
