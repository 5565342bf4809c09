"""trial.model: which network."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from tune_digits.config.given import FileOrFolds, SameFolds
from tune_digits.config.part import BelowOne, Part, Positive, cite

TORCHVISION = "torchvision:NAME"
TIMM = "timm:NAME"

Activation = Literal["relu", "leaky_relu", "silu", "mish", "gelu"]
Pooling = Literal["avg", "max", "gem", "flatten"]

# where the initial weights come from
STARTS = frozenset({"init_from", "weights"})
# fields that change no tensor's shape and hardly the time of a step: two networks that differ in nothing else can be
# trained side by side, and are equally fast
SHAPE_NEUTRAL = frozenset({"bn_momentum", "bn_eps", "bn_gamma_init", "dropout", "init"}) | STARTS

STAGES = "channels of the first of three stages; the others have 2 and 4 times as many"
BEFORE_CLASSIFIER = "probability of dropout before the classifier"
AFTER_STAGES = "probability of dropout after each of the three stages"
ACTIVATION = "activation after each layer; leaky_relu has a slope of 0.1 below 0"
POOLING = "how the last feature maps become a vector: mean, maximum, GeM (mean of a learned power), or all positions"
GEM = cite("GeM: arXiv:1711.02512")
SQUEEZE = cite("arXiv:1709.01507")


class _Network(Part):
    """The fields that every network has."""

    bn_momentum: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1,
        description="weight of the newest batch in BatchNorm's running statistics, as in PyTorch (Keras's 0.99 is 0.01"
        " here)",
    )
    bn_eps: Positive = Field(1e-5, description="added to BatchNorm's variance")
    bn_gamma_init: Literal["ones", "uniform", "zero_last"] = Field(
        "ones", description="BatchNorm's initial scale: 1, or uniform in -0.05..0.05 as Keras's 'uniform'"
    )
    init: Literal["default", "keras", "he"] = Field(
        "default",
        description="initial weights: the network's own, Glorot uniform with zero biases (Keras's), or He normal",
        json_schema_extra=cite("He: arXiv:1502.01852"),
    )
    init_from: FileOrFolds = Field(
        None,
        description="run or ensemble folder: the training starts from the weights of its first member; or"
        " {run: FOLDER, folds: same}: fold k starts from the weights that fold k of that run's best configuration"
        " ended with, a training on all rows from those of fold 0",
    )
    weights: str | None = Field(
        None,
        description="file of initial weights: .safetensors, or .pt or .pth with nothing but tensors",
    )

    @field_validator("init_from", "weights")
    @classmethod
    def _exists(cls, value: str | SameFolds | None, info: ValidationInfo) -> str | SameFolds | None:
        # only where a study is read: a trained network no longer needs the weights it started from
        if not isinstance(value, str) or not (info.context or {}).get("check_files"):
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

    def without(self, fields: Iterable[str]) -> Self:
        """The same network with the defaults of these fields, as far as it has them."""
        own = type(self).model_fields
        return self.model_copy(update={name: own[name].default for name in fields if name in own})

    def without_start(self) -> Self:
        """The same network with fresh initial weights: for one that gets all its weights from elsewhere."""
        return self.without(STARTS)


class _Cnn(_Network):
    """The fields that every network of this project has."""

    bn_gamma_init: Literal["ones", "uniform"] = Field(
        "ones", description="BatchNorm's initial scale: 1, or uniform in -0.05..0.05 as Keras's 'uniform'"
    )
    activation: Activation = Field(
        "relu", description="activation after each convolution; leaky_relu has a slope of 0.1 below 0"
    )
    conv_bias: bool = Field(
        False, description="convolutions have biases, which the BatchNorm after them makes superfluous"
    )


class _PooledCnn(_Cnn):
    """A network that ends in a pooling layer."""

    pooling: Pooling = Field("avg", description=POOLING, json_schema_extra=GEM)
    blur_pool: bool = Field(
        False,
        description="anti-aliased max-pooling: a maximum at stride 1, then a blur at stride 2",
        json_schema_extra=cite("arXiv:1904.11486"),
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
    bn_variance: Literal["unbiased", "biased"] = Field(
        "unbiased",
        description="BatchNorm's running variance: divided by n - 1 (unbiased, PyTorch) or by n (biased, Keras)",
    )
    dense_bn: Literal["same", "keras"] = Field(
        "same",
        description="BatchNorm after the dense layer: like the others, or with Keras's defaults (momentum 0.01, "
        "eps 1e-3, scale 1)",
    )


class SeCnn(_PooledCnn):
    """Eight 3x3 convolutions in three stages, squeeze-and-excitation in the last, and three dense layers."""

    source: ClassVar[str] = "Kaggle's Kannada-MNIST competition, 2019"
    name: Literal["se_cnn"] = "se_cnn"
    width: int = Field(64, ge=4, le=512, description=STAGES)
    dropout: BelowOne = Field(0.25, description=AFTER_STAGES)
    activation: Activation = Field("silu", description=ACTIVATION)
    se_ratio: int = Field(
        2,
        ge=0,
        le=64,
        description="squeeze-and-excitation in the last stage: channels divided by this in between; 0: none",
        json_schema_extra=SQUEEZE,
    )
    pooling: Pooling = Field("flatten", description=POOLING, json_schema_extra=GEM)


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


class _Listed(_Network):
    """A network of another library, made for photographs of 224x224."""

    stem: Literal["small", "standard"] = Field(
        "small",
        description="the first layers: as published (standard), or with the first strided convolution and max-pooling"
        " at stride 1, for small images",
    )
    input_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="shorter side in pixels that images are resized to; null: only resized where the network needs it",
    )
    dropout: BelowOne = Field(
        0.0, description="probability of dropout before the classifier, besides the network's own"
    )
    pooling: Literal["avg", "max", "gem"] = Field(
        "avg",
        description="how the last feature maps become a vector: the network's own pooling (a mean), maximum, or GeM",
        json_schema_extra=GEM,
    )
    bn_gamma_init: Literal["ones", "uniform", "zero_last"] = Field(
        "ones",
        description="BatchNorm's initial scale: the network's own, uniform in -0.05..0.05, or 0 in the last BatchNorm"
        " of each residual branch (zero_last)",
        json_schema_extra=cite("zero_last: arXiv:1706.02677"),
    )


class Torchvision(_Listed):
    """Any classification network that torchvision lists, without pretrained weights."""

    source: ClassVar[str] = ""
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
    """Any classification network that timm lists, without pretrained weights."""

    source: ClassVar[str] = ""
    name: str = Field(
        "timm:seresnext26d_32x4d", description="timm:NAME, a model of timm (needs the extra 'timm')"
    )

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


def networks_called(name: str) -> list[str]:
    """The networks of torchvision, and of timm where it is installed, that are called `name` or nearly so, as
    `model.name` writes them: `resnet18` -> ['torchvision:resnet18', 'timm:resnet18']."""
    from torchvision import models

    listed = {"torchvision": models.list_models(module=models)}
    if find_spec("timm"):
        import timm

        listed["timm"] = timm.list_models()
    arch = name.rpartition(":")[2]
    near = {library: difflib.get_close_matches(arch, names, 1, 0.8) for library, names in listed.items()}
    return [f"{library}:{match}" for library, matches in near.items() for match in matches]
