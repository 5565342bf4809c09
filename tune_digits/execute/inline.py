"""Trainings in this process, one after the other: for tests, notebooks and debuggers. No cluster is started."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from tune_digits.config import Resources
from tune_digits.execute.executor import Job, Result, Shared, Stored, TrialRun, Value
from tune_digits.execute.slots import Slots, plan_slots
from tune_digits.machine import available_cores

ATTEMPTS = 2  # a trial that raises is started once more, as on Ray


@dataclass(frozen=True, slots=True)
class Kept(Generic[Value]):
    """As `Stored`: the value itself."""

    value: Value

    def get(self) -> Value:
        return self.value


@dataclass(frozen=True, slots=True)
class InlineExecutor:
    """slots: what a training gets; `at_once` is 1."""

    slots: Slots

    def store(self, value: Value) -> Stored[Value]:
        return Kept(value)

    def run_jobs(
        self, function: Callable[[Job, Shared], Result], jobs: Sequence[Job], shared: Shared
    ) -> Iterator[tuple[Job, Result | Exception]]:
        for job in jobs:
            result: Result | Exception
            try:
                result = function(job, shared)
            except Exception as error:  # handed to the caller, as Executor says
                result = error
            yield job, result

    def run_trials(self, run: TrialRun) -> None:
        deadline = None if run.seconds is None else time.monotonic() + run.seconds
        for place in range(run.count):
            if deadline is not None and time.monotonic() >= deadline:
                return
            if not _run_trial(run, f"inline-{place}", deadline):
                return


def _run_trial(run: TrialRun, key: str, deadline: float | None) -> bool:
    """Train one trial to its end. False where the time is over and it was left where it stood."""
    proposal = run.trials.propose(key)
    for attempt in range(ATTEMPTS):
        run.trials.started(key)
        try:
            for report in run.train(proposal.number, proposal.config, run.shared):
                stops = run.scheduler.stops(proposal.number, report)
                run.trials.reported(key, report)
                if stops:
                    break
                if deadline is not None and time.monotonic() >= deadline:
                    return False
        except Exception:
            if attempt + 1 == ATTEMPTS:
                run.trials.failed(key, traceback.format_exc())
            continue
        run.trials.ended(key)
        break
    return True


def start_inline(resources: Resources) -> InlineExecutor:
    """One training at a time, with the cores that the study gives it. Raises ConfigError where these are not here."""
    one = resources.model_copy(update={"max_concurrent": 1})
    return InlineExecutor(plan_slots(one, available_cores(), gpus_here()))


def gpus_here() -> int:
    import torch

    return torch.cuda.device_count()
