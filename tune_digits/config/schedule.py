"""trial.schedule: the learning rate over the training, as a factor of the optimizer's peak learning rate."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from tune_digits.config.part import Fraction, NonNegative, Part

Length = Annotated[int, Field(ge=1, le=1_000_000)]
Factor = Annotated[float, Field(gt=0, le=1)]


class _Schedule(Part):
    """The field that every schedule has."""

    warmup_epochs: NonNegative = Field(
        0.0, description="epochs of a linear rise from 0 to the schedule's first value, before the schedule"
    )


class _Gradual(_Schedule):
    """The field of schedules that change the learning rate gradually."""

    change_every: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["epoch"] = Field(
        1,
        description="updates from one change of the learning rate to the next; epoch: it is the same for all updates"
        " of an epoch; counted from the end of the warm-up",
    )


CycleUnit = Literal["epochs", "updates"]


class Constant(_Schedule):
    """The same learning rate throughout."""

    source: ClassVar[str] = ""
    name: Literal["constant"] = "constant"


class Exponential(_Gradual):
    """An exponential decay, a little at every update or in one step per epoch."""

    source: ClassVar[str] = "PyTorch's ExponentialLR, with change_every: epoch"
    name: Literal["exponential"] = "exponential"
    factor: Factor = Field(0.95, description="factor of the learning rate from one epoch to the next")


class Cosine(_Gradual):
    """A fall along half a cosine."""

    source: ClassVar[str] = "arXiv:1608.03983, without restarts"
    name: Literal["cosine"] = "cosine"
    final: Fraction = Field(0.0, description="factor of the learning rate at the end")


class CosineRestarts(_Gradual):
    """Falls along half a cosine, each starting from the peak again (SGDR). Each cycle's end can be a snapshot."""

    source: ClassVar[str] = "arXiv:1608.03983"
    name: Literal["cosine_restarts"] = "cosine_restarts"
    first: Length = Field(10, description="length of the first cycle (T_0 in the paper), in `unit`")
    unit: CycleUnit = Field("epochs", description="unit of `first`: epochs or updates")
    growth: int = Field(
        1, ge=1, le=10, description="length of each cycle relative to the one before it (T_mult in the paper)"
    )
    final: Fraction = Field(0.0, description="factor of the learning rate at the end of a cycle")


class OneCycle(_Gradual):
    """One rise and one fall, both along half a cosine."""

    source: ClassVar[str] = "Smith and Topin 2017, arXiv:1708.07120; PyTorch's OneCycleLR in two phases"
    name: Literal["one_cycle"] = "one_cycle"
    peak_at: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="fraction of the training at which the learning rate peaks"
    )
    start: Fraction = Field(0.04, description="factor of the learning rate at the start")
    final: Fraction = Field(0.0, description="factor of the learning rate at the end")


class Triangular(_Gradual):
    """Cycles of a linear rise and a linear fall (cyclical learning rates)."""

    source: ClassVar[str] = "arXiv:1506.01186"
    name: Literal["triangular"] = "triangular"
    cycle: Length = Field(4, description="length of one rise and fall, in `unit`")
    unit: CycleUnit = Field("epochs", description="unit of `cycle`: epochs or updates")
    peak_at: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="fraction of a cycle at which the learning rate peaks"
    )
    low: Factor = Field(0.04, description="factor of the learning rate where a cycle begins and ends")
    shrink: Factor = Field(
        1.0,
        description="height of each cycle's peak above low, relative to the one before it (triangular2: 0.5)",
    )


class Step(_Schedule):
    """Sudden falls after given fractions of the training."""

    source: ClassVar[str] = "PyTorch's MultiStepLR"
    name: Literal["step"] = "step"
    milestones: tuple[Fraction, ...] = Field(
        (0.5, 0.75), description="fractions of the training after which the learning rate falls"
    )
    factor: Factor = Field(0.1, description="factor of the learning rate at each milestone")


class StepEpochs(_Schedule):
    """Sudden falls after given epochs. A training that is shorter than a milestone does not reach that fall."""

    source: ClassVar[str] = ""
    name: Literal["step_epochs"] = "step_epochs"
    milestones: tuple[Annotated[float, Field(ge=0, le=10_000)], ...] = Field(
        (35.0, 43.0, 48.0),
        description="finished epochs, those of the warm-up included, after which the learning rate falls",
    )
    factors: tuple[Factor, ...] = Field(
        (0.25,), description="factor of the learning rate at each milestone; a single one holds for all"
    )

    @model_validator(mode="after")
    def _one_factor_each(self) -> StepEpochs:
        if len(self.factors) not in (1, len(self.milestones)):
            raise ValueError(
                f"factors needs one number, or one per milestone: {len(self.milestones)}, not {len(self.factors)}"
            )
        return self


class Plateau(_Schedule):
    """A fall whenever the monitored loss has not improved for some epochs."""

    source: ClassVar[str] = "PyTorch's ReduceLROnPlateau, Keras's ReduceLROnPlateau"
    name: Literal["plateau"] = "plateau"
    monitor: Literal["valid", "train"] = Field(
        "valid",
        description="the loss that is monitored; valid: the validation loss (train.valid_loss says which loss that"
        " is). Where nothing is validated, valid means the training loss: in the ensemble, which trains on all rows,"
        " and in the confirmation with train.keep: last",
    )
    arithmetic: Literal["torch", "keras"] = Field(
        "torch",
        description="the library whose way of counting is used; torch: an epoch has improved where its loss is less"
        " than (1 - min_delta) times the best one, and the rate falls after more than `patience` epochs in a row"
        " without improvement; keras: it has improved where its loss is less than the best one minus min_delta, and"
        " the rate falls after `patience` epochs (0 means 1)",
    )
    patience: int = Field(
        2, ge=0, description="epochs without improvement before a fall; arithmetic says how they are counted"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="factor of the learning rate at each fall"
    )
    min_delta: NonNegative = Field(
        1e-4,
        description="smallest improvement that counts: a fraction of the best loss, below 1, or with arithmetic: keras"
        " a difference of losses",
    )
    final: Fraction = Field(0.0, description="smallest factor of the learning rate")
    min_lr: NonNegative = Field(
        0.0, description="smallest learning rate, beside `final`; at most the peak learning rate"
    )

    @model_validator(mode="after")
    def _an_improvement_is_possible(self) -> Plateau:
        if self.arithmetic == "torch" and self.min_delta >= 1:
            raise ValueError(
                f"min_delta {self.min_delta:g} is a fraction of the best loss, below 1; for a difference of losses "
                "set arithmetic: keras"
            )
        return self


Schedule = Annotated[
    Constant | Exponential | Cosine | CosineRestarts | OneCycle | Triangular | Step | StepEpochs | Plateau,
    Field(discriminator="name"),
]
