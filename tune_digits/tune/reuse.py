"""Nothing runs twice: confirming trainings that another run has done are taken from its records (`--reuse RUN`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.data.fingerprint import hash_of
from tune_digits.errors import RunError
from tune_digits.learn.version import TRAINING_VERSION
from tune_digits.runs import Fingerprints, FoldResult, Run
from tune_digits.study import Study, load_study
from tune_digits.tune.given_files import by_content
from tune_digits.tune.same_data import given_files

# hash of the configuration, fold, seed of the training
Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Known:
    """Trainings of other runs. base_seed: what the seeds of the run that takes them count from."""

    results: Mapping[Key, FoldResult]
    base_seed: int

    def find(self, trial: int, config: TrialConfig, fold: int, seed: int) -> FoldResult | None:
        """The same training as one of this run's trial, or None where no other run has done it."""
        found = self.results.get((_hash(config), fold, self.base_seed + seed))
        return None if found is None else replace(found, trial=trial, seed=seed)


NOTHING = Known({}, 0)


def known_trainings(others: Sequence[Run], study: Study, fingerprints: Fingerprints) -> Known:
    """The confirming trainings of the other runs, by what decides them.

    Raises RunError for a run of other data, folds, metric, given files or training code, saying which.
    """
    results: dict[Key, FoldResult] = {}
    for other in others:
        theirs = load_study(other.study_file)
        if differs := _difference(other.facts(), theirs, study, fingerprints):
            raise RunError(f"--reuse {other.path}: its trainings are no others' of this run: {differs}")
        configs = {record.number: record.config for record in other.trials()}
        for result in other.folds():
            key = (_hash(configs[result.trial]), result.fold, theirs.search.seed + result.seed)
            results.setdefault(key, replace(result, reused_from=str(other.path)))
    return Known(results, study.search.seed)


def _difference(
    then: Mapping[str, Any], theirs: Study, study: Study, fingerprints: Fingerprints
) -> str | None:
    if then["data"]["fingerprint"] != fingerprints.data:
        return f"the data are others ({then['data']['described']})"
    if then["folds"] != fingerprints.folds:
        return "the folds, or the rows that are trained on, are others (cv, data.subset)"
    if then["training_version"] != TRAINING_VERSION:
        return f"a version of this package that trains otherwise ({then['training_version']}, now {TRAINING_VERSION})"
    if (theirs.cv.score, theirs.cv.score_weights) != (study.cv.score, study.cv.score_weights):
        return f"the score is another (cv.score: {theirs.cv.score})"
    now = given_files(theirs)
    if changed := [path for path, digest in then["given_files"].items() if now.get(path) != digest]:
        return f"{changed[0]}, which its trainings use, has changed since"
    return None


def _hash(config: TrialConfig) -> str:
    return str(hash_of(by_content(config)))
