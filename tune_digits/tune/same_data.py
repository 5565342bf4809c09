"""Whether a run goes on with what it was begun with: data, folds, given files, and the meaning of a training.

All of it stands in run.json, and in short in the record of each trial and each confirming training. What does not match
is refused in words: a score on other rows cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tune_digits.data.dataset import Task
from tune_digits.data.fingerprint import describe_difference
from tune_digits.data.folds.split import Fold, fingerprint_of_folds
from tune_digits.errors import RunError
from tune_digits.learn.version import TRAINING_VERSION
from tune_digits.runs import Fingerprints, Run
from tune_digits.study import Study
from tune_digits.tune.given_files import digests_of_given_files


def made_from(whole: Task, folds: Sequence[Fold]) -> Fingerprints:
    """whole: all the data; folds: as they are trained and validated, with the rows of a subset alone."""
    return Fingerprints(whole.fingerprint, fingerprint_of_folds(folds))


def facts_of(study: Study, whole: Task, fingerprints: Fingerprints) -> dict[str, Any]:
    """What run.json keeps, so that the checks below can compare."""
    return {
        "data": {"described": whole.describe(), "fingerprint": fingerprints.data, **whole.digests},
        "folds": fingerprints.folds,
        "given_files": given_files(study),
        "training_version": TRAINING_VERSION,
    }


def given_files(study: Study) -> dict[str, str]:
    """Path -> hash of its content, of each file of initial weights and each teacher that the space names."""
    found: dict[str, str] = {}
    for config in study.space.ends():
        found |= digests_of_given_files(config)
    return found


def check_same_data(run: Run, study: Study, whole: Task) -> None:
    """Raise RunError, saying what differs, unless data and given files are those that the run was begun with.

    Each of its records is compared too.

    whole: all the data, before a subset is drawn.
    """
    facts = run.facts()
    then = facts["data"]
    if then["fingerprint"] != whole.fingerprint:
        difference = describe_difference(then, whole.digests) or "they differ"
        raise RunError(
            f"{run.path}: the data are not those that it was begun with: {difference}. Then: {then['described']}; now: "
            f"{whole.describe()}. Put the old data back, or search again into a new run folder"
        )
    files_then, files_now = facts["given_files"], given_files(study)
    for path in {**files_then, **files_now}:
        if files_then.get(path) != files_now.get(path):
            raise RunError(
                f"{run.path}: {path} has changed since the run was begun, and its trainings use it. Put the old one "
                "back, or search again into a new run folder"
            )
    check_records(run, Fingerprints(then["fingerprint"], facts["folds"]))


def check_same_search(run: Run, fingerprints: Fingerprints) -> None:
    """Raise RunError unless the folds and the meaning of a training are those that the run was begun with."""
    then = run.facts()
    if then["folds"] != fingerprints.folds:
        raise RunError(
            f"{run.path}: its folds cannot be made again, though the data are the same: another version of this "
            "package or of a library divides the rows otherwise. Trials on other folds do not compare; search again"
        )
    if then["training_version"] != TRAINING_VERSION:
        raise RunError(
            f"{run.path}: was begun with a version of this package that trains otherwise (training version "
            f"{then['training_version']}, now {TRAINING_VERSION}). Go on with that version, or search again"
        )


def check_records(run: Run, fingerprints: Fingerprints) -> None:
    """Raise RunError where a trial or a confirming training on record was made from other data or folds."""
    made_from = {run.trial_folder(r.number): r.fingerprints for r in run.trials()}
    made_from |= {run.fold_file(r.trial, r.fold, r.seed): r.fingerprints for r in run.folds()}
    for path, own in made_from.items():
        if own != fingerprints:
            raise RunError(
                f"{path}: was trained on other data or folds than those of this run, and does not belong here"
            )
