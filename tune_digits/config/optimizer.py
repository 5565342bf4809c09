"""trial.optimizer: how weights are updated."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from tune_digits.config.part import BelowOne, Fraction, NonNegative, Part, Positive, cite

Arithmetic = Annotated[
    Literal["torch", "keras"],
    Field(
        description="the library whose update formula is used; in Keras 3 epsilon stands elsewhere, momentum contains"
        " the learning rate and weight decay is decoupled (docs/keras-parity.md)"
    ),
]
PEAK = "peak learning rate; the schedule multiplies it"
DECOUPLED = "decoupled weight decay; not applied to norms and biases"
ROOT = "added to the square root of the averaged squared gradient"
SMOOTHING = "decay rate of the moving average of the gradient"
SQUARED = "decay rate of the moving average of the squared gradient"
MOMENTUM = "fraction of the previous update that is added to the next one"
NESTEROV = "use Nesterov's momentum, which looks one step ahead"


class _Optimizer(Part):
    """The fields that every optimizer has."""

    weight_decay: NonNegative = Field(
        0.0,
        description="L2 penalty, added to the gradient (decoupled with arithmetic: keras); not applied to norms and"
        " biases",
    )
    decay_all: bool = Field(False, description="apply weight_decay to norms and biases as well")
    clip_norm: NonNegative = Field(
        0.0, description="gradients whose total norm is larger than this are scaled down to it; 0: off"
    )
    centralize: bool = Field(
        False,
        description="gradient centralization: subtract its mean from the gradient of each output's weights",
        json_schema_extra=cite("arXiv:2004.01461"),
    )
    bias_lr: Positive = Field(
        1.0, description="factor of the learning rate for biases, those of norms included"
    )
    head_lr: Positive = Field(
        1.0, description="factor of the learning rate for the classifier, the last dense layer"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="factor of the learning rate from each layer to the one before it; 1: off"
    )
    lookahead_k: int = Field(
        0,
        ge=0,
        le=1000,
        description="Lookahead: updates between two synchronisations with the slow weights; 0: off",
        json_schema_extra=cite("arXiv:1907.08610"),
    )
    lookahead_alpha: Fraction = Field(
        0.5,
        description="fraction of the distance to the fast weights by which the slow weights move at a synchronisation",
    )


class Sgd(_Optimizer):
    """Stochastic gradient descent with momentum."""

    source: ClassVar[str] = "Sutskever et al. 2013, ICML"
    name: Literal["sgd"] = "sgd"
    lr: Positive = Field(0.05, description=PEAK)
    momentum: BelowOne = Field(0.9, description=MOMENTUM)
    nesterov: bool = Field(True, description=NESTEROV)
    arithmetic: Arithmetic = "torch"

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self


class _AdamLike(_Optimizer):
    """The fields that Adam and its relatives have."""

    lr: Positive = Field(2e-3, description=PEAK)
    beta1: BelowOne = Field(0.9, description=SMOOTHING)
    beta2: BelowOne = Field(0.999, description=SQUARED)
    eps: Positive = Field(1e-8, description=f"{ROOT} (Keras's default is 1e-7)")


class Adam(_AdamLike):
    """Adam; weight decay is added to the gradient, with arithmetic: keras it is decoupled."""

    source: ClassVar[str] = "arXiv:1412.6980"
    name: Literal["adam"] = "adam"
    arithmetic: Arithmetic = "torch"


class AdamW(_AdamLike):
    """Adam with decoupled weight decay, which is multiplied by the learning rate."""

    source: ClassVar[str] = "arXiv:1711.05101"
    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = Field(1e-2, description=DECOUPLED)
    arithmetic: Arithmetic = "torch"


class RAdam(_AdamLike):
    """Adam whose first updates are smaller, while the variance of the gradient is known badly."""

    source: ClassVar[str] = "arXiv:1908.03265"
    name: Literal["radam"] = "radam"
    weight_decay: NonNegative = Field(0.0, description=DECOUPLED)


class NAdam(_AdamLike):
    """Adam with Nesterov's momentum."""

    source: ClassVar[str] = "Dozat 2016"
    name: Literal["nadam"] = "nadam"
    weight_decay: NonNegative = Field(0.0, description=DECOUPLED)
    momentum_decay: NonNegative = Field(
        4e-3, description="how fast momentum rises to beta1; Keras's Nadam uses 1"
    )


class Lamb(_AdamLike):
    """Adam whose update of each tensor is scaled to the norm of that tensor, for large batches."""

    source: ClassVar[str] = "arXiv:1904.00962"
    name: Literal["lamb"] = "lamb"
    lr: Positive = Field(1e-2, description=PEAK)
    eps: Positive = Field(1e-6, description=ROOT)
    weight_decay: NonNegative = Field(1e-2, description=DECOUPLED)


class Over9000(_AdamLike):
    """RAdam with LARS's trust ratio and Lookahead (also called RangerLars)."""

    source: ClassVar[str] = "Grankin 2019, github.com/mgrankin/over9000"
    name: Literal["over9000"] = "over9000"
    lr: Positive = Field(1e-3, description=PEAK)
    weight_decay: NonNegative = Field(0.0, description=DECOUPLED)
    lookahead_k: int = Field(
        6,
        ge=0,
        le=1000,
        description="Lookahead: updates between two synchronisations with the slow weights; 0: off",
        json_schema_extra=cite("arXiv:1907.08610"),
    )


class RmsProp(_Optimizer):
    """Gradient descent with the gradient divided by the root of its moving mean square."""

    source: ClassVar[str] = "Hinton's lecture 6e, 2012"
    name: Literal["rmsprop"] = "rmsprop"
    lr: Positive = Field(1e-3, description=PEAK)
    alpha: BelowOne = Field(0.9, description=f"{SQUARED} (rho in Keras)")
    momentum: BelowOne = Field(0.0, description=MOMENTUM)
    eps: Positive = Field(
        1e-8, description=f"{ROOT}; with arithmetic: keras under the root, where Keras's default is 1e-7"
    )
    arithmetic: Arithmetic = "torch"


class Muon(_Optimizer):
    """Momentum with orthogonal updates, for the weights of hidden layers; all other weights are updated by AdamW."""

    source: ClassVar[str] = "arXiv:2502.16982"
    name: Literal["muon"] = "muon"
    lr: Positive = Field(0.02, description="peak learning rate of the hidden layers' weights")
    momentum: BelowOne = Field(0.95, description=MOMENTUM)
    nesterov: bool = Field(True, description=NESTEROV)
    weight_decay: NonNegative = Field(1e-2, description=DECOUPLED)
    adam_lr: Positive = Field(
        3e-3, description="peak learning rate of AdamW, which updates the classifier, norms and biases"
    )
    beta1: BelowOne = Field(0.9, description=f"{SMOOTHING}, in AdamW")
    beta2: BelowOne = Field(0.99, description=f"{SQUARED}, in AdamW")


Optimizer = Annotated[
    Sgd | Adam | AdamW | RAdam | NAdam | Lamb | Over9000 | RmsProp | Muon, Field(discriminator="name")
]
