"""Everything that a report is made of, read from a run folder, and from the data set where that is to hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_digits.data.dataset import Task
from tune_digits.disk import read_json
from tune_digits.errors import RunError
from tune_digits.report.tables import KeyAxis, curves_frame, key_axes, trials_frame
from tune_digits.runs import FoldResult, Run, TrialRecord, Truth
from tune_digits.study import Study
from tune_digits.tune.answer import Answer, read_answer
from tune_digits.tune.search import rank


@dataclass(frozen=True, slots=True)
class Material:
    """board: leaderboard.csv; ablation: ablation.csv; ensemble: its report.json; final: the looks of its final.json;
    each None where the run has not come that far. results: the confirming trainings. task: the data set, or None where
    it was not read; why_no_data: a sentence that says why."""

    run: Run
    study: Study
    facts: dict[str, Any]
    records: list[TrialRecord]
    trials: pd.DataFrame
    curves: pd.DataFrame
    axes: list[KeyAxis]
    board: pd.DataFrame | None
    answer: Answer | None
    results: list[FoldResult]
    truth: Truth | None
    ablation: pd.DataFrame | None
    ensemble: dict[str, Any] | None
    final: list[dict[str, Any]]
    task: Task | None
    why_no_data: str

    @property
    def metric(self) -> str:
        return str(self.study.cv.score).replace("_", " ")

    @property
    def by_number(self) -> dict[int, TrialRecord]:
        return {r.number: r for r in self.records}

    @property
    def baseline(self) -> TrialRecord | None:
        return next((r for r in self.records if r.role == "baseline"), None)

    @property
    def confirmed(self) -> list[int]:
        """The numbers of the confirmed trials, best first."""
        return [] if self.board is None else self.board["trial"].tolist()

    @property
    def chosen(self) -> int | None:
        """The trial that the page is about: what is to be sent in, or else the best so far; None before any score."""
        if self.answer is not None:
            return self.answer.trial
        ranked = rank(self.records)
        return ranked[0].number if ranked else None


def read_material(run: Run, study: Study, task: Task | None = None, why_no_data: str = "") -> Material:
    """Read a run folder in whatever state it is. task: the data that the run was begun with.

    Raises RunError for a damaged file, and where task is another one than the run's.
    """
    facts = run.facts()
    begun_with = facts.get("data", {}).get("fingerprint")
    if task is not None and begun_with not in (None, task.fingerprint):
        raise RunError(f"{run.path}: the data are not those that it was begun with")
    records = run.trials()
    trials = trials_frame(records)
    ensemble, final = run.ensemble / "report.json", run.ensemble / "final.json"
    return Material(
        run,
        study,
        facts,
        records,
        trials,
        curves_frame(run, records),
        key_axes(study.space, trials),
        _table(run.leaderboard),
        None if run.answer() is None else read_answer(run),
        run.folds(),
        run.truth(),
        _table(run.ablation / "ablation.csv"),
        read_json(ensemble) if ensemble.exists() else None,
        read_json(final)["looks"] if final.exists() else [],
        task,
        why_no_data,
    )


def _table(path: Any) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        return pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise RunError(f"{path}: damaged ({error})") from None
