"""From a confirmed run to a submission: retrain the best on all data, vote, pseudo-label, retrain, vote."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tune_digits import disk, runs
from tune_digits.config import Ensemble, TrialConfig
from tune_digits.data.dataset import RowForm, Task
from tune_digits.data.fingerprint import hash_array, hash_of, row_hashes
from tune_digits.data.options import DataOptions
from tune_digits.ensemble.answers import Judged, judge, write_answers
from tune_digits.ensemble.members import Manifest, write_manifest
from tune_digits.ensemble.names import member_names, trials_named
from tune_digits.ensemble.pseudo import rule_of, select_pseudo
from tune_digits.ensemble.retrain import MemberJob, RetrainData, member_jobs, peculiarities, retrain
from tune_digits.ensemble.vote import Ballot, labels_of
from tune_digits.ensemble.voters import choose_voters
from tune_digits.errors import RunError
from tune_digits.execute.executor import Executor
from tune_digits.learn.metrics import Metric, metric_of
from tune_digits.screen import Screen
from tune_digits.space.space import config_key
from tune_digits.study import Study
from tune_digits.trained_rows import write_trained_rows
from tune_digits.tune.answer import Answer, read_answer
from tune_digits.tune.sources import sources_of
from tune_digits.tune.training import TrainingData, training_data

NO_HOLDOUT = "there is no labelled set from elsewhere"


def choose(
    board: pd.DataFrame, records: list[runs.TrialRecord], plan: Ensemble, answer: Answer | None
) -> list[tuple[int, TrialConfig]]:
    """The members as (trial's number, configuration), with the plan's epochs: those that the plan names, in its order,
    or the `top` confirmed trials that it prefers, best first. Of equal configurations the first counts.

    answer: of the search; needed where the plan names no members. Raises RunError for a name that does not mean one
    trial.
    """
    if plan.members is not None:
        trials = trials_named(plan.members, records)
    else:
        assert answer is not None, "a plan that names no members chooses by the answer of the search"
        by_number = {r.number: r for r in records}
        trials = [by_number[number] for number in preferred(board, answer, plan.prefer)]
    chosen: dict[str, tuple[int, TrialConfig]] = {}
    for record in trials:
        config = record.config
        if plan.epochs is not None:
            config = config.model_copy(
                update={"train": config.train.model_copy(update={"epochs": plan.epochs})}
            )
        chosen.setdefault(config_key(config), (record.number, config))
    return list(chosen.values())[: None if plan.members is not None else plan.top]


def chosen_members(run: runs.Run, plan: Ensemble) -> tuple[pd.DataFrame, list[tuple[int, TrialConfig]]]:
    """The leaderboard of a run, and `choose` from it. Raises RunError where there is none yet."""
    if not run.leaderboard.exists():
        raise RunError(
            f"{run.path}: no leaderboard.csv yet; finish the search with: tune-digits search --resume {run.path}"
        )
    board = pd.read_csv(run.leaderboard)
    answer = None if plan.members is not None else read_answer(run)
    return board, choose(board, run.trials(), plan, answer)


def preferred(board: pd.DataFrame, answer: Answer, by: str) -> list[int]:
    """The numbers of the confirmed trials in the order of `ensemble.prefer`. board: the leaderboard, best first.

    Raises RunError where there is nothing to prefer by.
    """
    first = {"choice": [answer.trial], "confirmed": []}.get(by)
    if first is None:
        if board[by].isna().all():
            missing = {"worst_groups": "rows have no groups", "out_of_domain": NO_HOLDOUT}[by]
            raise RunError(f"prefer: {by}, but {missing}; use choice or confirmed")
        order = board.sort_values(by, ascending=False, kind="stable")["trial"]
        first = order[order.isin(answer.tied)].tolist()
    return list(dict.fromkeys([*first, *board["trial"].tolist()]))


def far_behind(board: pd.DataFrame, chosen: list[int]) -> list[int]:
    """Those of `chosen` whose confirmed mean is more than three standard errors of the difference under the best's."""
    best = board.iloc[int(board["confirmed"].argmax())]
    # one fold says nothing of its own error (NaN), so it names nobody
    error = np.hypot(board["confirmed_se"], best["confirmed_se"])
    far = set(board["trial"][best["confirmed"] - board["confirmed"] > 3 * error])
    return [number for number in chosen if number in far and number != best["trial"]]


def build_ensemble(
    study: Study,
    run: runs.Run,
    task: Task,
    plan: Ensemble,
    executor: Executor,
    screen: Screen,
    ladder: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Make the ensemble of a run: members, manifest, submission and report. Returns the report.

    ladder: the rungs of `ladder.run_ladder`, for the report.
    """
    import torch

    board, configs = chosen_members(run, plan)
    records = run.trials()
    confirmed = set(board["trial"].tolist())
    if plan.members is None and len(configs) < plan.top:
        screen.warn(f"--top {plan.top}, but only {len(configs)} trials are confirmed; all of them are taken")
    if unconfirmed := [str(number) for number, _ in configs if number not in confirmed]:
        screen.warn(
            f"trial(s) {', '.join(unconfirmed)} are not confirmed: their scores are those of one fold"
        )
    if far := far_behind(board, [number for number, _ in configs]):
        screen.warn(
            f"trial(s) {', '.join(map(str, far))} are far behind the best in cross-validation, by more than three "
            f"standard errors; fewer members with more --seeds may vote better"
        )
    for line in peculiarities(member_jobs(configs, 1, "")):
        screen.say(line)
    folder = run.ensemble
    started = time.monotonic()
    metric = metric_of(study.cv, task.targets)
    voters = choose_voters(study, run, task, plan, configs, metric, screen)
    data = training_data(task.train, metric)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def train_and_judge(title: str, data: TrainingData) -> tuple[list[MemberJob], Judged]:
        key = hash_of([hash_array(data.images), hash_array(data.proba)])
        by_config = [
            member_jobs([config], seeds, key)
            for config, seeds in zip(voters.configs, voters.seeds, strict=True)
        ]
        jobs = [job for own in by_config for job in own]
        shared = RetrainData(
            executor.store(data), np.arange(len(data.images)), str(folder.resolve()), executor.slots
        )
        retrain(jobs, shared, run, study.resources, executor, screen, title)
        places = [place for place, own in enumerate(by_config) for job in own for _ in job.files]
        ballot = voters.ballot.for_members(tuple(places), tuple(voters.families[p] for p in places))
        manifest = _manifest(jobs, task, plan, ballot, study.data, metric)
        return jobs, judge(manifest, folder, task, device, screen, voters.match)

    jobs, judged = train_and_judge("retrain", data)
    rounds = [{"pseudo_labels": 0, "sets": judged.sets}]
    rule, taken = rule_of(plan), None
    for _ in range(plan.pseudo_rounds if rule is not None and task.test is not None else 0):
        assert rule is not None and task.test is not None
        heads = judged.manifest.heads
        answers = np.stack([labels_of(proba, heads) for proba in judged.test_proba])
        rows, targets = select_pseudo(judged.test_vote, answers, heads, rule)
        screen.say(f"pseudo-labels: {len(rows):,} of {len(task.test):,} test images at {rule.cut:g} or surer")
        labels = (rows.tobytes(), targets.tobytes())
        if not len(rows) or labels == taken:
            break
        taken = labels
        more = replace(
            data,
            images=np.concatenate([data.images, task.test.images[rows]]),
            proba=np.concatenate([data.proba, targets]),
            pseudo=len(rows),
        )
        jobs, judged = train_and_judge("retrain with pseudo-labels", more)
        rounds.append({"pseudo_labels": len(rows), "sets": judged.sets})
    before = [source.rows for _, config in voters.configs for source in sources_of(config, None)]
    hashes = [row_hashes(task.train.images), *(seen for seen in before if seen is not None)]
    write_trained_rows(folder, np.concatenate(hashes))
    write_manifest(folder, judged.manifest)
    names = member_names(jobs, records)
    files = [(job, file) for job in jobs for file in job.files]
    submissions, disputed = write_answers(folder, task, judged, names, plan.each)
    report = {
        "members": [
            {"trial": job.trial, "seed": job.seed, "file": file, "name": name}
            for (job, file), name in zip(files, names, strict=True)
        ],
        "submissions": submissions,
        "disputed": disputed,
        "vote": voters.report,
        "tta": plan.tta,
        "tta_strength": plan.tta_strength,
        "metric": study.cv.score,
        "cross_validation": _cross_validation(board, [n for n, _ in voters.configs]),
        "rounds": rounds,
        "ladder": list(ladder),
        "seconds": time.monotonic() - started,
    }
    disk.write_json(folder / "report.json", report)
    return report


def _manifest(
    jobs: list[MemberJob], task: Task, plan: Ensemble, ballot: Ballot, data: DataOptions, metric: Metric
) -> Manifest:
    channels, height, width = task.train.images.shape[1:]
    return Manifest(
        members=tuple(file for j in jobs for file in j.files),
        targets=task.targets,
        shape=(channels, height, width),
        ballot=ballot,
        tta=plan.tta,
        tta_strength=plan.tta_strength,
        data=data,
        form=RowForm.wide(task.targets) if task.submission is None else task.submission.form,
        metric=metric,
        trained_on=task.train.fingerprint,
    )


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
