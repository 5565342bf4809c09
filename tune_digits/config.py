"""The configuration, validated once here and trusted everywhere below.

A study (one YAML file) says what data to use, how to fold them, how to search, and the space of trials.
A trial's configuration is one tree, `TrialConfig`; the search space is that same tree with domains at its
leaves (see `space.py`). All models are frozen and refuse unknown keys.
"""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator


class Part(BaseModel):
    """A part of the configuration: immutable, and every key must be known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


# ── trial.model ──────────────────────────────────────────────────────────────────────────────────────


class _Cnn(Part):
    bn_momentum: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="weight of the newest batch in BatchNorm's running statistics (PyTorch's sense)"
    )
    bn_eps: Positive = Field(1e-5, description="added to BatchNorm's variance")


class LeanCnn(_Cnn):
    name: Literal["lean_cnn"] = "lean_cnn"
    width: int = Field(32, ge=4, le=512, description="channels of the first stage; 2x and 4x in the next two")
    depth: int = Field(2, ge=1, le=8, description="3x3 convolutions in each of the three stages")
    dropout: BelowOne = Field(0.2, description="dropout before the classifier")


class Keras8(_Cnn):
    name: Literal["keras8"] = "keras8"
    width: int = Field(64, ge=4, le=512, description="channels of the first stage; 2x and 4x in the next two")
    dropout: BelowOne = Field(0.25, description="dropout after each of the three stages")


Model = Annotated[LeanCnn | Keras8, Field(discriminator="name")]


# ── trial.augment, trial.mix ─────────────────────────────────────────────────────────────────────────


class Augment(Part):
    """Random changes of the training images; parameters are drawn anew for each sample."""

    backend: Literal["batched", "albumentations"] = Field(
        "batched", description="batched: on the device, whole batches; albumentations: per image in threads"
    )
    strength: float = Field(
        1.0,
        ge=0,
        le=4,
        description="multiplies every magnitude below, each clipped to its own limit; not a pipeline",
    )
    p: Fraction = Field(1.0, description="probability that a sample is augmented at all, by a pipeline too")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees counter-clockwise, uniform in +-rotate")
    shift: float = Field(0.0, ge=0, le=0.5, description="part of the side, uniform in +-shift, each axis")
    zoom: float = Field(0.0, ge=0, le=0.9, description="scale uniform in 1+-zoom, each axis")
    shear: float = Field(0.0, ge=0, le=60, description="degrees, uniform in +-shear, horizontal")
    elastic: float = Field(
        0.0, ge=0, le=0.2, description="standard deviation of a smooth displacement, part of the shorter side"
    )
    brightness: Fraction = Field(0.0, description="added, uniform in +-brightness of the full range")
    contrast: Fraction = Field(0.0, description="factor about the image mean, uniform in 1+-contrast")
    gamma: float = Field(0.0, ge=0, le=2, description="exponent exp(u), u uniform in +-gamma")
    cutout: Fraction = Field(
        0.0, description="side of a square set to 0, uniform in 0..cutout of the shorter side"
    )
    pipeline: dict[str, Any] | None = Field(
        None,
        description="a serialized albumentations pipeline (A.to_dict) that keeps uint8 and the shape; replaces the magnitudes",
    )

    @model_validator(mode="after")
    def _pipeline_needs_its_backend(self) -> Augment:
        if self.pipeline is not None and self.backend != "albumentations":
            raise ValueError("a pipeline needs `backend: albumentations`")
        return self


class Mix(Part):
    """Mixing of pairs within a batch; with both alphas > 0 each batch takes one of the two at random."""

    p: Fraction = Field(1.0, description="probability that a batch is mixed")
    mixup_alpha: float = Field(0.0, ge=0, le=8, description="MixUp with lambda ~ Beta(alpha, alpha); 0 = off")
    cutmix_alpha: float = Field(0.0, ge=0, le=8, description="CutMix with area ~ Beta(alpha, alpha); 0 = off")


# ── trial.loss ───────────────────────────────────────────────────────────────────────────────────────


class _Loss(Part):
    label_smoothing: BelowOne = Field(0.0, description="part of the target spread evenly over the classes")


class CrossEntropy(_Loss):
    name: Literal["cross_entropy"] = "cross_entropy"


class Focal(_Loss):
    name: Literal["focal"] = "focal"
    gamma: float = Field(
        2.0, ge=0, le=10, description="0 is cross-entropy; larger looks at hard samples more"
    )


class SymmetricCrossEntropy(_Loss):
    name: Literal["symmetric_cross_entropy"] = "symmetric_cross_entropy"
    alpha: NonNegative = Field(0.1, description="weight of cross-entropy")
    beta: NonNegative = Field(1.0, description="weight of reverse cross-entropy")


Loss = Annotated[CrossEntropy | Focal | SymmetricCrossEntropy, Field(discriminator="name")]


# ── trial.optimizer, trial.schedule, trial.train ─────────────────────────────────────────────────────


class _Optimizer(Part):
    weight_decay: NonNegative = Field(0.0, description="L2 (decoupled in adamw); not on norms and biases")
    decay_all: bool = Field(False, description="apply weight_decay to norms and biases too")


class Sgd(_Optimizer):
    name: Literal["sgd"] = "sgd"
    lr: Positive = Field(0.05, description="peak learning rate")
    momentum: BelowOne = 0.9
    nesterov: bool = True

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self


class _AdamLike(_Optimizer):
    lr: Positive = Field(2e-3, description="peak learning rate")
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    eps: Positive = 1e-8


class Adam(_AdamLike):
    name: Literal["adam"] = "adam"


class AdamW(_AdamLike):
    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = Field(1e-2, description="decoupled; not on norms and biases")


class RmsProp(_Optimizer):
    name: Literal["rmsprop"] = "rmsprop"
    lr: Positive = Field(1e-3, description="peak learning rate")
    alpha: BelowOne = Field(0.9, description="smoothing of the squared gradient (rho in Keras)")
    momentum: BelowOne = 0.0
    eps: Positive = 1e-8


Optimizer = Annotated[Sgd | Adam | AdamW | RmsProp, Field(discriminator="name")]


class _Schedule(Part):
    warmup_epochs: NonNegative = Field(0.0, description="linear rise from 0 to the first value, in epochs")


class Constant(_Schedule):
    name: Literal["constant"] = "constant"


class Cosine(_Schedule):
    name: Literal["cosine"] = "cosine"
    final: Fraction = Field(0.0, description="last multiplier of the learning rate")


class OneCycle(_Schedule):
    """Rise and fall along cosines (Smith and Topin 2019, as in PyTorch's OneCycleLR)."""

    name: Literal["one_cycle"] = "one_cycle"
    peak_at: Annotated[float, Field(gt=0, lt=1)] = Field(0.3, description="part of the training at the peak")
    start: Fraction = Field(0.04, description="first multiplier of the learning rate")
    final: Fraction = Field(0.0, description="last multiplier of the learning rate")


class Step(_Schedule):
    name: Literal["step"] = "step"
    milestones: tuple[Fraction, ...] = Field(
        (0.5, 0.75), description="parts of the training after which lr falls"
    )
    factor: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="what lr is multiplied by at each")


class Plateau(_Schedule):
    """Falls when the validation loss (training loss where there is none) has not improved for `patience` epochs."""

    name: Literal["plateau"] = "plateau"
    patience: int = Field(2, ge=0, description="epochs without improvement that are borne")
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.3, description="what lr is multiplied by")
    min_delta: BelowOne = Field(1e-4, description="relative improvement that counts")


Schedule = Annotated[Constant | Cosine | OneCycle | Step | Plateau, Field(discriminator="name")]


class Train(Part):
    epochs: int = Field(8, ge=1, le=10_000, description="passes over the training part")
    batch_size: int = Field(128, ge=2, le=65_536, description="samples per weight update")
    ema_decay: BelowOne = Field(0.0, description="decay per update of the averaged weights; 0 = off")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 autocast on a GPU, float32 on a CPU"
    )


class TrialConfig(Part):
    """Everything one training needs to know, besides its data, fold and seed."""

    model: Model = LeanCnn()
    augment: Augment = Augment()
    mix: Mix = Mix()
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    schedule: Schedule = OneCycle()
    train: Train = Train()


# ── the study around the trials ──────────────────────────────────────────────────────────────────────


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


def variants(union: Any) -> dict[str, type[Part]]:
    """The models of a union discriminated on `name`: name -> class. `variants(Loss)["focal"]` is Focal."""
    # a field's annotation has lost the Annotated wrapper that the alias has
    models = get_args(union if isinstance(union, UnionType) else get_args(union)[0])
    return {m.model_fields["name"].default: m for m in models}
