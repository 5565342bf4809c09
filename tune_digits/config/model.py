"""trial.model: which network. This project's own networks, and the union of all."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from tune_digits.config.listed import Timm, Torchvision
from tune_digits.config.network import (
    BLUR_POOL,
    BN_EPS,
    BN_MOMENTUM,
    GEM,
    HE,
    INIT,
    Activation,
    AnyNetwork,
    BatchNormMomentum,
    Init,
)
from tune_digits.config.part import BelowOne, Positive, cite

TORCHVISION = "torchvision:NAME"
TIMM = "timm:NAME"

Pooling = Literal["avg", "max", "gem", "flatten"]

STAGES = "channels of the first of three stages; the others have 2 and 4 times as many"
BEFORE_CLASSIFIER = "probability of dropout before the classifier"
AFTER_STAGES = "probability of dropout after each of the three stages"
ACTIVATION = "activation after each layer; leaky_relu has a slope of 0.1 below 0"
POOLING = "how the last feature maps become a vector: mean, maximum, GeM (mean of a learned power), or all positions"
RUNNING_VARIANCE = (
    "BatchNorm's running variance: divided by n - 1 (unbiased, PyTorch) or by n (biased, Keras)"
)
CONV_BIAS = "convolutions have biases, which the BatchNorm after them makes superfluous"
SQUEEZE = cite("arXiv:1709.01507")


class _Plain(AnyNetwork):
    """The fields of a network without residual blocks."""

    bn_gamma_init: Literal["ones", "uniform"] = Field(
        "ones", description="BatchNorm's initial scale: 1, or uniform in -0.05..0.05 as Keras's 'uniform'"
    )

    @field_validator("bn_gamma_init", mode="before")
    @classmethod
    def _no_residuals(cls, value: object) -> object:
        if value == "zero_last":
            raise ValueError(
                "zero_last sets the last BatchNorm of residual blocks to 0, and this network has no such block; use"
                " ones or uniform, or a network of torchvision or timm that has some"
            )
        return value


class _Cnn(_Plain):
    """The fields of a network whose convolutions each have a BatchNorm and an activation after them."""

    activation: Activation = Field(
        "relu", description="activation after each convolution; leaky_relu has a slope of 0.1 below 0"
    )
    conv_bias: bool = Field(False, description=CONV_BIAS)


class _PooledCnn(_Cnn):
    """A network that ends in a pooling layer."""

    pooling: Pooling = Field("avg", description=POOLING, json_schema_extra=GEM)
    blur_pool: bool = Field(
        False,
        description="anti-aliased max-pooling: a maximum at stride 1, then a blur at stride 2",
        json_schema_extra=BLUR_POOL,
    )


class LeanCnn(_PooledCnn):
    """A small network made for CPUs: three stages of 3x3 convolutions and one dense layer."""

    source: ClassVar[str] = ""
    name: Literal["lean_cnn"] = "lean_cnn"
    width: int = Field(32, ge=4, le=512, description=STAGES)
    depth: int = Field(2, ge=1, le=8, description="3x3 convolutions in each of the three stages")
    dropout: BelowOne = Field(0.2, description=BEFORE_CLASSIFIER)
    se_ratio: int = Field(
        0,
        ge=0,
        le=64,
        description="squeeze-and-excitation after each stage: channels divided by this in between; 0: none",
        json_schema_extra=SQUEEZE,
    )


class Keras8(_PooledCnn):
    """A public Keras network in PyTorch: eight 3x3 convolutions in three stages and two dense layers."""

    source: ClassVar[str] = "Kaggle's Kannada-MNIST competition, 2019"
    name: Literal["keras8"] = "keras8"
    width: int = Field(64, ge=4, le=512, description=STAGES)
    dropout: BelowOne = Field(0.25, description=AFTER_STAGES)
    activation: Activation = Field("leaky_relu", description=ACTIVATION)
    pooling: Pooling = Field("flatten", description=POOLING, json_schema_extra=GEM)
    bn_variance: Literal["unbiased", "biased"] = Field("unbiased", description=RUNNING_VARIANCE)
    dense_bn: Literal["same", "keras"] = Field(
        "same",
        description="BatchNorm after the dense layer: like the others, or with Keras's defaults (momentum 0.01, "
        "eps 1e-3, scale 1)",
    )


class SeCnn(_PooledCnn):
    """A public Keras network with squeeze-and-excitation: eight 3x3 convolutions in three stages, three dense layers.

    Its defaults are its author's: Keras's BatchNorm, biases everywhere, and He's initial weights for convolutions.
    """

    source: ClassVar[str] = "Kaggle's Kannada-MNIST competition, 2019"
    name: Literal["se_cnn"] = "se_cnn"
    width: int = Field(64, ge=4, le=512, description=STAGES)
    dropout: BelowOne = Field(0.2, description=AFTER_STAGES)
    activation: Activation = Field("silu", description=ACTIVATION)
    se_ratio: int = Field(
        2,
        ge=0,
        le=64,
        description="squeeze-and-excitation in the last stage: channels divided by this in between; 0: none",
        json_schema_extra=SQUEEZE,
    )
    pooling: Pooling = Field("flatten", description=POOLING, json_schema_extra=GEM)
    conv_bias: bool = Field(True, description=CONV_BIAS)
    init: Init = Field("keras_he", description=INIT, json_schema_extra=HE)
    bn_momentum: BatchNormMomentum = Field(0.01, description=BN_MOMENTUM)
    bn_eps: Positive = Field(1e-3, description=BN_EPS)
    bn_variance: Literal["unbiased", "biased"] = Field("biased", description=RUNNING_VARIANCE)


class DenseCnn(_PooledCnn):
    """A small DenseNet: within a block each convolution takes the outputs of all convolutions before it."""

    source: ClassVar[str] = "Huang et al. 2017, arXiv:1608.06993"
    name: Literal["dense_cnn"] = "dense_cnn"
    width: int = Field(32, ge=4, le=512, description="channels that each convolution adds (growth rate)")
    depth: int = Field(
        2, ge=1, le=8, description="convolutions of the first dense block; the other two have one more"
    )
    dropout: BelowOne = Field(0.2, description=BEFORE_CLASSIFIER)


class _SimpleM(_Cnn):
    """Convolutions without pooling, after which one dense layer takes all positions."""

    source: ClassVar[str] = "An et al. 2020, arXiv:2008.10400"
    dropout: BelowOne = Field(0.0, description=BEFORE_CLASSIFIER)


class SimpleM3(_SimpleM):
    """3x3 convolutions without pooling or padding; the vote of M3, M5 and M7 is among the best on MNIST."""

    name: Literal["simple_m3"] = "simple_m3"
    width: int = Field(
        32,
        ge=4,
        le=512,
        description="channels of the first convolution; each of the others has width/2 more than the one before",
    )
    depth: int = Field(10, ge=1, le=20, description="3x3 convolutions")


class SimpleM5(_SimpleM):
    """5x5 convolutions without pooling or padding; the vote of M3, M5 and M7 is among the best on MNIST."""

    name: Literal["simple_m5"] = "simple_m5"
    width: int = Field(
        32,
        ge=4,
        le=512,
        description="channels of the first convolution; each of the others has width more than the one before",
    )
    depth: int = Field(5, ge=1, le=20, description="5x5 convolutions")


class SimpleM7(_SimpleM):
    """7x7 convolutions without pooling or padding; the vote of M3, M5 and M7 is among the best on MNIST."""

    name: Literal["simple_m7"] = "simple_m7"
    width: int = Field(
        48,
        ge=4,
        le=512,
        description="channels of the first convolution; each of the others has width more than the one before",
    )
    depth: int = Field(4, ge=1, le=20, description="7x7 convolutions")


def model_kind(name: Any) -> str:
    """The tag of a model's name in the union and in MODELS: that of `torchvision:resnet18` is `torchvision:NAME`."""
    library, colon, _ = str(name).partition(":")
    return f"{library}:NAME" if colon else library


def _kind_of(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    if name is None:
        return None
    kind = model_kind(name)
    # a prefix that nobody has is shown as it was written
    return kind if kind in (TORCHVISION, TIMM) else str(name)


Model = Annotated[
    Annotated[LeanCnn, Tag("lean_cnn")]
    | Annotated[Keras8, Tag("keras8")]
    | Annotated[SeCnn, Tag("se_cnn")]
    | Annotated[DenseCnn, Tag("dense_cnn")]
    | Annotated[SimpleM3, Tag("simple_m3")]
    | Annotated[SimpleM5, Tag("simple_m5")]
    | Annotated[SimpleM7, Tag("simple_m7")]
    | Annotated[Torchvision, Tag(TORCHVISION)]
    | Annotated[Timm, Tag(TIMM)],
    Field(discriminator=Discriminator(_kind_of)),
]
