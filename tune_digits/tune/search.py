"""The search: Optuna proposes trials, an executor trains them, a scheduler stops the weak ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any

from tune_digits.config.train import Train
from tune_digits.data.folds.limits import watched_rows
from tune_digits.data.folds.split import Fold
from tune_digits.disk import read_tensors, storage_error
from tune_digits.errors import RunError, StorageError, UserError
from tune_digits.execute.executor import Executor, Proposal, Stored, TrialRun
from tune_digits.learn.epoch import EpochReport, diverged, is_over, kept_epoch
from tune_digits.runs import Fingerprints, Run, State, TrialRecord
from tune_digits.screen import Progress, Screen
from tune_digits.study import Study
from tune_digits.tune.hparams import write_columns
from tune_digits.tune.journal import check_agrees
from tune_digits.tune.scheduler import make_scheduler
from tune_digits.tune.searcher import OptunaTrials, left_behind, open_study
from tune_digits.tune.tracking import Tracker
from tune_digits.tune.training import VERDICT, TrainingData, TrialData, labels_of_rows, train_trial

SAME = 5  # failures of the same kind in a row after which a search stops


@dataclass(slots=True)
class _Live:
    """A trial that is running.

    history: the epochs that it has reported, each once. verdict: its score on all validation rows, speed: images per
    second at inference, each None before it is known.
    """

    proposal: Proposal
    history: list[EpochReport] = field(default_factory=list)
    verdict: float | None = None
    speed: float | None = None


class SearchTrials:
    """What an executor's trials are to a search: each event goes to Optuna and to the records, in this order.

    A kill between the two leaves a trial that Optuna knows to be over and the records do not: it is taken up again, and
    only recorded (see `OptunaTrials`).
    """

    def __init__(self, optuna_trials: OptunaTrials, tracker: Tracker) -> None:
        self._optuna = optuna_trials
        self._tracker = tracker
        self._live: dict[str, _Live] = {}
        self.stopped_by: UserError | None = None
        self._failures: list[str] = []

    def propose(self, key: str) -> Proposal:
        with self._noting():
            proposal = self._optuna.propose(key)
        self._live[key] = _Live(proposal)
        return proposal

    def started(self, key: str) -> None:
        live = self._live[key]
        live.history.clear()
        with self._noting():
            self._tracker.started(key, live.proposal)

    def reported(self, key: str, report: Mapping[str, Any]) -> None:
        epoch = EpochReport(**{f.name: report[f.name] for f in fields(EpochReport)})
        live = self._live[key]
        live.history.append(epoch)
        live.verdict = report[VERDICT]
        live.speed = report.get("inference_images_per_second")
        with self._noting():
            if epoch.score is not None:
                self._optuna.report(key, epoch.epoch, epoch.score)
            self._tracker.reported(key, epoch, self._score(live))

    def ended(self, key: str) -> None:
        self._failures.clear()
        live = self._live.pop(key)
        if not live.history:
            self._end(key, "failed", error="it ended before its first epoch")
            return
        last, train = live.history[-1], live.proposal.config.train
        error = None
        if diverged(live.history):
            error = f"the loss was no longer finite in epoch {last.epoch} of {train.epochs}"
        self._end(key, state_at_end(live.history, train), self._score(live), live.speed, error)

    def failed(self, key: str, error: str) -> None:
        """Raises StorageError where the trial could not write its state, which is no failure of the trial, and
        RunError where several trials have failed in the same way, one after the other."""
        with self._noting():
            if written := re.search(r"\bStorageError: (.+)", error):
                raise StorageError(written[1])
        live = self._live.pop(key)
        self._end(key, "failed", self._score(live), error=error)
        self._failures.append((error.strip().splitlines() or [""])[-1])
        # numbers differ between trials that fail alike: sizes, addresses
        if len(self._failures) >= SAME and len({re.sub(r"\d+", "0", e) for e in self._failures[-SAME:]}) == 1:
            self.stopped_by = RunError(
                f"{self._tracker.folder}: the last {SAME} trials have all failed in the same way, and the next would "
                f"too: {self._failures[-1]} (the traceback is in the trial.json of each). Mend the cause, and go on "
                f"with: tune-digits search --resume {self._tracker.folder}"
            )
            raise self.stopped_by

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keep what the block raises of a full or read-only disk in `stopped_by`."""
        try:
            yield
        except OSError as error:
            named = isinstance(error, StorageError)
            told = error if named else storage_error(error, error.filename or self._tracker.folder)
            self.stopped_by = told if isinstance(told, StorageError) else None
            raise told or error from None

    def _score(self, live: _Live) -> float | None:
        """The score of the weights that the trial would be left with if it ended now; None before its first epoch."""
        if live.verdict is not None:
            return live.verdict
        return kept_epoch(live.history, live.proposal.config.train).score if live.history else None

    def _end(
        self,
        key: str,
        state: State,
        score: float | None = None,
        speed: float | None = None,
        error: str | None = None,
    ) -> None:
        with self._noting():
            self._optuna.end(key, state, score, speed)
            self._tracker.ended(key, state, error, speed)


def state_at_end(history: list[EpochReport], train: Train) -> State:
    """How a trial with these epochs, one or more, came to its end: by the last epoch, its own rule or the scheduler."""
    if is_over(history, train):
        return "finished" if len(history) == train.epochs and not diverged(history) else "ended"
    return "pruned"


def run_search(
    study: Study,
    run: Run,
    data: Stored[TrainingData],
    fold: Fold,
    made_from: Fingerprints,
    executor: Executor,
    screen: Screen,
) -> list[TrialRecord]:
    """Run the trials that the study still wants, and return all that are on record.

    Taken up again after an interruption, it goes on with the trials that were running, from their saved states.
    Raises RunError where every trial failed, and where records, journal or a saved state are damaged; StorageError
    where the disk is full.
    """
    records = run.trials()
    over = [r for r in records if r.state != "running"]
    wanted = wanted_trials(study, screen)
    left = wanted - len(over)
    if left > 0:
        if not records:
            write_columns(run.tensorboard, study.space, study.name)
        seed = study.search.seed + len(records)  # a search that goes on proposes something else
        optuna_study = open_study(run.journal, study.search, study.space, seed)
        check_agrees(optuna_study, run, records)
        running = [r.number for r in records if r.state == "running"]
        for state_file in map(run.trial_state, running):
            if state_file.exists():
                read_tensors(state_file)  # a damaged one is said now, and makes no failed trial
        unfinished = left_behind(optuna_study, running, [r.number for r in over])
        progress = Progress("search", total=max(wanted, len(over)), done=len(over))
        progress.deadline = study.search.time_budget
        tracker = Tracker(run, study.epochs, made_from, progress, screen)
        shared = TrialData(
            data,
            fold.train_idx,
            fold.valid_idx,
            watched_rows(fold, labels_of_rows(data.get()), study.cv.seed),
            str(run.path.resolve()),
            study.search.seed,
            fold.index,
            executor.slots,
            speed=study.search.sampler == "nsga2",
        )
        trials = SearchTrials(OptunaTrials(optuna_study, study.space, unfinished), tracker)
        scheduler = make_scheduler(
            study.search,
            study.epochs,
            over=[(r.number, run.epochs(r.number)) for r in over],
            running=[(number, run.epochs(number)) for number in running],
        )
        with screen.watch(progress):
            try:
                executor.run_trials(
                    TrialRun(train_trial, shared, trials, scheduler, left, study.search.time_budget, run.path)
                )
            except Exception:
                if trials.stopped_by is None:
                    raise
                raise trials.stopped_by from None  # Ray makes an error of its own of it
            if trials.stopped_by is not None:
                raise trials.stopped_by
    records = run.trials()
    cut_off = [r.number for r in records if r.state == "running"]
    if cut_off and study.search.time_budget is not None:
        screen.say(
            f"the time budget of {study.search.time_budget:g} s is over; trials {', '.join(map(str, cut_off))} were "
            "cut off and are not judged (--resume with a larger --time-budget goes on with them)"
        )
    if not any(r.score is not None for r in records):
        errors = {r.error.strip().splitlines()[-1] for r in records if r.error}
        why = " / ".join(sorted(errors)) or "None ended its first epoch: give it more time (--time-budget)."
        raise RunError(f"{run.path}: no trial reported a score. {why}")
    return records


def wanted_trials(study: Study, screen: Screen) -> int:
    """How many trials there are to be: as many as the study says, or as there are different configurations."""
    trials = study.search.trials
    if study.space.size is None:
        return trials
    there = sum(1 for _ in islice(study.space.configurations(), trials))
    if there < trials:
        screen.say(
            f"the space has {there} different configuration{'s' * (there > 1)}: the search ends after {there} of "
            f"{trials} trials (more trainings of each: confirm.seeds, and --seeds of the ensemble)"
        )
    return there


def rank(records: list[TrialRecord]) -> list[TrialRecord]:
    """The judged trials by search score, best first.

    Those that trained to their own end, by their last epoch or early stopping, come before those that the scheduler
    stopped, of which longer ones come first. Those whose loss was no longer finite come last.
    """
    judged = [r for r in records if r.score is not None and r.state in ("finished", "ended", "pruned")]

    def key(r: TrialRecord) -> tuple[int, int, float, int]:
        pruned = r.state == "pruned"
        group = 2 if r.error is not None else int(pruned)
        return group, -r.epochs if pruned else 0, -(r.score or 0.0), r.number

    return sorted(judged, key=key)
