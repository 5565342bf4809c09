"""Optuna behind Ray Tune's Searcher interface, with the study kept in a journal file.

Ray's own OptunaSearch tells Optuna that a trial which ASHA stopped is complete, so that TPE takes the score of a
first epoch for a final one. Here such a trial is told as pruned, with its value at every epoch.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from tune_digits.space.space import Space
from tune_digits.space.tree import OneOf

STUDY_NAME = "search"


def open_study(journal: Path, seed: int, startup_trials: int, space: Space) -> optuna.Study:
    """The study in `journal`, created where there is none: the baseline is trial 0, the start points follow."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    new = not journal.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=startup_trials,
            multivariate=True,
            # parameters of different branches are never seen together, so each branch has its own model
            group=any(isinstance(node, OneOf) for node in space.parameters().values()),
            constant_liar=True,
        )
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name=STUDY_NAME,
            sampler=sampler,
            direction="maximize",
            load_if_exists=True,
        )
    if new:
        for i, point in enumerate((space.baseline, *space.start)):
            study.enqueue_trial(space.point(point)[0], user_attrs={"role": "start" if i else "baseline"})
    return study


def left_behind(study: optuna.Study, running: Collection[int], over: Collection[int]) -> tuple[int, ...]:
    """Numbers of the trials that an interrupted run left unfinished: on record as `running`, or known to Optuna alone."""
    asked = {t.number for t in study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING}
    return tuple(sorted((asked | set(running)) - set(over)))


class OptunaSearcher(Searcher):
    """Asks Optuna for configurations, and tells it of every epoch and of how each trial ended.

    unfinished: numbers of trials that an interrupted run left behind; they are handed out first. A kill may have come
    between any two writes: their configuration may not be chosen yet, or their end be told already.
    """

    def __init__(
        self, study: optuna.Study, space: Space, epochs: int, unfinished: tuple[int, ...] = ()
    ) -> None:
        super().__init__(metric="score", mode="max")
        self._study = study
        self._space = space
        self._epochs = epochs
        self._unfinished = deque(unfinished)
        self._trials: dict[str, optuna.Trial] = {}
        self._told: set[str] = set()  # whose end the study knows from before

    def suggest(self, trial_id: str) -> dict[str, Any]:
        if self._unfinished:
            frozen = self._study.trials[self._unfinished.popleft()]
            trial = optuna.Trial(self._study, frozen._trial_id)
            if frozen.state.is_finished():
                self._told.add(trial_id)
        else:
            trial = self._study.ask()
        if "config" in trial.user_attrs:
            config = json.loads(trial.user_attrs["config"])
        else:
            config = self._space.suggest(trial)
            trial.set_user_attr("config", json.dumps(config))
        self._trials[trial_id] = trial
        return {"number": trial.number, "config": config, "role": trial.user_attrs.get("role", "search")}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        trial = self._trials[trial_id]
        if trial_id in self._told:
            return
        with warnings.catch_warnings():
            # a trial taken up again reports the epochs before the crash once more
            warnings.simplefilter("ignore", UserWarning)
            trial.report(result["score"], result["epoch"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id not in self._trials:
            return
        if result and "score" in result:
            # the report on which a trial ends comes here alone
            self.on_trial_result(trial_id, result)
        trial = self._trials.pop(trial_id)
        if trial_id in self._told:
            return
        if error or not result or "score" not in result:
            self._study.tell(trial.number, state=TrialState.FAIL)
        elif result["epoch"] < self._epochs or not math.isfinite(result["train_loss"]):
            self._study.tell(trial.number, state=TrialState.PRUNED)
        else:
            self._study.tell(trial.number, result["score"])

    # the journal is the state: there is nothing for Ray to save

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        pass
