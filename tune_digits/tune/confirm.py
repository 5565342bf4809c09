"""Confirmation: the best trials again, on all folds, with seeds that the search has never seen.

The best of a hundred equal trials on one fold looks better than it is. Only the scores made here rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tune_digits.config import Confirm, Resources
from tune_digits.config.study import seconds_of
from tune_digits.data.dataset import Dataset, Task
from tune_digits.data.fingerprint import row_hashes
from tune_digits.data.folds.split import Fold
from tune_digits.disk import replacing
from tune_digits.errors import StorageError
from tune_digits.execute.executor import Executor, Stored
from tune_digits.runs import Fingerprints, Run, TrialRecord, Truth
from tune_digits.screen import Progress, Screen
from tune_digits.space.space import config_key
from tune_digits.study import Study
from tune_digits.trained_rows import write_trained_rows
from tune_digits.tune.answer import find_answer, write_answer
from tune_digits.tune.fold_jobs import ConfirmData, FoldJob, confirm_folds, judged_holdouts
from tune_digits.tune.front import front_first, with_front
from tune_digits.tune.fusing import plan_fusing
from tune_digits.tune.leaderboard import Judges, judges_of, leaderboard, out_of_fold
from tune_digits.tune.race import AT_LEAST, cells, is_decided, still_in
from tune_digits.tune.reuse import NOTHING, Known
from tune_digits.tune.search import rank
from tune_digits.tune.sources import sources_of
from tune_digits.tune.training import TrainingData


def candidates(records: list[TrialRecord], count: int) -> list[TrialRecord]:
    """The `count` best of the search, best first; then the baseline, without which no gain can be told, and the start
    points: what somebody expects to be good is not given up for the score of one fold.

    Of equal configurations only the trial with the lowest number counts. In a search for two objectives the best are
    those of the front of score and speed, then those of the next front.
    """
    first: dict[str, int] = {}
    for record in records:
        first.setdefault(config_key(record.config), record.number)
    ranked = [r for r in front_first(rank(records)) if first[config_key(r.config)] == r.number]
    return ranked[:count] + [r for r in ranked[count:] if r.role in ("baseline", "start")]


def write_rows_of_folds(
    run: Run, train: Dataset, chosen: Sequence[TrialRecord], folds: Sequence[Fold]
) -> None:
    """Record which images the networks of each fold are trained on, those that their sources have seen included."""
    hashes = row_hashes(train.images)
    for fold in folds:
        rows = [hashes[fold.train_idx], *rows_before(chosen, [fold])]
        write_trained_rows(run.fold_weights(fold.index), np.concatenate(rows))


def rows_before(records: Sequence[TrialRecord], folds: Sequence[Fold]) -> list[np.ndarray]:
    """Hashes of the images that the sources of these configurations were trained on."""
    sources = [s for r in records for fold in folds for s in sources_of(r.config, fold.index)]
    return [source.rows for source in sources if source.rows is not None]


def run_confirm(
    study: Study,
    run: Run,
    task: Task,
    data: Stored[TrainingData],
    folds: Sequence[Fold],
    records: list[TrialRecord],
    made_from: Fingerprints,
    executor: Executor,
    screen: Screen,
    known: Known = NOTHING,
) -> pd.DataFrame:
    """Confirm the best trials, write and return the leaderboard. Folds already on record are not trained again, and
    neither are those `known` from other runs."""
    chosen = candidates(records, study.confirm.candidates)
    used = folds[: study.confirm.folds or len(folds)]
    shared = ConfirmData(
        data,
        {f.index: f for f in used},
        judged_holdouts(task.holdouts, study.cv),
        study.search.seed,
        made_from,
        executor.slots,
        str(run.path.resolve()) if study.confirm.keep_weights else None,
    )
    if study.confirm.keep_weights:
        write_rows_of_folds(run, task.train, chosen, used)
    run.write_truth(Truth(task.train.labels, task.train.ids, task.targets))
    judges = judges_of(study.cv, task)
    trainer = Trainer(run, shared, study.resources, executor, screen, known)
    left: set[int] = set()
    if study.confirm.budget is None:
        # seed by seed and fold by fold, so that an interrupted confirmation has all candidates on equal terms
        jobs = [
            FoldJob(r.number, r.config, fold.index, seed)
            for seed in range(study.confirm.seeds)
            for fold in used
            for r in chosen
        ]
        progress = Progress("confirm", total=len(jobs))
        progress.facts = {
            "configurations": str(len(chosen)),
            "folds": str(len(used)),
            "seeds": str(study.confirm.seeds),
        }
        trainer.train(jobs, progress)
    else:
        left = run_race(study.confirm, chosen, [fold.index for fold in used], judges, trainer, screen)
    results = run.folds()  # of trials that are no candidates any more, too: they tell the noise of trainings
    if reused := [r for r in results if r.reused_from]:
        places = ", ".join(sorted({r.reused_from for r in reused}))
        screen.say(f"{len(reused)} of {len(results)} confirming trainings were taken from {places}")
    board = with_front(leaderboard(chosen, results, judges), chosen)
    if study.confirm.budget is not None:
        board["left"] = board["trial"].isin(left)
    with replacing(run.leaderboard) as temporary:
        board.to_csv(temporary, index=False)
    rng = np.random.default_rng(study.search.seed)
    write_answer(run, find_answer(chosen, results, judges, rng))
    best = set(board["trial"].head(study.ensemble.top).tolist())
    proba = out_of_fold([r for r in results if r.trial in best], len(task.train))
    if proba is not None:
        trained = [r for r in chosen if r.number in best]
        seen = np.unique(np.concatenate([fold.train_idx for fold in used]))
        rows = np.concatenate([row_hashes(task.train.images[seen]), *rows_before(trained, used)])
        run.write_out_of_fold(proba, np.unique(rows))
    return board


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains confirming jobs on an executor and puts them on record."""

    run: Run
    shared: ConfirmData
    resources: Resources
    executor: Executor
    screen: Screen
    known: Known = NOTHING

    def train(self, jobs: Sequence[FoldJob], progress: Progress) -> None:
        """Train what is not on record yet. A training that fails is warned of. progress counts all of the jobs."""
        missing = [j for j in jobs if not self.run.fold_file(j.trial, j.fold, j.seed).exists()]
        missing = [job for job in missing if not self._taken(job)]
        progress.done += len(jobs) - len(missing)
        if not missing:
            return
        some = next(iter(self.shared.folds.values())).train_idx
        groups = plan_fusing(
            self.run,
            missing,
            lambda job: job.config,
            (self.shared.training, some),
            self.resources,
            self.executor,
            self.screen,
        )
        with self.screen.watch(progress):
            for group, results in self.executor.run_jobs(confirm_folds, groups, self.shared):
                progress.done += len(group)
                if isinstance(results, StorageError):
                    raise results
                if isinstance(results, Exception):
                    for job in group:
                        self.screen.warn(
                            f"trial {job.trial}, fold {job.fold}, seed {job.seed} failed: {results}"
                        )
                    continue
                for result in results:
                    self.run.write_fold(result)
                self.screen.tick(progress)

    def _taken(self, job: FoldJob) -> bool:
        """Whether another run has done this training; its result is then on record here. Weights are not taken, so
        where they are kept everything is trained."""
        found = self.known.find(job.trial, job.config, job.fold, job.seed)
        if found is None or self.shared.weights_kept_in is not None:
            return False
        self.run.write_fold(found)
        return True


def run_race(
    plan: Confirm,
    chosen: Sequence[TrialRecord],
    folds: Sequence[int],
    judges: Judges,
    trainer: Trainer,
    screen: Screen,
) -> set[int]:
    """Confirm by rounds of one fold and seed until the budget is used up or all is decided; the trials that left.

    The budget counts the trainings on record too: a race that was killed goes on with what is left of it. A time is
    that of the trainings, divided by how many run at once, and the next round is taken to last as the mean of those
    before.
    """
    configs = {r.number: r.config for r in chosen}
    baseline = next((r.number for r in chosen if r.role == "baseline"), None)
    active, done = list(configs), 0
    most = plan.budget if isinstance(plan.budget, int) else None
    seconds = seconds_of(plan.budget) if isinstance(plan.budget, str) else math.inf
    if most is not None and most < AT_LEAST * len(active):
        screen.warn(
            f"confirm.budget {most}: {len(active)} configurations train twice each before one may leave, so there are "
            f"{AT_LEAST * len(active)} trainings"
        )
    progress = Progress("race", total=most or len(active) * len(folds) * plan.seeds)
    seen: set[tuple[int, int]] = set()
    for number, cell in enumerate(cells(folds, plan.seeds)):
        results = [r for r in trainer.run.folds() if (r.fold, r.seed) in seen and r.trial in configs]
        taken = sum(r.seconds for r in results) / trainer.executor.slots.at_once
        each = taken / max(len(results), 1)
        spent = (most is not None and done + len(active) > most) or taken + each * len(active) > seconds
        # all candidates have two trainings at least: on one nobody is told from another
        if number >= AT_LEAST and (spent or is_decided(active, results, judges, baseline)):
            break
        progress.facts = {"in the race": str(len(active)), "fold": str(cell[0]), "seed": str(cell[1])}
        trainer.train([FoldJob(trial, configs[trial], *cell) for trial in active], progress)
        seen.add(cell)
        done += len(active)
        results = [r for r in trainer.run.folds() if (r.fold, r.seed) in seen and r.trial in configs]
        active = still_in(active, results, judges, baseline)
    left = set(configs) - set(active)
    rounds, beyond = len(seen), max((seed for _, seed in seen), default=0) + 1
    more = f", with {beyond} seeds instead of {plan.seeds}" if beyond > plan.seeds else ""
    screen.say(
        f"race: {done} trainings in {rounds} rounds{more}; {len(left)} of {len(configs)} configurations left it"
    )
    return left
