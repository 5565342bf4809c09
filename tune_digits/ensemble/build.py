"""From a confirmed run to a submission: retrain the best on all data, vote, pseudo-label, retrain, vote."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tune_digits import disk, runs
from tune_digits.config import Ensemble, TrialConfig
from tune_digits.data.dataset import Dataset, RowForm, Task
from tune_digits.data.fingerprint import hash_array, hash_of, row_hashes
from tune_digits.data.options import DataOptions
from tune_digits.ensemble.members import (
    Manifest,
    predict_members,
    vote,
    write_manifest,
)
from tune_digits.ensemble.pseudo import select_pseudo
from tune_digits.ensemble.retrain import MemberJob, RetrainData, member_jobs, peculiarities, retrain
from tune_digits.ensemble.submission import submission_frame, write_submission
from tune_digits.ensemble.vote import agreement, labels_of
from tune_digits.errors import RunError
from tune_digits.execute.executor import Executor
from tune_digits.learn.metrics import Metric, metric_of, score
from tune_digits.screen import Progress, Screen
from tune_digits.study import Study
from tune_digits.trained_rows import write_trained_rows
from tune_digits.tune.sources import sources_of
from tune_digits.tune.training import TrainingData, training_data


def choose(
    board: pd.DataFrame, records: list[runs.TrialRecord], plan: Ensemble
) -> list[tuple[int, TrialConfig]]:
    """The `top` best confirmed trials as (number, configuration), best first, with the plan's epochs."""
    by_number = {r.number: r for r in records}
    if plan.prefer == "out_of_domain":
        board = prefer_out_of_domain(board)
    chosen = []
    for number in board["trial"].head(plan.top):
        config = by_number[int(number)].config
        if plan.epochs is not None:
            config = config.model_copy(
                update={"train": config.train.model_copy(update={"epochs": plan.epochs})}
            )
        chosen.append((int(number), config))
    return chosen


def prefer_out_of_domain(board: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard with those first that cross-validation cannot tell from its best, by their holdout score.

    Those are the trials within one standard error of the best confirmed mean (the rule of Breiman et al. 1984).
    The paired difference would be sharper, but over three folds it was 0.0007 +- 0.0001 by chance.
    """
    if board["out_of_domain"].isna().all():
        raise RunError("out_of_domain is preferred, but there is no labelled set from elsewhere to prefer by")
    best = board.iloc[0]
    error = 0.0 if math.isnan(best["confirmed_se"]) else best["confirmed_se"]
    marked = board.assign(behind=board["confirmed"] < best["confirmed"] - error)
    order = marked.sort_values(["behind", "out_of_domain"], ascending=[True, False], kind="stable")
    return order.drop(columns="behind").reset_index(drop=True)


def far_behind(board: pd.DataFrame, chosen: list[int]) -> list[int]:
    """Those of `chosen` whose confirmed mean is more than three standard errors of the difference under the best's."""
    best = board.iloc[int(board["confirmed"].argmax())]
    # one fold says nothing of its own error (NaN), so it names nobody
    error = np.hypot(board["confirmed_se"], best["confirmed_se"])
    far = set(board["trial"][best["confirmed"] - board["confirmed"] > 3 * error])
    return [number for number in chosen if number in far and number != best["trial"]]


def build_ensemble(
    study: Study, run: runs.Run, task: Task, plan: Ensemble, executor: Executor, screen: Screen
) -> dict[str, Any]:
    """Make the ensemble of a run: members, manifest, submission and report. Returns the report."""
    import torch

    if not run.leaderboard.exists():
        raise RunError(
            f"{run.path}: no leaderboard.csv yet; finish the search with: search.py --resume {run.path}"
        )
    board = pd.read_csv(run.leaderboard)
    configs = choose(board, run.trials(), plan)
    if len(configs) < plan.top:
        screen.warn(f"--top {plan.top}, but only {len(configs)} trials are confirmed; all of them are taken")
    if far := far_behind(board, [number for number, _ in configs]):
        screen.warn(
            f"trial(s) {', '.join(map(str, far))} are far behind the best in cross-validation, by more than three "
            f"standard errors; --top {len(configs) - len(far)} with more --seeds may vote better"
        )
    for line in peculiarities(member_jobs(configs, 1, "")):
        screen.say(line)
    folder = run.ensemble
    started = time.monotonic()
    metric = metric_of(study.cv, task.targets)
    data = training_data(task.train, metric)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def train_and_judge(
        title: str, data: TrainingData
    ) -> tuple[list[MemberJob], Manifest, dict[str, Any], np.ndarray]:
        jobs = member_jobs(configs, plan.seeds, hash_of([hash_array(data.images), hash_array(data.proba)]))
        shared = RetrainData(
            executor.store(data), np.arange(len(data.images)), str(folder.resolve()), executor.slots
        )
        retrain(jobs, shared, run, study.resources, executor, screen, title)
        manifest = _manifest(jobs, task, plan, study.data, metric)
        return (
            jobs,
            manifest,
            *_judge(manifest, folder, task, metric, device, screen),
        )

    jobs, manifest, figures, test_vote = train_and_judge("retrain", data)
    rounds = [{"pseudo_labels": 0, **figures}]
    if plan.pseudo is not None and task.test is not None:
        rows, targets = select_pseudo(test_vote, manifest.heads, plan.pseudo)
        screen.say(
            f"pseudo-labels: {len(rows):,} of {len(task.test):,} test images at {plan.pseudo:g} or surer"
        )
        if len(rows):
            more = replace(
                data,
                images=np.concatenate([data.images, task.test.images[rows]]),
                proba=np.concatenate([data.proba, targets]),
                pseudo=len(rows),
            )
            jobs, manifest, figures, test_vote = train_and_judge("retrain with pseudo-labels", more)
            rounds.append({"pseudo_labels": len(rows), **figures})
    before = [source.rows for _, config in configs for source in sources_of(config, None)]
    hashes = [row_hashes(task.train.images), *(seen for seen in before if seen is not None)]
    write_trained_rows(folder, np.concatenate(hashes))
    write_manifest(folder, manifest)
    if task.test is not None:
        form = task.submission or manifest.form.of(task.test.ids)
        frame = submission_frame(form, labels_of(test_vote, manifest.heads), task.targets)
        write_submission(folder / "submission.csv", frame)
    report = {
        "members": [{"trial": j.trial, "seed": j.seed, "file": file} for j in jobs for file in j.files],
        "voting": plan.voting,
        "tta": plan.tta,
        "metric": study.cv.score,
        "cross_validation": _cross_validation(board, [n for n, _ in configs]),
        "rounds": rounds,
        "seconds": time.monotonic() - started,
    }
    disk.write_json(folder / "report.json", report)
    return report


def _manifest(
    jobs: list[MemberJob], task: Task, plan: Ensemble, data: DataOptions, metric: Metric
) -> Manifest:
    channels, height, width = task.train.images.shape[1:]
    return Manifest(
        members=tuple(file for j in jobs for file in j.files),
        targets=task.targets,
        shape=(channels, height, width),
        voting=plan.voting,
        tta=plan.tta,
        data=data,
        form=RowForm.wide(task.targets) if task.submission is None else task.submission.form,
        metric=metric,
        trained_on=task.train.fingerprint,
    )


def _judge(
    manifest: Manifest, folder: Any, task: Task, metric: Metric, device: Any, screen: Screen
) -> tuple[dict[str, Any], np.ndarray]:
    """Figures of one round on all that is known, and the vote float64 (N, K) on the test images."""
    sets: dict[str, Dataset] = dict(task.holdouts)
    if task.test is not None:
        sets["test"] = task.test
    progress = Progress("predict", total=len(sets) * len(manifest.members))
    figures: dict[str, Any] = {}
    test_vote = np.zeros((0, manifest.heads[-1].stop))
    with screen.watch(progress):
        for name, dataset in sets.items():
            before = progress.done

            def advance(done: int, before: int = before) -> None:
                progress.done = before + done
                screen.tick(progress)

            proba = predict_members(folder, manifest, dataset.images, device, manifest.tta, advance)
            voted = vote(proba, manifest)
            entry: dict[str, Any] = {"images": len(dataset), **agreement(proba, manifest.heads)}
            if dataset.labels is not None:
                entry["score"] = score(metric, voted, dataset.labels, manifest.heads)
                entry["member_scores"] = [score(metric, p, dataset.labels, manifest.heads) for p in proba]
            figures[name] = entry
            if name == "test" and dataset is task.test:
                test_vote = voted
    return {"sets": figures}, test_vote


def _cross_validation(board: pd.DataFrame, chosen: list[int]) -> dict[str, Any]:
    """Confirmed scores of the members and of the baseline, from the leaderboard."""

    def row(r: Any) -> dict[str, Any]:
        keys = ("trial", "confirmed", "confirmed_se", "gain", "gain_se", "out_of_domain", "folds", "seeds")
        return {k: None if isinstance(r[k], float) and math.isnan(r[k]) else r[k] for k in keys}

    records = board.to_dict("records")
    return {
        "members": [row(r) for r in records if r["trial"] in chosen],
        "baseline": next((row(r) for r in records if r["role"] == "baseline"), None),
    }
