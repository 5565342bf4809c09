"""One trial: everything a training needs to know, besides its data, fold and seed."""

from __future__ import annotations

from tune_digits.config.augment import Augment
from tune_digits.config.loss import CrossEntropy, Loss
from tune_digits.config.mix import Mix
from tune_digits.config.model import LeanCnn, Model
from tune_digits.config.optimizer import AdamW, Optimizer
from tune_digits.config.part import Part
from tune_digits.config.schedule import OneCycle, Schedule
from tune_digits.config.train import Train


class TrialConfig(Part):
    """Everything one training needs to know, besides its data, fold and seed."""

    model: Model = LeanCnn()
    augment: Augment = Augment()
    mix: Mix = Mix()
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    schedule: Schedule = OneCycle()
    train: Train = Train()
