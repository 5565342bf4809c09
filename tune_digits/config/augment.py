"""trial.augment: random changes of the training images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tune_digits.config.part import Fraction, Part

Chance = Annotated[Fraction | None, Field(description="probability of this operation; null: each_p")]


class Chances(Part):
    """Probabilities of single operations, each drawn for each sample by itself; 0 takes one out altogether."""

    rotate: Chance = None
    shift: Chance = None
    zoom: Chance = None
    shear: Chance = None
    elastic: Chance = None
    grid_distortion: Chance = None
    optical_distortion: Chance = None
    perspective: Chance = None
    crop: Chance = None
    hflip: Chance = None
    vflip: Chance = None
    brightness: Chance = None
    contrast: Chance = None
    gamma: Chance = None
    saturation: Chance = None
    hue: Chance = None
    blur: Chance = None
    noise: Chance = None
    cutout: Chance = None
    grid_mask: Chance = None


class Augment(Part):
    """Random changes of the training images; parameters are drawn anew for each sample.

    A magnitude of 0 is an operation that is off. What is drawn within the magnitudes is uniform, and the order of
    application is fixed: flips, crop, zoom, rotate, shear, shift, perspective, optical and grid distortion, elastic
    (all of them one sampling of the image), then blur, contrast, brightness, colour, gamma, noise, cutout, grid mask.
    """

    backend: Literal["batched", "albumentations"] = Field(
        "batched",
        description="batched: on the device, whole batches; albumentations: per image, in as many processes as a training has cores",
    )
    strength: float = Field(
        1.0,
        ge=0,
        le=4,
        description="multiplies every magnitude below, each clipped to its own limit; not a pipeline",
    )
    p: Fraction = Field(1.0, description="probability that a sample is augmented at all, by a pipeline too")
    each_p: Fraction = Field(
        1.0, description="probability of each operation by itself, for each sample; not of a pipeline's"
    )
    ps: Chances = Field(Chances(), description="each_p of single operations, as in {rotate: 0.5}")

    rotate: float = Field(0.0, ge=0, le=180, description="degrees counter-clockwise, uniform in +-rotate")
    shift: float = Field(0.0, ge=0, le=0.5, description="part of the side, uniform in +-shift, each axis")
    zoom: float = Field(0.0, ge=0, le=0.9, description="scale uniform in 1+-zoom, each axis")
    shear: float = Field(0.0, ge=0, le=60, description="degrees, uniform in +-shear, horizontal")
    elastic: float = Field(
        0.0,
        ge=0,
        le=0.2,
        description="standard deviation of a smooth displacement, part of the shorter side (Simard et al. 2003)",
    )
    grid_distortion: float = Field(
        0.0, ge=0, le=0.9, description="widths of the cells of a grid, uniform in 1+-grid_distortion of even"
    )
    grid_steps: int = Field(5, ge=2, le=16, description="cells of the distorted grid along each axis")
    optical_distortion: float = Field(
        0.0,
        ge=0,
        le=0.35,
        description="lens coefficient k, uniform in +-optical_distortion: r is read at r(1 + k r^2 + k r^4), r in sides",
    )
    perspective: float = Field(
        0.0,
        ge=0,
        le=0.15,
        description="each corner's displacement, part of the side, uniform in +-perspective",
    )
    crop: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="dark margin on each side, part of the side, before a window of the image's size is cut out;"
        " whole pixels",
    )
    hflip: float = Field(
        0.0, ge=0, le=0.5, description="probability of a flip left to right; digits are not symmetric"
    )
    vflip: float = Field(
        0.0, ge=0, le=0.5, description="probability of a flip upside down; digits are not symmetric"
    )
    brightness: Fraction = Field(0.0, description="added, uniform in +-brightness of the full range")
    contrast: Fraction = Field(0.0, description="factor about the image mean, uniform in 1+-contrast")
    gamma: float = Field(0.0, ge=0, le=2, description="exponent exp(u), u uniform in +-gamma")
    tone_one_of: bool = Field(
        False, description="true: each sample takes one of brightness, contrast and gamma, not all three"
    )
    saturation: Fraction = Field(
        0.0, description="colour's factor about grey, uniform in 1+-saturation; ignored unless RGB"
    )
    hue: float = Field(
        0.0, ge=0, le=0.5, description="turn of the colour circle, uniform in +-hue; ignored unless RGB"
    )
    blur: float = Field(
        0.0,
        ge=0,
        le=0.1,
        description="sigma of a Gaussian blur, part of the shorter side, uniform in 0..blur",
    )
    noise: Fraction = Field(
        0.0, description="standard deviation of Gaussian noise, part of the full range, uniform in 0..noise"
    )
    cutout: Fraction = Field(
        0.0,
        description="side of a square set to 0, uniform in 0..cutout of the shorter side (arXiv:1708.04552)",
    )
    grid_mask: Fraction = Field(
        0.0,
        description="side of the squares of a grid set to 0, uniform in 0..grid_mask of the grid's unit, which is"
        " uniform in 0.25..0.75 of the shorter side (GridMask, arXiv:2001.04086)",
    )

    randaugment_n: int = Field(
        0,
        ge=0,
        le=20,
        description="each sample takes this many operations at random (arXiv:1909.13719); 0 = all that are on",
    )
    randaugment_magnitude: float = Field(
        10.0,
        ge=0,
        le=30,
        description="with randaugment_n or augmix: operations of RandAugment whose own magnitude is 0 take this"
        " many thirtieths of the largest in the paper; 0 = they stay off",
    )
    augmix: int = Field(
        0,
        ge=0,
        le=8,
        description="AugMix: this many chains (3 in the paper), each of randaugment_n (0: of 1 to 3) operations, are"
        " mixed with the image (arXiv:1912.02781); 0 = off",
    )
    augmix_jsd: float = Field(
        0.0,
        ge=0,
        le=50,
        description="weight of the Jensen-Shannon consistency between the plain image and two augmented ones (12 in"
        " the paper); three images are trained on instead of one; 0 = off",
    )
    pipeline: dict[str, Any] | None = Field(
        None,
        description="a serialized albumentations pipeline (A.to_dict) that keeps uint8 and the shape; replaces the magnitudes",
    )

    @model_validator(mode="after")
    def _pipeline_stands_alone(self) -> Augment:
        if self.pipeline is None:
            return self
        if self.backend != "albumentations":
            raise ValueError("a pipeline needs `backend: albumentations`")
        if self.randaugment_n or self.augmix:
            raise ValueError(
                "randaugment_n and augmix choose among the magnitudes, which a pipeline replaces:"
                " put A.SomeOf into the pipeline, or leave one of the two out"
            )
        return self
