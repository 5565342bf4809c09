"""A run folder in Python: tables, out-of-fold probabilities, the best configuration and the answer.

run = open_run("runs/latest")
run.leaderboard()[["trial", "confirmed", "gain", "verdict"]]
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tune_digits import runs
from tune_digits.config import TrialConfig
from tune_digits.errors import RunError
from tune_digits.study import Study, load_study
from tune_digits.tune.answer import Answer, read_answer
from tune_digits.tune.leaderboard import out_of_fold
from tune_digits.yaml_text import write_yaml

if TYPE_CHECKING:
    from tune_digits.data.dataset import Task


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What networks say of rows that they were not trained on. n rows, K classes of all targets side by side.

    trial: whose networks. rows: int64 (n,), rows of the training set, ascending. proba: float32 (n, K), each target's
    probabilities add up to 1; the mean where a row was validated several times.
    """

    trial: int
    rows: np.ndarray
    proba: np.ndarray


@dataclass(frozen=True, slots=True)
class Best:
    """The configuration to send in. trial: its number. config: whole. difference: what it has other than the baseline,
    as the part of a study file that would stand under `trial:`; '{}' where it is the baseline."""

    trial: int
    config: TrialConfig
    difference: str


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run folder, read anew at each call: a search that still runs shows what it has so far.

    folder: the run folder. task: the data, where they are in memory and in no file; kept by `search`, None otherwise.
    """

    folder: runs.Run
    task: Task | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        return self.folder.path

    def study(self) -> Study:
        """The study as it was resolved when the run began."""
        return load_study(self.folder.study_file)

    def trials(self) -> pd.DataFrame:
        """All trials, one row each, by number.

        trial, role (baseline, start, search), state (running, finished, ended, pruned, failed), epochs, score (of the
        last epoch, on one fold; NaN before the first), best_score, seconds (training and validation), error (text or
        None), inference_images_per_second (NaN where it was not measured), then the searched keys.
        """
        return pd.DataFrame(
            [
                {
                    "trial": r.number,
                    "role": r.role,
                    "state": r.state,
                    "epochs": r.epochs,
                    "score": np.nan if r.score is None else r.score,
                    "best_score": np.nan if r.best_score is None else r.best_score,
                    "seconds": r.seconds,
                    "error": r.error,
                    "inference_images_per_second": r.inference_images_per_second or np.nan,
                    **r.searched,
                }
                for r in self.folder.trials()
            ]
        )

    def epochs(self) -> pd.DataFrame:
        """One row for each recorded epoch of each trial: trial, epoch (from 1), losses, score, lr, seconds."""
        reports = [
            {"trial": r.number, **e} for r in self.folder.trials() for e in self.folder.epochs(r.number)
        ]
        return pd.DataFrame(reports)

    def leaderboard(self) -> pd.DataFrame:
        """The confirmed configurations, best first: leaderboard.csv, with four columns more behind `confirmed_se`.

        answer: whether this is the one to send in. corrected, corrected_low, corrected_high: what that one scores when
        it is trained anew and judged on other images, with a 95 % interval; NaN for all others, and for macro F1. gain,
        gain_low, gain_high and verdict are against the baseline; seconds_per_training and trainings are the cost.
        Raises RunError before the confirmation has ended.
        """
        board = pd.read_csv(self._confirmed())
        answer = read_answer(self.folder)
        own = board["trial"] == answer.trial
        figures = {"corrected": answer.corrected, "corrected_low": answer.low, "corrected_high": answer.high}
        place = list(board.columns).index("confirmed_se") + 1
        board.insert(place, "answer", own)
        for name, value in reversed(figures.items()):
            board.insert(place + 1, name, np.where(own, np.nan if value is None else value, np.nan))
        return board

    def answer(self) -> Answer:
        """Which trial to send in, why that one, and its corrected score. Raises RunError before there is an answer."""
        return read_answer(self.folder)

    def best(self) -> Best:
        """The configuration of `answer()`. Raises RunError before there is an answer."""
        trial = self.answer().trial
        config = self._record(trial).config
        baseline = next((r.config for r in self.folder.trials() if r.role == "baseline"), TrialConfig())
        return Best(trial, config, write_yaml(difference(config, baseline)))

    def oof(self, trial: int | None = None) -> OutOfFold:
        """Out-of-fold probabilities of one confirmed trial; None: of the one of `answer()`.

        Only rows that a confirming training has validated are in it: all of them, unless `confirm.folds`,
        `cv.valid_rows` or `cv.holdout` left some out. Raises RunError where the trial is not confirmed.
        """
        number = self.answer().trial if trial is None else trial
        results = self.folder.folds(number)
        if not results:
            raise RunError(f"{self.path}: trial {number} is not confirmed; see leaderboard()")
        rows, places = np.unique(np.concatenate([r.valid_idx for r in results]), return_inverse=True)
        parts = np.split(places, np.cumsum([len(r.valid_idx) for r in results])[:-1])
        renumbered = [replace(r, valid_idx=part) for r, part in zip(results, parts, strict=True)]
        proba = out_of_fold(renumbered, len(rows))
        assert proba is not None, "each of these rows was validated"
        return OutOfFold(number, rows, proba)

    def _record(self, trial: int) -> runs.TrialRecord:
        found = next((r for r in self.folder.trials() if r.number == trial), None)
        if found is None:
            raise RunError(f"{self.path}: there is no trial {trial}; see trials()")
        return found

    def _confirmed(self) -> Path:
        if not self.folder.leaderboard.is_file():
            raise RunError(
                f"{self.path}: no leaderboard.csv yet; finish the search with: tune-digits search --resume {self.path}"
            )
        return self.folder.leaderboard


def difference(config: TrialConfig, baseline: TrialConfig) -> dict[str, Any]:
    """What `config` has other than `baseline`, as a tree: laid over the baseline's, part by part, it gives `config`.

    Of a part with another `name` it has the name and what differs from that part's defaults, and replaces all of it.
    """
    found: dict[str, Any] = {}
    own, other = config.model_dump(mode="json"), baseline.model_dump(mode="json")
    for part, values in own.items():
        if values.get("name") != other[part].get("name"):
            changed = getattr(config, part).model_dump(mode="json", exclude_defaults=True)
            found[part] = {"name": values["name"], **changed}
        elif changed := {key: value for key, value in values.items() if value != other[part][key]}:
            found[part] = changed
    return found


def open_run(path: str | Path = "runs/latest") -> OpenRun:
    """The run in a folder. Raises RunError where there is none, or one of another format."""
    return OpenRun(runs.open_run(Path(path)))
