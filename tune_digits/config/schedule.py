"""trial.schedule: the learning rate over the training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tune_digits.config.part import BelowOne, Fraction, NonNegative, Part


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
