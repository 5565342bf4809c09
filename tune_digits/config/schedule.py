"""trial.schedule: the learning rate over the training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tune_digits.config.part import BelowOne, Fraction, NonNegative, Part

Epochs = Annotated[int, Field(ge=1, le=10_000)]
Factor = Annotated[float, Field(gt=0, le=1)]


class _Schedule(Part):
    warmup_epochs: NonNegative = Field(0.0, description="linear rise from 0 to the first value, in epochs")


class Constant(_Schedule):
    name: Literal["constant"] = "constant"


class Exponential(_Schedule):
    name: Literal["exponential"] = "exponential"
    factor: Factor = Field(0.95, description="what lr is multiplied by in an epoch, a little at every update")


class Cosine(_Schedule):
    name: Literal["cosine"] = "cosine"
    final: Fraction = Field(0.0, description="last multiplier of the learning rate")


class CosineRestarts(_Schedule):
    """Cosines one after the other (SGDR, arXiv:1608.03983); the end of each is a place for a snapshot."""

    name: Literal["cosine_restarts"] = "cosine_restarts"
    first: Epochs = Field(10, description="epochs of the first cycle (T_0)")
    growth: int = Field(1, ge=1, le=10, description="how many times as long each next cycle is (T_mult)")
    final: Fraction = Field(0.0, description="multiplier of the learning rate that a cycle falls to")


class OneCycle(_Schedule):
    """Rise and fall along cosines (Smith and Topin 2019, as in PyTorch's OneCycleLR)."""

    name: Literal["one_cycle"] = "one_cycle"
    peak_at: Annotated[float, Field(gt=0, lt=1)] = Field(0.3, description="part of the training at the peak")
    start: Fraction = Field(0.04, description="first multiplier of the learning rate")
    final: Fraction = Field(0.0, description="last multiplier of the learning rate")


class Triangular(_Schedule):
    """Up and down in straight lines, again and again (cyclical rates, arXiv:1506.01186)."""

    name: Literal["triangular"] = "triangular"
    cycle: Epochs = Field(4, description="epochs of one rise and fall")
    peak_at: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="part of a cycle at the peak")
    low: Factor = Field(0.04, description="multiplier of the learning rate where a cycle begins and ends")
    shrink: Factor = Field(1.0, description="factor of the height of each next triangle (triangular2: 0.5)")


class Step(_Schedule):
    name: Literal["step"] = "step"
    milestones: tuple[Fraction, ...] = Field(
        (0.5, 0.75), description="parts of the training after which lr falls"
    )
    factor: Factor = Field(0.1, description="what lr is multiplied by at each")


class StepEpochs(_Schedule):
    """Falls after given epochs, by a factor each; a training that is shorter than a milestone never meets it."""

    name: Literal["step_epochs"] = "step_epochs"
    milestones: tuple[Annotated[float, Field(ge=0, le=10_000)], ...] = Field(
        (35.0, 43.0, 48.0), description="finished epochs after which lr falls, the warm-up's among them"
    )
    factors: tuple[Factor, ...] = Field(
        (0.25,), description="what lr is multiplied by at each milestone; a single one stands for all"
    )

    @model_validator(mode="after")
    def _one_factor_each(self) -> StepEpochs:
        if len(self.factors) not in (1, len(self.milestones)):
            raise ValueError(
                f"factors needs one number, or one per milestone: {len(self.milestones)}, not {len(self.factors)}"
            )
        return self


class Plateau(_Schedule):
    """Falls when the watched loss has not improved for `patience` epochs."""

    name: Literal["plateau"] = "plateau"
    monitor: Literal["valid", "train"] = Field(
        "valid", description="which loss; valid means the training loss where nothing is validated"
    )
    patience: int = Field(2, ge=0, description="epochs without improvement that are borne")
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.3, description="what lr is multiplied by")
    min_delta: BelowOne = Field(1e-4, description="relative improvement that counts")
    final: Fraction = Field(0.0, description="multiplier of the learning rate below which it does not fall")


Schedule = Annotated[
    Constant | Exponential | Cosine | CosineRestarts | OneCycle | Triangular | Step | StepEpochs | Plateau,
    Field(discriminator="name"),
]
