"""The search: Ray Tune runs the trials, Optuna proposes them, ASHA stops the weak ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tune_digits.data.dataset import Dataset, Task
from tune_digits.data.folds.split import Fold
from tune_digits.errors import RunError
from tune_digits.learn.metrics import metric_of
from tune_digits.runs import Run, TrialRecord
from tune_digits.screen import Progress, Screen
from tune_digits.study import Study
from tune_digits.tune.resources import Slots, share_waiting_workers
from tune_digits.tune.store import Stored, store
from tune_digits.tune.trainable import TrainingData, train_trial


def training_data(dataset: Dataset, study: Study) -> TrainingData:
    """What the trainings of a phase share."""
    return TrainingData(
        dataset.images, one_hot(dataset), dataset.targets, metric_of(study.cv, dataset.targets)
    )


def one_hot(dataset: Dataset) -> np.ndarray:
    """The labels as float32 (N, K), one head's classes beside the next's."""
    columns = [
        np.eye(len(target.classes), dtype=np.float32)[dataset.labels[:, i]]
        for i, target in enumerate(dataset.targets)
    ]
    return np.ascontiguousarray(np.concatenate(columns, axis=1))


def share(task: Task, study: Study) -> tuple[Task, Stored[TrainingData]]:
    """Store what the trainings share. The images of the returned task are those in the store, so that nothing keeps
    a second copy of them where the caller lets go of the first."""
    stored = store(training_data(task.train, study))
    return replace(task, train=replace(task.train, images=stored.get().images)), stored


def run_search(
    study: Study, run: Run, data: Stored[TrainingData], fold: Fold, slots: Slots, screen: Screen
) -> list[TrialRecord]:
    """Run the trials that the study still wants, and return all that are on record.

    Taken up again after an interruption, it goes on with the trials that were running, from their saved states.
    Raises RunError where every trial failed.
    """
    from ray import tune

    from tune_digits.tune.hparams import write_columns
    from tune_digits.tune.scheduler import make_scheduler
    from tune_digits.tune.searcher import OptunaSearcher, left_behind, open_study
    from tune_digits.tune.tracking import Tracker

    records = run.trials()
    over = [r for r in records if r.state != "running"]
    left = study.search.trials - len(over)
    progress = Progress("search", total=max(study.search.trials, len(over)), done=len(over))
    if left > 0:
        if not records:
            write_columns(run.tensorboard, study.space, study.name)
        optuna_study = open_study(
            run.journal, study.search.seed + len(records), study.search.startup_trials, study.space
        )
        running = [r.number for r in records if r.state == "running"]
        unfinished = left_behind(optuna_study, running, [r.number for r in over])
        searcher = OptunaSearcher(optuna_study, study.space, study.epochs, unfinished)
        trainable = tune.with_parameters(
            train_trial,
            data=data,
            train_rows=fold.train_idx,
            valid_rows=fold.valid_idx,
            run_path=str(run.path.resolve()),
            seed=study.search.seed,
            fold=fold.index,
            slots=slots,
        )
        progress.deadline = study.search.time_budget
        tracker = Tracker(run, study.space, study.epochs, progress, screen)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=make_scheduler(
                    study.search, study.epochs, [(r.number, run.epochs(r.number)) for r in over]
                ),
                num_samples=left,
                # no more proposals than can run: each is made with all that is known by then
                max_concurrent_trials=min(slots.at_once, left),
                time_budget_s=study.search.time_budget,
                reuse_actors=True,
                trial_name_creator=lambda trial: f"trial-{trial.config['number']:04d}",
                trial_dirname_creator=lambda trial: f"{trial.config['number']:04d}-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=str(run.path.resolve()),
                callbacks=[tracker],
                failure_config=tune.FailureConfig(max_failures=1),
                verbose=0,
            ),
        )
        share_waiting_workers()
        with screen.watch(progress):
            tuner.fit()
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


def rank(records: list[TrialRecord]) -> list[TrialRecord]:
    """By search score, best first; a trial that was stopped ranks behind every one that trained longer."""
    scored = [r for r in records if r.score is not None and r.state in ("finished", "pruned")]
    return sorted(scored, key=lambda r: (-r.epochs, -r.score, r.number))
