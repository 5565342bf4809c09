"""Ray Tune's Searcher and Callback in front of `Trials`, and its TrialScheduler in front of `Scheduler`. Imported when
Ray's settings stand in the environment.

Ray saves them into snapshots that nobody reads, since the run folder is the state: their own state is empty there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from tune_digits.execute.executor import Scheduler, Trials


class Proposals(Searcher):
    """Asks `trials` for what to train. What becomes of a trial they hear from `Events`."""

    def __init__(self, trials: Trials) -> None:
        super().__init__(metric="score", mode="max")
        self._trials = trials

    def suggest(self, trial_id: str) -> dict[str, Any]:
        proposal = self._trials.propose(trial_id)
        return {"number": proposal.number, "config": proposal.config}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None: ...

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None: ...


class Decisions(FIFOScheduler):
    """Starts trials in the order of their proposals, and stops those that `scheduler` stops."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._scheduler = scheduler

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stops = self._scheduler.stops(trial.config["number"], result)
        decision: str = self.STOP if stops else self.CONTINUE
        return decision

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Events(Callback):
    """Tells `trials` what becomes of each trial."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._trials.started(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._trials.reported(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._trials.ended(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._trials.failed(trial.trial_id, error_of(trial))

    def __getstate__(self) -> dict[str, Any]:
        return {}


def error_of(trial: Any) -> str:
    """The traceback of a trial that failed. `trial.get_error` looks for it in the storage, where it is not yet."""
    file = getattr(trial, "error_file", None)
    if file is None or not Path(file).is_file():
        return "its worker died without a word (out of memory?)"
    return Path(file).read_text(encoding="utf-8", errors="replace")
