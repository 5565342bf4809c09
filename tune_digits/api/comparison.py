"""Several runs on the same data and folds, side by side: what was searched, what it cost, and which best is better."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from tune_digits.api.opened import OpenRun
from tune_digits.data.dataset import Task
from tune_digits.data.fingerprint import describe_difference
from tune_digits.errors import RunError
from tune_digits.runs import FoldResult
from tune_digits.stats.compare import Comparison, compare, paired_t
from tune_digits.stats.noise import training_noise
from tune_digits.stats.outcomes import Training
from tune_digits.tune.leaderboard import Judges, judges_of

Cells: TypeAlias = dict[tuple[int, int], FoldResult]  # (fold, seed) -> a confirming training


def check_comparable(opened: Sequence[OpenRun]) -> None:
    """Raise RunError, saying what differs, unless all runs have the first one's data, folds and metric."""
    first, *others = opened
    facts, cv = first.folder.facts(), first.study().cv
    for other in others:
        theirs, their_cv = other.folder.facts(), other.study().cv
        pair = f"{first.path} and {other.path} cannot be compared"
        if facts["data"]["fingerprint"] != theirs["data"]["fingerprint"]:
            said = describe_difference(facts["data"], theirs["data"]) or "the data differ"
            raise RunError(
                f"{pair}: {said}. The first: {facts['data']['described']}; the second: {theirs['data']['described']}"
            )
        if facts["folds"] != theirs["folds"]:
            raise RunError(
                f"{pair}: their folds differ, so that they are judged on other rows. Search with the same cv and "
                "data.subset, and the same cv.seed"
            )
        if (cv.score, cv.score_weights) != (their_cv.score, their_cv.score_weights):
            raise RunError(f"{pair}: the first maximises {cv.score}, the second {their_cv.score}")


def compare_runs(opened: Sequence[OpenRun], task: Task) -> pd.DataFrame:
    """One row for each run, in their order, with its best configuration against that of the first run.

    run, space, searched (keys), trials, best (the trial of its answer), confirmed, corrected (NaN for macro F1),
    search_seconds and confirm_seconds (of all trainings); then, NaN in the first row: trainings (pairs of the same fold
    and seed), difference (this best minus the first run's), low and high (95 % interval), p, and verdict. Paired image
    by image (`stats.compare`), or for macro F1 by Student's t-test over folds and seeds.

    task: the data of the runs. Raises RunError where data, folds or metric differ, where two have no fold and seed in
    common, and where a run has no answer yet.
    """
    check_comparable(opened)
    study = opened[0].study()
    judges = judges_of(study.cv, task)
    against = _against_first(opened, judges)
    rows = []
    for run, seen in zip(opened, against, strict=True):
        answer, trials = run.answer(), run.trials()
        own = run.study()
        rows.append(
            {
                "run": str(run.path),
                "space": own.name,
                "searched": len(own.space.searched()),
                "trials": len(trials),
                "best": answer.trial,
                "confirmed": answer.measured,
                "corrected": np.nan if answer.corrected is None else answer.corrected,
                "search_seconds": float(trials["seconds"].sum()),
                "confirm_seconds": float(sum(r.seconds for r in run.folder.folds())),
                "trainings": 0 if seen is None else seen.trainings,
                "difference": np.nan if seen is None else seen.difference,
                "low": np.nan if seen is None else seen.low,
                "high": np.nan if seen is None else seen.high,
                "p": np.nan if seen is None else seen.p,
                "verdict": "-" if seen is None else seen.verdict,
            }
        )
    return pd.DataFrame(rows)


def _against_first(opened: Sequence[OpenRun], judges: Judges) -> list[Comparison | None]:
    """Each run's best minus the first run's; None for the first. The noise is that of all trainings of all runs."""
    best = [run.answer().trial for run in opened]
    results = [run.folder.folds() for run in opened]
    chosen = [[r for r in own if r.trial == trial] for own, trial in zip(results, best, strict=True)]
    cells = [{(r.fold, r.seed): r for r in own} for own in chosen]
    for run, own in zip(opened[1:], cells[1:], strict=True):
        if not own.keys() & cells[0].keys():
            raise RunError(
                f"{opened[0].path} and {run.path} cannot be compared: their best have no fold and seed in common; "
                "confirm both on the same folds (confirm.folds)"
            )
    by_run = [judges.outcomes(own) for own in results]
    pooled: dict[Hashable, list[Training]] = {}
    for number, outcomes in enumerate(by_run):
        if outcomes is None:  # macro F1 is no sum over images
            return [None, *(_by_scores(own, cells[0]) for own in cells[1:])]
        pooled |= {(number, trial): list(trainings) for trial, trainings in outcomes.items()}
    noise = training_noise(pooled, judges.groups)
    first = pooled[0, best[0]]
    return [
        None,
        *(
            compare(pooled[number, trial], first, judges.groups, noise)
            for number, trial in enumerate(best[1:], start=1)
        ),
    ]


def _by_scores(own: Cells, first: Cells) -> Comparison:
    shared = sorted(own.keys() & first.keys())
    return paired_t(np.array([own[key].score - first[key].score for key in shared]))
