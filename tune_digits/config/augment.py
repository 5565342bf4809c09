"""trial.augment: random changes of the training images."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tune_digits.config.part import Fraction, Part


class Augment(Part):
    """Random changes of the training images; parameters are drawn anew for each sample."""

    backend: Literal["batched", "albumentations"] = Field(
        "batched", description="batched: on the device, whole batches; albumentations: per image in threads"
    )
    strength: float = Field(
        1.0,
        ge=0,
        le=4,
        description="multiplies every magnitude below, each clipped to its own limit; not a pipeline",
    )
    p: Fraction = Field(1.0, description="probability that a sample is augmented at all, by a pipeline too")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees counter-clockwise, uniform in +-rotate")
    shift: float = Field(0.0, ge=0, le=0.5, description="part of the side, uniform in +-shift, each axis")
    zoom: float = Field(0.0, ge=0, le=0.9, description="scale uniform in 1+-zoom, each axis")
    shear: float = Field(0.0, ge=0, le=60, description="degrees, uniform in +-shear, horizontal")
    elastic: float = Field(
        0.0, ge=0, le=0.2, description="standard deviation of a smooth displacement, part of the shorter side"
    )
    brightness: Fraction = Field(0.0, description="added, uniform in +-brightness of the full range")
    contrast: Fraction = Field(0.0, description="factor about the image mean, uniform in 1+-contrast")
    gamma: float = Field(0.0, ge=0, le=2, description="exponent exp(u), u uniform in +-gamma")
    cutout: Fraction = Field(
        0.0, description="side of a square set to 0, uniform in 0..cutout of the shorter side"
    )
    pipeline: dict[str, Any] | None = Field(
        None,
        description="a serialized albumentations pipeline (A.to_dict) that keeps uint8 and the shape; replaces the magnitudes",
    )

    @model_validator(mode="after")
    def _pipeline_needs_its_backend(self) -> Augment:
        if self.pipeline is not None and self.backend != "albumentations":
            raise ValueError("a pipeline needs `backend: albumentations`")
        return self
