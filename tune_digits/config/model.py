"""trial.model: which network."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from tune_digits.config.part import BelowOne, Part, Positive

TORCHVISION = "torchvision:NAME"
TIMM = "timm:NAME"

Activation = Literal["relu", "leaky_relu", "silu", "mish", "gelu"]


class _Network(Part):
    bn_momentum: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="weight of the newest batch in BatchNorm's running statistics (PyTorch's sense)"
    )
    bn_eps: Positive = Field(1e-5, description="added to BatchNorm's variance")
    bn_gamma_init: Literal["ones", "uniform"] = Field(
        "ones", description="BatchNorm's first scale: 1, or uniform in -0.05..0.05 as Keras's 'uniform'"
    )
    init: Literal["default", "keras", "he"] = Field(
        "default",
        description="the network's own first weights, Glorot uniform with zero biases, or He normal",
    )
    init_from: str | None = Field(
        None, description="run or ensemble folder whose first member's weights training starts from"
    )
    weights: str | None = Field(
        None, description="weights file (.safetensors, or .pt/.pth of tensors alone) training starts from"
    )

    @field_validator("init_from", "weights")
    @classmethod
    def _exists(cls, value: str | None, info: ValidationInfo) -> str | None:
        # only where a study is read: a trained network no longer needs the weights it started from
        if value is None or not (info.context or {}).get("check_files"):
            return value
        path = Path(value)
        if info.field_name == "weights":
            if not path.is_file():
                raise ValueError("there is no such file; give a .safetensors, .pt or .pth file of weights")
        elif not any((path / m).is_file() for m in ("manifest.json", "ensemble/manifest.json")):
            raise ValueError(
                "is no run with an ensemble (ensemble/manifest.json is missing); make one with scripts/ensemble.py"
            )
        return value

    @model_validator(mode="after")
    def _one_start(self) -> _Network:
        if self.init_from is not None and self.weights is not None:
            raise ValueError("init_from and weights exclude each other: give one of them")
        return self

    def without_start(self) -> Any:
        """The same network, started from fresh weights: for one that gets all its weights from elsewhere."""
        return self.model_copy(update={"init_from": None, "weights": None})


class _Cnn(_Network):
    activation: Activation = Field("relu", description="after each convolution; leaky_relu's slope is 0.1")
    conv_bias: bool = Field(False, description="biases in the convolutions, though BatchNorm removes them")


class _PooledCnn(_Cnn):
    pooling: Literal["avg", "max", "gem", "flatten"] = Field(
        "avg",
        description="the last map as a vector: mean, maximum, GeM (its power learned), or every position",
    )
    blur_pool: bool = Field(False, description="anti-aliased max-pooling: a maximum at stride 1, then a blur")


class LeanCnn(_PooledCnn):
    name: Literal["lean_cnn"] = "lean_cnn"
    width: int = Field(32, ge=4, le=512, description="channels of the first stage; 2x and 4x in the next two")
    depth: int = Field(2, ge=1, le=8, description="3x3 convolutions in each of the three stages")
    dropout: BelowOne = Field(0.2, description="dropout before the classifier")
    se_ratio: int = Field(
        0,
        ge=0,
        le=64,
        description="squeeze-and-excitation after each stage, channels divided by this; 0 = none",
    )


class Keras8(_PooledCnn):
    name: Literal["keras8"] = "keras8"
    width: int = Field(64, ge=4, le=512, description="channels of the first stage; 2x and 4x in the next two")
    dropout: BelowOne = Field(0.25, description="dropout after each of the three stages")
    activation: Activation = Field("leaky_relu", description="after each layer; leaky_relu's slope is 0.1")
    pooling: Literal["avg", "max", "gem", "flatten"] = Field(
        "flatten",
        description="the last map as a vector: mean, maximum, GeM (its power learned), or every position",
    )
    bn_variance: Literal["unbiased", "biased"] = Field(
        "unbiased", description="BatchNorm's running variance: over n - 1 (PyTorch) or over n (Keras)"
    )
    dense_bn: Literal["same", "keras"] = Field(
        "same",
        description="BatchNorm after the dense layer: like the others, or Keras's default "
        "(momentum 0.01, eps 1e-3, scale 1)",
    )


class SeCnn(_PooledCnn):
    name: Literal["se_cnn"] = "se_cnn"
    width: int = Field(64, ge=4, le=512, description="channels of the first stage; 2x and 4x in the next two")
    dropout: BelowOne = Field(0.25, description="dropout after each of the three stages")
    activation: Activation = Field("silu", description="after each layer; leaky_relu's slope is 0.1")
    se_ratio: int = Field(
        2,
        ge=0,
        le=64,
        description="squeeze-and-excitation in the last stage, channels divided by this; 0 = none",
    )
    pooling: Literal["avg", "max", "gem", "flatten"] = Field(
        "flatten",
        description="the last map as a vector: mean, maximum, GeM (its power learned), or every position",
    )


class DenseCnn(_PooledCnn):
    name: Literal["dense_cnn"] = "dense_cnn"
    width: int = Field(32, ge=4, le=512, description="channels that each convolution adds (growth rate)")
    depth: int = Field(
        2, ge=1, le=8, description="convolutions of the first dense block; one more in the next two"
    )
    dropout: BelowOne = Field(0.2, description="dropout before the classifier")


class _SimpleM(_Cnn):
    dropout: BelowOne = Field(0.0, description="dropout before the dense layer")


class SimpleM3(_SimpleM):
    name: Literal["simple_m3"] = "simple_m3"
    width: int = Field(
        32, ge=4, le=512, description="channels of the first convolution; each next has width/2 more"
    )
    depth: int = Field(10, ge=1, le=20, description="3x3 convolutions")


class SimpleM5(_SimpleM):
    name: Literal["simple_m5"] = "simple_m5"
    width: int = Field(
        32, ge=4, le=512, description="channels of the first convolution; each next has width more"
    )
    depth: int = Field(5, ge=1, le=20, description="5x5 convolutions")


class SimpleM7(_SimpleM):
    name: Literal["simple_m7"] = "simple_m7"
    width: int = Field(
        48, ge=4, le=512, description="channels of the first convolution; each next has width more"
    )
    depth: int = Field(4, ge=1, le=20, description="7x7 convolutions")


class _Listed(_Network):
    """A network of another library, made for photographs of 224x224."""

    stem: Literal["small", "standard"] = Field(
        "small", description="small: the first strided convolution and max-pool keep the resolution"
    )
    input_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="resize images to this shorter side, pixels; none = only where it must be",
    )
    dropout: BelowOne = Field(0.0, description="dropout before the classifier, besides the network's own")
    pooling: Literal["avg", "max", "gem"] = Field(
        "avg", description="the last map as a vector: the network's own way (mean), maximum, or GeM"
    )
    bn_gamma_init: Literal["ones", "uniform", "zero_last"] = Field(
        "ones",
        description="as the network has it, uniform in -0.05..0.05, or 0 in each residual branch's last",
    )


class Torchvision(_Listed):
    name: str = Field(
        "torchvision:resnet18", description="torchvision:NAME, a classification model of torchvision"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        from torchvision import models

        _check_name(
            value, lambda: models.list_models(module=models), "torchvision lists no classification model"
        )
        return value


class Timm(_Listed):
    name: str = Field("timm:seresnext26d_32x4d", description="timm:NAME, a model of timm (extra 'timm')")

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            import timm
        except ImportError:
            raise ValueError("timm is not installed: pip install 'tune_digits[timm]'") from None
        _check_name(value, timm.list_models, "timm lists no model")
        return value


def _check_name(value: str, listed: Callable[[], list[str]], complaint: str) -> None:
    library, _, arch = value.partition(":")
    names = listed()
    if arch not in names:
        near = difflib.get_close_matches(arch, names, 3)
        hint = f"; did you mean {', '.join(f'{library}:{n}' for n in near)}?" if near else ""
        raise ValueError(f"{complaint} '{arch}'{hint}")


def model_kind(name: Any) -> str:
    """What the union and MODELS call the model of this name: `torchvision:resnet18` is a `torchvision:NAME`."""
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
