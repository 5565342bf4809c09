"""One trial: everything a training needs to know, besides its data, fold and seed."""

from __future__ import annotations

from pydantic import model_validator

from tune_digits.config.augment import Augment
from tune_digits.config.loss import CrossEntropy, Loss
from tune_digits.config.mix import Mix
from tune_digits.config.model import LeanCnn, Model
from tune_digits.config.optimizer import AdamW, Optimizer
from tune_digits.config.part import Part
from tune_digits.config.schedule import OneCycle, Plateau, Schedule
from tune_digits.config.train import Train


class TrialConfig(Part):
    """Everything one training needs to know, besides its data, fold and seed.

    Combinations that cannot train are refused, and so are settings that would have no effect.
    """

    model: Model = LeanCnn()
    augment: Augment = Augment()
    mix: Mix = Mix()
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    schedule: Schedule = OneCycle()
    train: Train = Train()

    @model_validator(mode="after")
    def _parts_go_together(self) -> TrialConfig:
        epochs, mixes = self.train.epochs, self.mix.p > 0 and bool(self.mix.kinds())
        if mixes and self.mix.off_last >= epochs:
            raise ValueError(
                f"mix.off_last {self.mix.off_last} leaves none of the {epochs} epochs (train.epochs) to mix in"
            )
        ohem = self.loss.reduction == "ohem"
        # a constant rate of 1 is allowed: it may be the end of a searched range; one that falls after a fraction of the
        # training may keep every sample where the training is cut to very few epochs
        falls = ohem and self.loss.ohem_decay > 0 and self.loss.ohem_unit == "epochs"
        if falls and self.loss.ohem_rate_at(epochs - 1, epochs) == 1:
            raise ValueError(
                f"loss.reduction: ohem would keep every sample in all {epochs} epochs (train.epochs): its rate "
                f"falls only after epoch {self.loss.ohem_start:g}; lower loss.ohem_start or loss.ohem_rate, or give "
                "ohem_start and ohem_decay as fractions of the training (loss.ohem_unit: training)"
            )
        if ohem and self.loss.ohem_on == "mixed" and not mixes:
            raise ValueError(
                "loss.ohem_on: mixed applies ohem to mixed batches alone, and mix is off: set mix.mixup_alpha, "
                "cutmix_alpha or fmix_alpha, or loss.ohem_on: all"
            )
        if self.augment.augmix_jsd > 0:
            if mixes:
                raise ValueError(
                    "augment.augmix_jsd compares augmented versions of one image, but mix makes one image of two: "
                    "use one of them"
                )
            if self.augment.backend != "batched":
                raise ValueError(
                    "augment.augmix_jsd needs each batch augmented twice: set augment.backend: batched"
                )
        if self.train.snapshots and self.schedule.name not in ("cosine_restarts", "triangular"):
            raise ValueError(
                f"train.snapshots keeps the weights at the end of each cycle, and schedule {self.schedule.name} has "
                "no cycles: use cosine_restarts or triangular, or leave snapshots out"
            )
        if self.train.snapshots and getattr(self.schedule, "unit", "epochs") == "updates":
            raise ValueError(
                "train.snapshots keeps the weights at the ends of epochs, and cycles that are counted in updates "
                "(schedule.unit) may end within them: use schedule.unit: epochs, or leave snapshots out"
            )
        if isinstance(self.schedule, Plateau) and self.schedule.min_lr > self.optimizer.lr:
            raise ValueError(
                f"schedule.min_lr {self.schedule.min_lr:g} is more than optimizer.lr {self.optimizer.lr:g}, so the "
                "learning rate could not fall"
            )
        return self
