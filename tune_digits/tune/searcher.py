"""Optuna proposes trials and is told what becomes of them; its study is kept in a journal file.

Ray Tune's own OptunaSearch tells Optuna that a trial which ASHA stopped is complete, so that TPE takes the score of a
first epoch for a final one. Here such a trial is told as pruned, with its value at every epoch.
"""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Collection
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tune_digits.config import Search, TrialConfig
from tune_digits.execute.executor import Proposal
from tune_digits.patches.optuna_trials import trial_again
from tune_digits.runs import State
from tune_digits.space.space import Space, config_key
from tune_digits.space.tree import flatten
from tune_digits.tune.journal import check_journal
from tune_digits.tune.samplers import REDRAWS, REDRAWS_OF, SAMPLERS, DistinctSampler

STUDY_NAME = "search"
# what Optuna calls the ways in which a trial is over
OPTUNA_STATES: dict[State, TrialState] = {
    "finished": TrialState.COMPLETE,
    "ended": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def open_study(journal: Path, search: Search, space: Space, seed: int) -> optuna.Study:
    """The study in `journal`, created where there is none; the sampler that `search` names proposes, nothing twice.

    With sampler nsga2 it has two objectives: the score, and the images per second at inference. Raises RunError where
    the journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    check_journal(journal)
    sampler = SAMPLERS[search.sampler](search, space, seed)
    redraws = REDRAWS_OF.get(search.sampler, REDRAWS)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=STUDY_NAME,
        sampler=DistinctSampler(sampler, space, seed, redraws),
        directions=["maximize"] * (2 if search.sampler == "nsga2" else 1),
        load_if_exists=True,
    )


def load_journal(journal: Path) -> optuna.Study | None:
    """The study in `journal`, only to be read; None where it was killed before there was one.

    Raises what Optuna raises of a journal that it cannot replay.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    if not storage.get_all_studies():
        return None
    return optuna.load_study(study_name=STUDY_NAME, storage=storage)


def left_behind(study: optuna.Study, running: Collection[int], over: Collection[int]) -> tuple[int, ...]:
    """Numbers of the trials that an interrupted run left unfinished: recorded as running, or known to Optuna alone."""
    asked = {t.number for t in study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING}
    return tuple(sorted((asked | set(running)) - set(over)))


class OptunaTrials:
    """Asks Optuna for configurations, and tells it of every epoch and of how each trial ended. `key` names a trial.

    unfinished: numbers of trials that an interrupted run left behind; they are handed out first. The kill may have
    come between any two writes: their configuration may not be chosen yet, or Optuna may know their end already.
    """

    def __init__(self, study: optuna.Study, space: Space, unfinished: tuple[int, ...] = ()) -> None:
        self._study = study
        self._objectives = len(study.directions)
        self._space = space
        self._unfinished = deque(unfinished)
        self._roles = {
            config_key(TrialConfig.model_validate(space.point(point)[1])): "start" if i else "baseline"
            for i, point in reversed([*enumerate((space.baseline, *space.start))])
        }
        self._trials: dict[str, optuna.Trial] = {}
        self._known_end: set[str] = set()

    def propose(self, key: str) -> Proposal:
        if self._unfinished:
            frozen = self._study.trials[self._unfinished.popleft()]
            trial = trial_again(self._study, frozen)
            if frozen.state.is_finished():
                self._known_end.add(key)
        else:
            trial = self._study.ask()
        if "config" in trial.user_attrs:
            tree = json.loads(trial.user_attrs["config"])
        else:
            tree = self._space.suggest(trial)
            trial.set_user_attr("config", json.dumps(tree))
        config = TrialConfig.model_validate(tree)
        role = self._roles.get(config_key(config), "search")
        if "role" not in trial.user_attrs:
            trial.set_user_attr("role", role)
        self._trials[key] = trial
        keys = list(self._space.searched())
        searched = {key: value for key, value in flatten(tree, keys).items() if key in keys}
        return Proposal(trial.number, config, role, searched)

    def report(self, key: str, epoch: int, score: float) -> None:
        if key in self._known_end or self._objectives > 1:  # which have no value of an epoch
            return
        with warnings.catch_warnings():
            # a trial that is taken up again reports the epochs before the interruption once more
            warnings.simplefilter("ignore", UserWarning)
            self._trials[key].report(score, epoch)

    def end(self, key: str, state: State, score: float | None, speed: float | None = None) -> None:
        """Tell Optuna how a trial ended.

        score: of its last epoch, None where it reported none. speed: images per second at inference, which the second
        of two objectives is.
        """
        number = self._trials.pop(key).number
        if key not in self._known_end:
            told = OPTUNA_STATES[state]
            values = [value for value in (score, speed) if value is not None]
            self._study.tell(number, values if told == TrialState.COMPLETE else None, state=told)
