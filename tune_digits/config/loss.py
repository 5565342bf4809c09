"""trial.loss: what is minimised."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tune_digits.config.part import BelowOne, Fraction, NonNegative, Part


class _Loss(Part):
    label_smoothing: BelowOne = Field(
        0.0, description="part of the target spread evenly over the classes (arXiv:1512.00567)"
    )
    head_weights: tuple[NonNegative, ...] = Field(
        (), description="one per head, such as [0.7, 0.2, 0.1], divided by their sum; empty = all equal"
    )
    class_weights: Literal["none", "inverse", "balanced"] = Field(
        "none",
        description="inverse: samples / (classes * count); balanced: by effective number (arXiv:1901.05555)",
    )
    class_balance: BelowOne = Field(
        0.999, description="beta of class_weights: balanced; 0 = all alike, towards 1 = inverse"
    )
    given_weights: tuple[NonNegative, ...] = Field(
        (), description="one weight per class column, all heads side by side; in place of class_weights"
    )
    reduction: Literal["mean", "ohem"] = Field(
        "mean", description="of a batch: mean, or mean of its hardest part alone (ohem, arXiv:1604.03540)"
    )
    ohem_rate: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="part that ohem keeps at first")
    ohem_start: int = Field(30, ge=0, description="epoch (from 0) at which ohem's rate begins to fall")
    ohem_decay: NonNegative = Field(
        60.0, description="epochs in which ohem's rate falls by the factor e; 0 = it does not fall"
    )
    ohem_min: Annotated[float, Field(gt=0, le=1)] = Field(
        0.65, description="part under which ohem's rate does not fall"
    )
    center_weight: NonNegative = Field(
        0.0, description="weight of center loss, added (Wen et al. 2016, ECCV); 0 = off"
    )
    center_rate: Fraction = Field(0.5, description="how far the centers go in an update (alpha in the paper)")
    teacher: str | None = Field(
        None, description="an .npz with probabilities `proba` (N, K) of the training rows, to distil from"
    )
    teacher_weight: Fraction = Field(
        0.0, description="part of the loss that is distillation from teacher (arXiv:1503.02531); 0 = off"
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        2.0, description="of distillation: logits of both sides are divided by it"
    )

    @field_validator("teacher")
    @classmethod
    def _exists(cls, value: str | None, info: ValidationInfo) -> str | None:
        # only where a study is read: a trained network needs its teacher no more
        if value is not None and (info.context or {}).get("check_files") and not Path(value).is_file():
            raise ValueError("there is no such file; give an .npz with the array `proba`")
        return value

    @model_validator(mode="after")
    def _knobs_go_together(self) -> _Loss:
        if self.head_weights and sum(self.head_weights) == 0:
            raise ValueError("head_weights: one of them must be more than 0")
        if self.given_weights and sum(self.given_weights) == 0:
            raise ValueError("given_weights: one of them must be more than 0")
        if self.given_weights and self.class_weights != "none":
            raise ValueError(
                f"given_weights and class_weights: {self.class_weights} exclude each other; leave one out"
            )
        if self.reduction == "ohem" and self.ohem_decay and self.ohem_min > self.ohem_rate:
            raise ValueError(
                f"ohem_min {self.ohem_min:g} is more than ohem_rate {self.ohem_rate:g}, so the rate could not fall"
            )
        if self.teacher_weight > 0 and self.teacher is None:
            raise ValueError("teacher_weight needs a teacher: the .npz file with its probabilities")
        return self

    def ohem_rate_at(self, epoch: int) -> float:
        """The part of a batch that ohem keeps in `epoch` (from 0)."""
        if self.ohem_decay == 0 or epoch <= self.ohem_start:
            return self.ohem_rate
        return max(self.ohem_min, self.ohem_rate * math.exp(-(epoch - self.ohem_start) / self.ohem_decay))


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
    log_zero: float = Field(
        -4.0, ge=-100, lt=0, description="log of a target is not under this: -4 clamps targets at 0.018"
    )


class GeneralizedCrossEntropy(_Loss):
    name: Literal["generalized_cross_entropy"] = "generalized_cross_entropy"
    q: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="towards 0 it is cross-entropy, at 1 the mean absolute error / 2"
    )


Loss = Annotated[
    CrossEntropy | Focal | SymmetricCrossEntropy | GeneralizedCrossEntropy, Field(discriminator="name")
]
