"""The study around the trials: folds, search, confirmation, resources."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tune_digits.config.part import Part, Positive, cite


class RowGroups(Part):
    """Groups of equally many rows, one after the other."""

    rows_per_group: int = Field(ge=1, description="every so many consecutive rows are one group (one writer)")


class CombinationGroups(Part):
    """Groups of samples whose targets all agree."""

    combination: Literal[True] = Field(
        description="samples with the same class in every target are one group: a fold validates on combinations that "
        "it never trained on"
    )


def _form_of_groups(value: Any) -> str:
    if isinstance(value, str):
        return "column"
    of_combination = isinstance(value, CombinationGroups) or (
        isinstance(value, dict) and "combination" in value
    )
    return "combination" if of_combination else "rows"


Groups = Annotated[
    Annotated[str, Tag("column")]
    | Annotated[RowGroups, Tag("rows")]
    | Annotated[CombinationGroups, Tag("combination")],
    # without it a mistake in one form is reported as a mistake in all
    Discriminator(_form_of_groups),
]
GROUPED = ("grouped", "stratified_grouped")  # kinds of folds that keep groups whole


class Cv(Part):
    """How rows are divided into folds, and what is scored on them."""

    kind: Literal["auto", "stratified", "grouped", "stratified_grouped", "multilabel", "random"] = Field(
        "auto",
        description="how rows are divided into folds: evenly by class (stratified; several targets by their "
        "combination), in whole groups, both, each class of each target evenly (multilabel), or at random; "
        "auto: stratified, and in whole groups where there are groups",
    )
    folds: int = Field(5, ge=2, le=100, description="number of folds of the cross-validation")
    repeats: int = Field(1, ge=1, le=20, description="number of cross-validations, each with another shuffle")
    holdout: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="fraction of the rows that validates, in one fold per repeat in place of `folds`; none = off",
    )
    untouched: (
        Annotated[float, Field(gt=0, lt=1)] | Annotated[tuple[str, ...], Field(min_length=1)] | None
    ) = Field(
        None,
        description="labelled rows that nothing trains on or validates on, and that only `report --final` reads, once: "
        "a fraction of the rows (whole groups where there are groups), or names of groups in the column of groups; "
        "none = off",
    )
    fold_column: str | None = Field(
        None,
        description="column with the number of the fold in which each row validates; -1 = it always trains",
    )
    groups: Groups | None = Field(
        None,
        description="column, {rows_per_group: N} or {combination: true}: samples of one group stay in one fold",
    )
    lone_groups: Literal["error", "train"] = Field(
        "error",
        description="what to do with a group that holds all rows of a class: error, or train in every fold",
    )
    valid_rows: int | None = Field(
        None,
        ge=1,
        description="judge each fold on at most this many of its validation rows, and of the rows of each labelled set "
        "from elsewhere, drawn evenly by class; none = all",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="seed of the shuffle before the rows are divided into folds"
    )
    score: Literal["accuracy", "macro_recall", "macro_f1"] = Field(
        "accuracy", description="what is maximised"
    )
    score_weights: dict[str, Positive] | None = Field(
        None, description="weight of each target's score in the mean, by the target's name; none = all alike"
    )

    @property
    def splits(self) -> int | None:
        """How many folds there will be; None where only the column of folds knows."""
        if self.fold_column is not None:
            return None
        return self.repeats * (self.folds if self.holdout is None else 1)

    @model_validator(mode="after")
    def _parts_agree(self) -> Cv:
        if self.kind in GROUPED and self.groups is None:
            raise ValueError(f"kind {self.kind} needs groups: a column, or {{rows_per_group: N}}")
        if self.kind not in ("auto", *GROUPED) and self.groups is not None:
            raise ValueError(
                f"kind {self.kind} would split groups; use stratified_grouped, or leave groups out"
            )
        if self.lone_groups == "train" and self.groups is None:
            raise ValueError("lone_groups: train says what to do with groups, but there are no groups")
        if isinstance(self.untouched, tuple) and not isinstance(self.groups, str):
            raise ValueError("untouched names groups, so groups must be the column that they stand in")
        if self.fold_column is not None:
            fixed = {
                "kind": self.kind != "auto",
                "repeats": self.repeats > 1,
                "holdout": self.holdout is not None,
            }
            fixed["lone_groups"] = self.lone_groups == "train"
            if more := [key for key, given in fixed.items() if given]:
                raise ValueError(
                    f"fold_column alone says who validates where; leave out {', '.join(more)}, or fold_column"
                )
        return self


class Search(Part):
    """Which configurations are tried, how many, on which fold, and when a trial is stopped."""

    sampler: Literal["tpe", "random", "gp", "cmaes", "qmc", "grid", "nsga2"] = Field(
        "tpe",
        description="what proposes configurations; tpe: a model of the results so far (Tree-structured Parzen "
        "Estimator); random; gp: a Gaussian process; cmaes: a normal distribution that moves towards the best "
        "(covariance matrix adaptation; needs the package cmaes); qmc: a Sobol sequence, which fills the space more "
        "evenly than random points; grid: every point of a finite space once, in the order of the file; nsga2: a "
        "genetic algorithm for two objectives, the score and the images per second at inference. gp, cmaes, qmc and "
        "nsga2 draw at random what only some branches of a one_of have, and cmaes every choice; gp and cmaes learn "
        "nothing from a trial that the scheduler has stopped",
        json_schema_extra=cite(
            "tpe: Bergstra et al. 2011, multivariate as in Falkner et al. 2018, arXiv:1807.01774; gp: Optuna's "
            "GPSampler, expected improvement as in Ament et al. 2023, arXiv:2310.20708; cmaes: Hansen and Ostermeier "
            "2001; qmc: Sobol 1967; nsga2: Deb et al. 2002"
        ),
    )
    trials: int = Field(
        24, ge=1, description="different configurations to try; with sampler grid the default is all of them"
    )
    fold: int = Field(0, ge=0, description="number of the fold, from 0, that every trial trains")
    seed: int = Field(0, ge=0, description="seed of the sampler and of the trainings")
    startup_trials: int = Field(
        8,
        ge=1,
        description="random trials before tpe, gp or cmaes model the results; trials in a generation of nsga2",
    )
    scheduler: Literal["asha", "hyperband", "median", "none"] = Field(
        "asha",
        description="what stops weak trials; asha: at the grace period and at each multiple of it by a power of the "
        "reduction factor, a trial must be among the best one in so many; hyperband: ASHA with several grace periods, "
        "each for its fraction of the trials, the last of which are never stopped; median: a trial is stopped where "
        "its best score is below the median of the others' mean scores up to this epoch; none: every trial trains all "
        "epochs, which is the default with sampler nsga2, since its two objectives have no order",
        json_schema_extra=cite(
            "asha: Li et al. 2020, arXiv:1810.05934; hyperband: Li et al. 2018, arXiv:1603.06560, asynchronous as in "
            "the former; median: Golovin et al. 2017"
        ),
    )
    grace_period: int = Field(
        1, ge=1, description="epochs that every trial may train before the scheduler can stop it"
    )
    reduction_factor: int = Field(
        3, ge=2, description="asha and hyperband keep one in this many at each comparison"
    )
    min_samples: int = Field(
        3, ge=1, description="other trials that the median rule needs at an epoch before it stops one there"
    )
    time_budget: Positive | None = Field(None, description="seconds after which the search stops")

    @model_validator(mode="before")
    @classmethod
    def _two_objectives_stop_nothing(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("sampler") == "nsga2":
            return {"scheduler": "none", **given}
        return given

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Search:
        if self.sampler == "nsga2" and self.scheduler != "none":
            raise ValueError(
                f"scheduler {self.scheduler} compares trials by the score alone, and sampler nsga2 searches for two "
                "objectives: use scheduler none, or another sampler"
            )
        if self.sampler == "nsga2" and self.startup_trials < 2:
            raise ValueError("startup_trials is the size of a generation of nsga2, which needs 2 at least")
        for key in self.unused():
            if getattr(self, key) != type(self).model_fields[key].default:
                chosen = USED_WITH[key][0]
                name = getattr(self, chosen)
                raise ValueError(f"{key} has no effect with {chosen} {name}: leave it out")
        return self

    def unused(self) -> tuple[str, ...]:
        """The keys that have no effect with this sampler and this scheduler."""
        return tuple(key for key, (by, names) in USED_WITH.items() if getattr(self, by) not in names)


# key of Search -> the key that decides whether it has an effect, and the values of that with which it has
USED_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "startup_trials": ("sampler", ("tpe", "gp", "cmaes", "nsga2")),
    "grace_period": ("scheduler", ("asha", "hyperband", "median")),
    "reduction_factor": ("scheduler", ("asha", "hyperband")),
    "min_samples": ("scheduler", ("median",)),
}


BUDGET = r"^\d+(\.\d+)?[smhd]$"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Confirm(Part):
    """Which trials are trained again on other folds with fresh seeds, and how often."""

    candidates: int = Field(
        10, ge=1, description="best trials trained again; the baseline and the start points join them"
    )
    folds: int | None = Field(None, ge=1, description="how many of the folds; none = all")
    seeds: int = Field(1, ge=1, description="fresh seeds for each fold")
    budget: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=BUDGET)] | None = Field(
        None,
        description="confirmation as a race, of at most so many trainings, or for a time (20m, 1.5h): all candidates "
        "train the first two folds, then who is clearly behind the best leaves, and the others go on fold by fold and "
        "then seed by seed, beyond `seeds` too while the budget lasts; none = all candidates on all folds and seeds",
    )
    keep_weights: bool = Field(
        False,
        description="keep the weights of every confirming training, so that another run can start or learn from them:"
        " model.init_from or loss.teacher: {run: FOLDER, folds: same}",
    )


def seconds_of(time: str) -> float:
    """'90s', '20m', '1.5h', '2d' -> seconds."""
    return float(time[:-1]) * UNITS[time[-1]]


class Resources(Part):
    """What one training gets of the machine, and how many run at once."""

    cpus_per_trial: float = Field(1, gt=0, description="CPU cores, and threads, of one training")
    gpus_per_trial: float | None = Field(
        None, ge=0, description="fraction of a GPU for one training; none = 1/4 where there is a GPU, else 0"
    )
    max_concurrent: int | None = Field(None, ge=1, description="trainings at once; none = as many as fit")
    executor: Literal["ray", "inline"] = Field(
        "ray",
        description="ray: trainings side by side; inline: in the command's own process, one after the other",
    )
    fuse: Literal["auto", "never"] = Field(
        "auto",
        description="folds and seeds of one configuration as one network: auto = on a GPU, where a"
        " measurement at the start shows it to be faster",
    )
