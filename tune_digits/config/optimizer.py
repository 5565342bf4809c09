"""trial.optimizer: how weights are updated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tune_digits.config.part import BelowOne, NonNegative, Part, Positive


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
