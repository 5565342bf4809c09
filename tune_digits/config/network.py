"""What every network of `trial.model` can be given: BatchNorm's settings, and where its initial weights come from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tune_digits.config.given import FileOrFolds, SameFolds
from tune_digits.config.part import Part, Positive, cite

Activation = Literal["relu", "leaky_relu", "silu", "mish", "gelu"]
Init = Literal["default", "keras", "he", "keras_he"]
BatchNormMomentum = Annotated[float, Field(gt=0, le=1)]

# where the initial weights come from
STARTS = frozenset({"init_from", "weights"})
# fields that change no tensor's shape and hardly the time of a step: two networks that differ in nothing else can be
# trained side by side, and are equally fast
SHAPE_NEUTRAL = frozenset({"bn_momentum", "bn_eps", "bn_gamma_init", "dropout", "init"}) | STARTS
# endings of files of weights
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".pt.gz", ".pth.gz")

BN_MOMENTUM = (
    "weight of the newest batch in BatchNorm's running statistics, as in PyTorch (Keras's 0.99 is 0.01 here)"
)
BN_EPS = "added to BatchNorm's variance"
INIT = (
    "initial weights: the network's own (default), Glorot uniform (keras), He normal (he), or keras_he: convolutions"
    " He normal as Keras draws it, cut at 2 standard deviations, and dense layers Glorot uniform. With all but default"
    " biases start at 0"
)
HE = cite("He: arXiv:1502.01852")
BLUR_POOL = cite("arXiv:1904.11486")
GEM = cite("GeM: arXiv:1711.02512")


class AnyNetwork(Part):
    """The fields that every network has."""

    bn_momentum: BatchNormMomentum = Field(0.1, description=BN_MOMENTUM)
    bn_eps: Positive = Field(1e-5, description=BN_EPS)
    bn_gamma_init: Literal["ones", "uniform", "zero_last"] = Field(
        "ones", description="BatchNorm's initial scale: 1, or uniform in -0.05..0.05 as Keras's 'uniform'"
    )
    init: Init = Field("default", description=INIT, json_schema_extra=HE)
    init_from: FileOrFolds = Field(
        None,
        description="run or ensemble folder: the training starts from the weights of its first member; or"
        " {run: FOLDER, folds: same}: fold k starts from the weights that fold k of that run's best configuration"
        " ended with, a training on all rows from those of fold 0",
    )
    weights: str | None = Field(
        None,
        description=f"file of initial weights ({', '.join(WEIGHT_FILES)}) with nothing but tensors. Of a network for"
        " colour, the first convolution is summed over the colours where images have one channel",
    )

    @field_validator("init_from", "weights")
    @classmethod
    def _exists(cls, value: str | SameFolds | None, info: ValidationInfo) -> str | SameFolds | None:
        # only where a study is read: a trained network no longer needs the weights it started from
        if not isinstance(value, str) or not (info.context or {}).get("check_files"):
            return value
        path = Path(value)
        if info.field_name == "weights":
            if not value.endswith(WEIGHT_FILES):
                raise ValueError(f"a file of weights ends in one of {', '.join(WEIGHT_FILES)}")
            if not path.is_file():
                raise ValueError(f"there is no such file; give one that ends in {', '.join(WEIGHT_FILES)}")
        elif not any((path / m).is_file() for m in ("manifest.json", "ensemble/manifest.json")):
            raise ValueError(
                "is no run with an ensemble (ensemble/manifest.json is missing); make one with tune-digits ensemble"
            )
        return value

    @model_validator(mode="after")
    def _one_start(self) -> Self:
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
