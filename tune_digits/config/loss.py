"""trial.loss: what is minimised."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tune_digits.config.part import BelowOne, NonNegative, Part


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
