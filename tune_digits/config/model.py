"""trial.model: which network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tune_digits.config.part import BelowOne, Part, Positive


class _Cnn(Part):
    bn_momentum: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="weight of the newest batch in BatchNorm's running statistics (PyTorch's sense)"
    )
    bn_eps: Positive = Field(1e-5, description="added to BatchNorm's variance")


class LeanCnn(_Cnn):
    name: Literal["lean_cnn"] = "lean_cnn"
    width: int = Field(32, ge=4, le=512, description="channels of the first stage; 2x and 4x in the next two")
    depth: int = Field(2, ge=1, le=8, description="3x3 convolutions in each of the three stages")
    dropout: BelowOne = Field(0.2, description="dropout before the classifier")


class Keras8(_Cnn):
    name: Literal["keras8"] = "keras8"
    width: int = Field(64, ge=4, le=512, description="channels of the first stage; 2x and 4x in the next two")
    dropout: BelowOne = Field(0.25, description="dropout after each of the three stages")


Model = Annotated[LeanCnn | Keras8, Field(discriminator="name")]
