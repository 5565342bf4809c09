"""trial.optimizer: how weights are updated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tune_digits.config.part import BelowOne, Fraction, NonNegative, Part, Positive

Arithmetic = Annotated[
    Literal["torch", "keras"],
    Field(
        description="whose formula; keras: epsilon where Keras 3 has it, momentum that holds lr, "
        "weight_decay decoupled (docs/keras-parity.md)"
    ),
]


class _Optimizer(Part):
    weight_decay: NonNegative = Field(0.0, description="L2 (decoupled in adamw); not on norms and biases")
    decay_all: bool = Field(False, description="apply weight_decay to norms and biases too")
    clip_norm: NonNegative = Field(
        0.0, description="largest norm of all gradients together; larger ones are scaled down to it; 0 = off"
    )
    centralize: bool = Field(
        False, description="subtract from each output's gradient its mean (weights only; arXiv:2004.01461)"
    )
    bias_lr: Positive = Field(1.0, description="factor of lr for biases, those of norms among them")
    head_lr: Positive = Field(1.0, description="factor of lr for the classifier, the last dense layer")
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="factor of lr for every layer further away from the classifier; 1 = off"
    )
    lookahead_k: int = Field(
        0,
        ge=0,
        le=1000,
        description="updates between two meetings with the slow weights (arXiv:1907.08610); 0 = no Lookahead",
    )
    lookahead_alpha: Fraction = Field(
        0.5, description="part of the way that the slow weights go at a meeting"
    )


class Sgd(_Optimizer):
    name: Literal["sgd"] = "sgd"
    lr: Positive = Field(0.05, description="peak learning rate")
    momentum: BelowOne = Field(0.9, description="part of the last step that is taken again")
    nesterov: bool = Field(True, description="momentum that looks ahead")
    arithmetic: Arithmetic = "torch"

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self


class _AdamLike(_Optimizer):
    lr: Positive = Field(2e-3, description="peak learning rate")
    beta1: BelowOne = Field(0.9, description="smoothing of the gradient")
    beta2: BelowOne = Field(0.999, description="smoothing of the squared gradient")
    eps: Positive = Field(1e-8, description="added to the root of the squared gradient (1e-7 in Keras)")


class Adam(_AdamLike):
    name: Literal["adam"] = "adam"
    arithmetic: Arithmetic = "torch"


class AdamW(_AdamLike):
    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = Field(1e-2, description="decoupled; not on norms and biases")
    arithmetic: Arithmetic = "torch"


class RAdam(_AdamLike):
    """Adam whose first updates are held back while the variance is uncertain (arXiv:1908.03265)."""

    name: Literal["radam"] = "radam"
    weight_decay: NonNegative = Field(0.0, description="decoupled; not on norms and biases")


class NAdam(_AdamLike):
    """Adam with Nesterov's momentum (Dozat 2016)."""

    name: Literal["nadam"] = "nadam"
    weight_decay: NonNegative = Field(0.0, description="decoupled; not on norms and biases")
    momentum_decay: NonNegative = Field(
        4e-3, description="how fast momentum rises to beta1; Keras's Nadam has 1"
    )


class Lamb(_AdamLike):
    """Adam whose step in each tensor is as long as the tensor itself, times lr; for big batches (arXiv:1904.00962)."""

    name: Literal["lamb"] = "lamb"
    lr: Positive = Field(1e-2, description="peak learning rate")
    eps: Positive = Field(1e-6, description="added to the root of the squared gradient")
    weight_decay: NonNegative = Field(1e-2, description="decoupled; not on norms and biases")


class RmsProp(_Optimizer):
    name: Literal["rmsprop"] = "rmsprop"
    lr: Positive = Field(1e-3, description="peak learning rate")
    alpha: BelowOne = Field(0.9, description="smoothing of the squared gradient (rho in Keras)")
    momentum: BelowOne = Field(0.0, description="part of the last step that is taken again")
    eps: Positive = Field(
        1e-8, description="added to the root of the squared gradient (keras: under the root, by default 1e-7)"
    )
    arithmetic: Arithmetic = "torch"


class Muon(_Optimizer):
    """Momentum made orthogonal, for the weights of hidden layers; AdamW for everything else (arXiv:2502.16982)."""

    name: Literal["muon"] = "muon"
    lr: Positive = Field(0.02, description="peak learning rate of the hidden layers' weights")
    momentum: BelowOne = Field(0.95, description="part of the last step that is taken again")
    nesterov: bool = Field(True, description="momentum that looks ahead")
    weight_decay: NonNegative = Field(1e-2, description="decoupled; not on norms and biases")
    adam_lr: Positive = Field(3e-3, description="peak learning rate of AdamW: classifier, norms and biases")
    beta1: BelowOne = Field(0.9, description="of AdamW")
    beta2: BelowOne = Field(0.99, description="of AdamW")


Optimizer = Annotated[Sgd | Adam | AdamW | RAdam | NAdam | Lamb | RmsProp | Muon, Field(discriminator="name")]
