"""What is kept and shown of a running search: records, TensorBoard and the live view, in one Ray callback."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from ray.tune import Callback

from tune_digits.learn.epoch import EpochReport
from tune_digits.runs import Run, TrialRecord
from tune_digits.screen import Progress, Screen
from tune_digits.space.space import Space
from tune_digits.space.tree import flatten
from tune_digits.tune.hparams import TrialBoard


class Tracker(Callback):
    """Follows every trial of a search from the driver, the only writer of the run's records."""

    def __init__(self, run: Run, space: Space, epochs: int, progress: Progress, screen: Screen) -> None:
        self._run = run
        self._keys = list(space.searched())
        self._epochs = epochs
        self._progress = progress
        self._screen = screen
        self._records: dict[str, TrialRecord] = {}
        self._boards: dict[str, TrialBoard] = {}
        self._counts = {"finished": 0, "pruned": 0, "failed": 0}
        self._best: tuple[float, int] | None = None
        for record in run.trials():
            if record.state in self._counts:
                self._counts[record.state] += 1
                self._note_best(record)

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its callbacks into snapshots that nobody reads: the run folder is the state
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        config = trial.config["config"]
        searched = {k: v for k, v in flatten(config, self._keys).items() if k in self._keys}
        number = trial.config["number"]
        record = TrialRecord(number, "running", trial.config["role"], config, searched)
        self._records[trial.trial_id] = record
        self._run.write_trial(record)
        board = TrialBoard(self._run.tensorboard / f"{number:04d}", f"{number:04d}", searched)
        self._boards[trial.trial_id] = board
        self._progress.running[f"trial {number}"] = "starting"
        self._show()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        record = self._records[trial.trial_id]
        report = {f.name: result[f.name] for f in fields(EpochReport)}
        if report["epoch"] <= record.epochs:
            return
        self._run.append_epoch(record.number, report)
        record.epochs, record.score = report["epoch"], report["score"]
        record.best_score = max(record.score, record.best_score or 0.0)
        record.seconds += report["seconds"] + report["valid_seconds"]
        self._note_best(record)
        scalars = {f"epoch/{k}": v for k, v in report.items() if k != "epoch" and v is not None}
        # the HParams tab shows the last value of these, of running trials too
        scalars |= {"score/best": record.best_score, "score/final": record.score, "epochs": record.epochs}
        self._boards[trial.trial_id].scalars(
            {k: v for k, v in scalars.items() if math.isfinite(v)}, report["epoch"]
        )
        self._progress.running[f"trial {record.number}"] = (
            f"epoch {record.epochs}/{self._epochs}  score {record.score:.4f}"
        )
        self._show()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._records[trial.trial_id]
        finished = record.epochs >= self._epochs
        self._end(trial, "finished" if finished else "pruned")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if trial.trial_id in self._records:
            error = trial.get_error() if hasattr(trial, "get_error") else None
            self._records[trial.trial_id].error = str(error or "unknown")
            self._end(trial, "failed")

    def _end(self, trial: Any, state: str) -> None:
        record = self._records.pop(trial.trial_id)
        record.state = state
        self._run.write_trial(record)
        self._boards.pop(trial.trial_id).close(state)
        self._run.trial_state(record.number).unlink(missing_ok=True)
        self._counts[state] += 1
        self._progress.done += 1
        self._progress.running.pop(f"trial {record.number}", None)
        self._show()

    def _note_best(self, record: TrialRecord) -> None:
        # scores of early epochs are low, so that the best so far is mostly one of a finished trial
        if record.score is not None and (self._best is None or record.score > self._best[0]):
            self._best = (record.score, record.number)

    def _show(self) -> None:
        facts = {name: str(count) for name, count in self._counts.items() if count or name != "failed"}
        if self._best is not None:
            facts["best"] = f"{self._best[0]:.4f} (trial {self._best[1]})"
        self._progress.facts = {"running": str(len(self._progress.running)), **facts}
        self._screen.tick(self._progress)
