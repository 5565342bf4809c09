"""A study without its trial space: data, folds, search, confirmation, ensemble and resources, checked together.

It stands above the data room, whose readers bring the options of `data`.
"""

from __future__ import annotations

from pydantic import model_validator

from tune_digits.config import Confirm, Cv, Ensemble, Part, Resources, Search
from tune_digits.data.formats import Auto, Data


class StudyParts(Part):
    """All parts of a study file but its trials: `study.load_study` reads those too."""

    data: Data = Auto()
    cv: Cv = Cv()
    search: Search = Search()
    confirm: Confirm = Confirm()
    ensemble: Ensemble = Ensemble()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _fold_exists(self) -> StudyParts:
        splits = self.cv.splits
        if splits is None:
            return self
        if self.search.fold >= splits:
            raise ValueError(f"search.fold is {self.search.fold}, but the folds are 0..{splits - 1}")
        if self.confirm.folds is not None and self.confirm.folds > splits:
            raise ValueError(f"confirm.folds is {self.confirm.folds}, but there are {splits} (cv)")
        return self
