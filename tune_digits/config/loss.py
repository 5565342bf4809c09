"""trial.loss: what is minimised."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tune_digits.config.given import FileOrFolds, SameFolds
from tune_digits.config.part import BelowOne, Fraction, NonNegative, Part, cite


class _Loss(Part):
    """The fields that every loss has."""

    label_smoothing: BelowOne = Field(
        0.0,
        description="fraction of the target probability that is spread evenly over all classes",
        json_schema_extra=cite("arXiv:1512.00567"),
    )
    head_weights: tuple[NonNegative, ...] = Field(
        (),
        description="weight of each head's loss, such as [0.7, 0.2, 0.1], divided by their sum; empty: all equal",
    )
    class_weights: Literal["none", "inverse", "balanced"] = Field(
        "none",
        description="weight of each class: inverse: samples / (classes * samples of the class); balanced: by the"
        " effective number of samples",
        json_schema_extra=cite("arXiv:1901.05555"),
    )
    class_balance: BelowOne = Field(
        0.999,
        description="beta of class_weights: balanced; at 0 all classes weigh the same, towards 1 it becomes inverse",
    )
    given_weights: tuple[NonNegative, ...] = Field(
        (),
        description="weight of each class, the classes of all heads one after the other; instead of class_weights",
    )
    reduction: Literal["mean", "ohem"] = Field(
        "mean",
        description="how the losses of a batch become one number: mean, or the mean of the largest ones only (ohem,"
        " online hard example mining)",
        json_schema_extra=cite("arXiv:1604.03540"),
    )
    ohem_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="fraction of a batch that ohem keeps at the start of the training"
    )
    ohem_start: NonNegative = Field(
        30.0,
        description="epoch, counted from 0, after which the fraction that ohem keeps begins to fall; in ohem_unit",
    )
    ohem_decay: NonNegative = Field(
        60.0,
        description="time in which the fraction that ohem keeps falls by a factor of e, in ohem_unit; 0: it stays"
        " constant",
    )
    ohem_unit: Literal["epochs", "training"] = Field(
        "epochs",
        description="unit of ohem_start and ohem_decay: epochs, or the whole training, so that 0.5 is half of it,"
        " however long it is",
    )
    ohem_min: Annotated[float, Field(gt=0, le=1)] = Field(
        0.65, description="smallest fraction of a batch that ohem keeps"
    )
    ohem_form: Literal["joint", "separate"] = Field(
        "joint",
        description="joint: a sample has one loss, that of all its heads and of its mixed target, and the"
        " round(fraction * batch) largest are kept; separate: each head, and in a mixed batch each of the two targets"
        " of a sample, keeps the int(fraction * batch) largest of its own losses; the means of those kept are weighted"
        " by head and by the mixing weights (for separate: Bengali.AI 2020)",
    )
    ohem_on: Literal["all", "mixed"] = Field(
        "all",
        description="the batches to which ohem applies: all of them, or only those that mix has mixed; the others take"
        " the mean of all losses",
    )
    center_weight: NonNegative = Field(
        0.0,
        description="weight of the center loss, which is added to the loss; 0: off",
        json_schema_extra=cite("Wen et al. 2016, ECCV"),
    )
    center_rate: Fraction = Field(
        0.5,
        description="fraction of the distance to the batch's mean features by which class centers move per update"
        " (alpha in the paper)",
    )
    teacher: FileOrFolds = Field(
        None,
        description="for distillation: .npz file with the teacher's probabilities `proba` (N, K) for the training rows;"
        " or {run: FOLDER, folds: same}: fold k learns from the network that fold k of that run's best configuration"
        " ended with, a training on all rows from that run's out-of-fold predictions",
    )
    teacher_weight: Fraction = Field(
        0.0,
        description="weight of the distillation loss; the loss on the labels has 1 minus this weight; 0: off",
        json_schema_extra=cite("arXiv:1503.02531"),
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        2.0, description="temperature of distillation: teacher's and student's logits are divided by it"
    )

    @field_validator("teacher")
    @classmethod
    def _exists(cls, value: str | SameFolds | None, info: ValidationInfo) -> str | SameFolds | None:
        # only where a study is read: a trained network does not need its teacher any more
        given = isinstance(value, str) and (info.context or {}).get("check_files")
        if given and not Path(str(value)).is_file():
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
        if self.reduction == "ohem" and self.ohem_unit == "training" and self.ohem_start >= 1:
            raise ValueError(
                f"ohem_start {self.ohem_start:g} with ohem_unit: training is {self.ohem_start:g} times the whole "
                "training, so the rate could not fall; give a fraction below 1"
            )
        if self.teacher_weight > 0 and self.teacher is None:
            raise ValueError("teacher_weight needs a teacher: the .npz file with its probabilities")
        return self

    def ohem_rate_at(self, epoch: int, epochs: int) -> float:
        """The fraction of a batch, in (0, 1], that ohem keeps in `epoch` (from 0) of a training of `epochs`."""
        unit = epochs if self.ohem_unit == "training" else 1
        late = epoch - self.ohem_start * unit
        if self.ohem_decay == 0 or late <= 0:
            return self.ohem_rate
        return max(self.ohem_min, self.ohem_rate * math.exp(-late / (self.ohem_decay * unit)))


class CrossEntropy(_Loss):
    """The usual loss of classification: the negative log-probability of the label."""

    source: ClassVar[str] = "Goodfellow et al. 2016, Deep Learning, 6.2.2.2"
    name: Literal["cross_entropy"] = "cross_entropy"


class Focal(_Loss):
    """Cross-entropy in which samples that are already classified well weigh less."""

    source: ClassVar[str] = "Lin et al. 2017, arXiv:1708.02002"
    name: Literal["focal"] = "focal"
    gamma: float = Field(
        2.0, ge=0, le=10, description="0 is cross-entropy; the larger, the more the hard samples count"
    )


class SymmetricCrossEntropy(_Loss):
    """Cross-entropy plus reverse cross-entropy, for labels of which some are wrong."""

    source: ClassVar[str] = "Wang et al. 2019, arXiv:1908.06112"
    name: Literal["symmetric_cross_entropy"] = "symmetric_cross_entropy"
    alpha: NonNegative = Field(0.1, description="weight of cross-entropy")
    beta: NonNegative = Field(1.0, description="weight of reverse cross-entropy")
    log_zero: float = Field(
        -4.0,
        ge=-100,
        lt=0,
        description="lower limit of the logarithm of a target (A in the paper); -4 treats targets below 0.018 as 0",
    )
    clip: BelowOne = Field(
        0.0,
        description="predictions and targets are set to at least this before their logarithm, and log_zero is not"
        " used; 1e-7 is the usual form in Keras, where a prediction that was clipped has no gradient; 0: off",
    )

    @model_validator(mode="after")
    def _one_lower_limit(self) -> SymmetricCrossEntropy:
        if self.clip > 0 and self.log_zero != -4.0:
            raise ValueError(
                f"log_zero {self.log_zero:g} has no effect with clip {self.clip:g}; leave one of them out"
            )
        return self


class GeneralizedCrossEntropy(_Loss):
    """A loss between cross-entropy and mean absolute error, for labels of which some are wrong."""

    source: ClassVar[str] = "Zhang and Sabuncu 2018, arXiv:1805.07836"
    name: Literal["generalized_cross_entropy"] = "generalized_cross_entropy"
    q: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="towards 0 the loss becomes cross-entropy, at 1 it is half the mean absolute error"
    )


Loss = Annotated[
    CrossEntropy | Focal | SymmetricCrossEntropy | GeneralizedCrossEntropy, Field(discriminator="name")
]
