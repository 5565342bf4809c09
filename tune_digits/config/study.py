"""The study around the trials: data, folds, search, confirmation, ensemble, resources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tune_digits.config.part import Part, Positive


class Data(Part):
    path: str | None = Field(None, description="folder or training file; none = scikit-learn's digits")
    format: Literal["auto", "digits", "kaggle_csv"] = Field("auto", description="how to read path")
    holdout: tuple[str, ...] | None = Field(
        None, description="extra labelled files, scored but not trained on; none = found by name, () = no"
    )
    subset: int | None = Field(
        None, ge=20, description="search and confirm on this many training samples, drawn evenly by class"
    )


class RowGroups(Part):
    rows_per_group: int = Field(ge=1, description="every run of this many rows is one group (one writer)")


Groups = Annotated[
    Annotated[str, Tag("column")] | Annotated[RowGroups, Tag("rows")],
    # without it a mistake in one form is reported as a mistake in both
    Discriminator(lambda value: "column" if isinstance(value, str) else "rows"),
]


class Cv(Part):
    folds: int = Field(5, ge=2, le=100, description="parts of the cross-validation")
    groups: Groups | None = Field(
        None, description="column, or {rows_per_group: N}: samples of one group stay in one fold"
    )
    seed: int = Field(0, ge=0, description="of the shuffle before the split")
    score: Literal["accuracy", "macro_recall"] = Field("accuracy", description="what is maximised")


class Search(Part):
    trials: int = Field(24, ge=1, description="configurations to try")
    fold: int = Field(0, ge=0, description="the fold that every trial trains")
    seed: int = Field(0, ge=0, description="of the sampler and of the trials")
    startup_trials: int = Field(8, ge=1, description="random trials before TPE models the results")
    grace_period: int = Field(1, ge=1, description="epochs that every trial may run")
    reduction_factor: int = Field(3, ge=2, description="ASHA keeps one in this many at each rung")
    time_budget: Positive | None = Field(None, description="seconds after which the search stops")


class Confirm(Part):
    candidates: int = Field(10, ge=1, description="best trials trained again; the baseline always joins them")
    folds: int | None = Field(None, ge=1, description="how many of the folds; none = all")
    seeds: int = Field(1, ge=1, description="fresh seeds for each fold")


class Ensemble(Part):
    top: int = Field(5, ge=1, description="members: the best confirmed configurations")
    prefer: Literal["confirmed", "out_of_domain"] = Field(
        "confirmed",
        description="out_of_domain: among those that cross-validation cannot tell from its best, by the holdouts",
    )
    seeds: int = Field(1, ge=1, description="trainings of each member")
    epochs: int | None = Field(None, ge=1, description="of the retraining; none = as in the trial")
    pseudo: Annotated[float, Field(gt=0, le=1)] | None = Field(
        0.95, description="least probability of the vote that makes a test sample a pseudo-label; none = off"
    )
    voting: Literal["soft", "hard"] = Field(
        "soft", description="mean of probabilities, or most frequent label"
    )
    tta: int = Field(1, ge=1, le=9, description="views per test image, shifted by up to one pixel")


class Resources(Part):
    cpus_per_trial: float = Field(1, gt=0, description="CPU cores, and threads, of one training")
    gpus_per_trial: float | None = Field(
        None, ge=0, description="part of a GPU for one training; none = 1/4 where there is a GPU, else 0"
    )
    max_concurrent: int | None = Field(None, ge=1, description="trainings at once; none = as many as fit")


class StudyParts(Part):
    """A study without its trial space; `space.load_study` adds that."""

    data: Data = Data()
    cv: Cv = Cv()
    search: Search = Search()
    confirm: Confirm = Confirm()
    ensemble: Ensemble = Ensemble()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _fold_exists(self) -> StudyParts:
        if self.search.fold >= self.cv.folds:
            raise ValueError(f"search.fold is {self.search.fold}, but the folds are 0..{self.cv.folds - 1}")
        if self.confirm.folds is not None and self.confirm.folds > self.cv.folds:
            raise ValueError(f"confirm.folds is {self.confirm.folds}, but cv.folds is {self.cv.folds}")
        return self
