"""Whether a run goes on with what it was begun with: data, folds, given files, and the meaning of a training.

All of it stands in run.json, and in short in the record of each trial and each confirming training. What does not match
is refused in words: a score on other rows is no score to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tune_digits.data.dataset import Task
from tune_digits.data.fingerprint import describe_difference, hash_array, hash_of
from tune_digits.data.folds.split import Fold, fingerprint_of_folds
from tune_digits.errors import RunError
from tune_digits.learn.version import TRAINING_VERSION
from tune_digits.runs import Fingerprints, Run
from tune_digits.study import Study
from tune_digits.tune.given_files import digests_of_given_files


def made_from(whole: Task, rows: np.ndarray | None, folds: Sequence[Fold]) -> Fingerprints:
    """whole: all the data; rows int64 (n,): the subset of its training rows that the folds are of, None = all."""
    return Fingerprints(whole.fingerprint, hash_of([hash_array(rows), fingerprint_of_folds(folds)]))


def facts_of(study: Study, whole: Task, fingerprints: Fingerprints) -> dict[str, Any]:
    """What run.json keeps, so that `check_same_data` can compare."""
    return {
        "data": {"described": whole.describe(), "fingerprint": fingerprints.data, **whole.digests},
        "folds": fingerprints.folds,
        "given_files": given_files(study),
        "training_version": TRAINING_VERSION,
    }


def given_files(study: Study) -> dict[str, str]:
    """Path -> hash of its content, of each file and run that any configuration of the space takes weights or answers from."""
    found: dict[str, str] = {}
    for config in study.space.ends():
        found |= digests_of_given_files(config)
    return found


def check_same_data(run: Run, study: Study, whole: Task, fingerprints: Fingerprints) -> None:
    """Raise RunError, saying what differs, unless run, records and folds were made from what is at hand now."""
    check_same_task(run, whole)
    then = run.facts()
    if then["folds"] != fingerprints.folds:
        raise RunError(
            f"{run.path}: its folds are not those of now, though the data are the same: another version of this package "
            "or of a library deals rows to folds otherwise. Trials on other folds do not compare; search again"
        )
    now = given_files(study)
    for path in {**then["given_files"], **now}:
        if then["given_files"].get(path) != now.get(path):
            raise RunError(
                f"{run.path}: {path} has changed since the run was begun, and its trainings start from it or learn "
                "from it. Put the old one back, or search again"
            )
    if then["training_version"] != TRAINING_VERSION:
        raise RunError(
            f"{run.path}: was begun with a version of this package that trains otherwise (training version "
            f"{then['training_version']}, now {TRAINING_VERSION}). Go on with that version, or search again"
        )


def check_same_task(run: Run, whole: Task) -> None:
    """Raise RunError, saying what differs, unless the data are those that the run was begun with, and all its trials and
    confirming trainings with it."""
    facts = run.facts()
    then = facts["data"]
    if then["fingerprint"] != whole.fingerprint:
        difference = describe_difference(then, whole.digests) or "they differ"
        raise RunError(
            f"{run.path}: the data are not those that it was begun with: {difference}. Then: {then['described']}; now: "
            f"{whole.describe()}. Put the old data back, or search again into a new run folder"
        )
    fingerprints = Fingerprints(then["fingerprint"], facts["folds"])
    for record in run.trials():
        if record.fingerprints != fingerprints:
            raise RunError(
                f"{run.trial_folder(record.number)}: trial {record.number} was trained on other data or folds than those "
                "of this run; it does not belong here"
            )
    for result in run.folds():
        if result.fingerprints != fingerprints:
            raise RunError(
                f"{run.fold_file(result.trial, result.fold, result.seed)}: was trained on other data or folds than those "
                "of this run; it does not belong here"
            )
