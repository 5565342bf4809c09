"""trial.augment: random changes of the training images."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tune_digits.config.chances import Chances, Group
from tune_digits.config.part import Fraction, Part, cite


class Augment(Part):
    """Random changes of the training images, drawn anew for each sample and epoch. An operation with a magnitude of 0
    is off.

    Within a magnitude the strength is drawn uniformly. The order of application is fixed: flips, crop, zoom, rotate,
    shear, shift, perspective, optical and grid distortion, elastic (all of these in one resampling of the image), then
    blur, AutoAugment, contrast, brightness, colour, gamma, noise, cutout, grid mask.
    """

    backend: Literal["batched", "albumentations"] = Field(
        "batched",
        description="batched: whole batches at once, on the device; albumentations: image by image, in as many"
        " processes as a training has CPU cores",
    )
    strength: float = Field(
        1.0,
        ge=0,
        le=4,
        description="factor of all magnitudes below, each limited to its own range; no effect on a pipeline",
    )
    p: Fraction = Field(1.0, description="probability that a sample is augmented at all, also by a pipeline")
    each_p: Fraction = Field(
        1.0,
        description="probability of each operation, drawn for each sample on its own; no effect on a pipeline",
    )
    ps: Chances = Field(
        Chances(), description="probabilities of single operations instead of each_p, as in {rotate: 0.5}"
    )

    groups: dict[str, Group] = Field(
        {},
        description="operations that are drawn together instead of by each_p, under any names, as in {masks: {take:"
        " one, p: 0.2, of: {cutout: 1, grid_mask: 2}}, affine: {take: all, p: 0.9, of: [rotate, zoom]}}; one: by"
        " weight one of those that are on; all: all of them or none; an operation is in one group at most",
    )

    fill: Literal["zero", "nearest"] = Field(
        "zero",
        description="what geometric operations, and crop's margin, show from outside the image: zero: black; nearest:"
        " the pixel of the border that is nearest",
    )
    rotate: float = Field(
        0.0, ge=0, le=180, description="degrees, counter-clockwise, uniform in -rotate..rotate"
    )
    shift: float = Field(
        0.0, ge=0, le=0.5, description="fraction of the side, uniform in -shift..shift, for each axis"
    )
    zoom: float = Field(0.0, ge=0, le=0.9, description="scale factor, uniform in 1-zoom..1+zoom")
    zoom_axes: Literal["each", "both"] = Field(
        "each", description="each: a zoom factor for each axis; both: one for both, which keeps proportions"
    )
    zoom_of: Literal["image", "view"] = Field(
        "image",
        description="image: the factor by which the image grows is drawn; view: the factor by which the area that is"
        " shown grows, as in Keras, so that the image grows by 1 / zoom",
    )
    shear: float = Field(0.0, ge=0, le=60, description="degrees, horizontal, uniform in -shear..shear")
    elastic: float = Field(
        0.0,
        ge=0,
        le=0.2,
        description="standard deviation of a smooth random displacement, as a fraction of the shorter side",
        json_schema_extra=cite("Simard et al. 2003"),
    )
    grid_distortion: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="widths of the cells of a grid relative to an even one, uniform in"
        " 1-grid_distortion..1+grid_distortion",
    )
    grid_steps: int = Field(5, ge=2, le=16, description="cells of grid_distortion's grid along each axis")
    optical_distortion: float = Field(
        0.0,
        ge=0,
        le=0.35,
        description="coefficient k of a lens, uniform in -optical_distortion..optical_distortion: what is shown at"
        " radius r comes from r * (1 + k r^2 + k r^4), r as a fraction of the side",
    )
    perspective: float = Field(
        0.0,
        ge=0,
        le=0.15,
        description="displacement of each corner as a fraction of the side, uniform in -perspective..perspective",
    )
    crop: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="margin (see fill) added on each side, as a fraction of the side rounded to whole pixels, before a"
        " random window of the image's size is cut out",
    )
    hflip: float = Field(
        0.0, ge=0, le=0.5, description="probability of a flip left to right; digits are not symmetric"
    )
    vflip: float = Field(
        0.0, ge=0, le=0.5, description="probability of a flip upside down; digits are not symmetric"
    )
    brightness: Fraction = Field(
        0.0, description="added value as a fraction of the full range, uniform in -brightness..brightness"
    )
    contrast: Fraction = Field(
        0.0,
        description="factor of the difference from the image's mean, uniform in 1-contrast..1+contrast",
    )
    gamma: float = Field(
        0.0, ge=0, le=2, description="pixels to the power of exp(u), u uniform in -gamma..gamma"
    )
    saturation: Fraction = Field(
        0.0,
        description="factor of the difference from grey, uniform in 1-saturation..1+saturation; only for RGB images",
    )
    hue: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="rotation of the colour circle as a fraction of a full turn, uniform in -hue..hue; only for RGB"
        " images",
    )
    blur: float = Field(
        0.0,
        ge=0,
        le=0.1,
        description="standard deviation of a Gaussian blur as a fraction of the shorter side, uniform in 0..blur",
    )
    noise: Fraction = Field(
        0.0,
        description="standard deviation of Gaussian noise as a fraction of the full range, uniform in 0..noise",
    )
    cutout: Fraction = Field(
        0.0,
        description="side of a square that is set to 0, as a fraction of the shorter side, uniform in 0..cutout",
        json_schema_extra=cite("arXiv:1708.04552"),
    )
    cutout_holes: int = Field(
        1, ge=1, le=64, description="squares of cutout in an image, each drawn by itself"
    )
    cutout_fixed: bool = Field(
        False, description="true: every square of cutout has the side cutout itself, as in the paper"
    )
    grid_mask: Fraction = Field(
        0.0,
        description="GridMask: a grid of squares that are set to 0, their side as a fraction of the grid's unit,"
        " uniform in 0..grid_mask; the unit is 0.25 to 0.75 of the shorter side",
        json_schema_extra=cite("arXiv:2001.04086"),
    )
    grid_mask_cells: int | None = Field(
        None,
        ge=1,
        le=64,
        description="units of grid_mask's grid along the shorter side; null: the unit is drawn",
    )
    grid_mask_fixed: bool = Field(
        False, description="true: the squares of grid_mask have the side grid_mask itself"
    )

    autoaugment: Literal["none", "imagenet", "cifar10", "svhn"] = Field(
        "none",
        description="AutoAugment: each sample takes one of the published policy's 25 pairs of operations, with their"
        " published probabilities and magnitudes (neither strength nor each_p changes them); grey images have no colour"
        " to change; only with `backend: batched`",
        json_schema_extra=cite("arXiv:1805.09501"),
    )

    randaugment_n: int = Field(
        0,
        ge=0,
        le=20,
        description="RandAugment: each sample takes this many randomly chosen operations; 0: all that are on",
        json_schema_extra=cite("arXiv:1909.13719"),
    )
    randaugment_magnitude: float = Field(
        10.0,
        ge=0,
        le=30,
        description="with randaugment_n or augmix: operations of RandAugment whose own magnitude is 0 take this many"
        " thirtieths of the paper's largest magnitude; 0: they stay off",
    )
    augmix: int = Field(
        0,
        ge=0,
        le=8,
        description="AugMix: the image is mixed with this many augmented versions of itself (3 in the paper), each with"
        " randaugment_n operations (0: a random number from 1 to 3); 0: off",
        json_schema_extra=cite("arXiv:1912.02781"),
    )
    augmix_jsd: float = Field(
        0.0,
        ge=0,
        le=50,
        description="weight of AugMix's Jensen-Shannon consistency loss between each image and two augmented versions"
        " of it (12 in the paper); the network then sees three images instead of one; 0: off",
        json_schema_extra=cite("arXiv:1912.02781"),
    )
    pipeline: dict[str, Any] | None = Field(
        None,
        description="a pipeline as albumentations writes it (A.to_dict), which keeps uint8 and the shape; replaces all"
        " magnitudes; domains may stand for any of its values",
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
        replaced = [name for name in _OF_OPERATIONS if getattr(self, name) != _default_of(name)]
        if replaced:
            raise ValueError(
                f"{' and '.join(replaced)} would have no effect: a pipeline replaces all operations; say it in the"
                " pipeline, as in A.OneOf or border_mode"
            )
        return self

    @model_validator(mode="after")
    def _groups_are_apart(self) -> Augment:
        seen: dict[str, str] = {}
        for key, group in self.groups.items():
            for name in group.of:
                if name in seen:
                    raise ValueError(f"{name} is in two groups, {seen[name]} and {key}")
                if getattr(self.ps, name) is not None:
                    raise ValueError(
                        f"{name} is in the group {key}, whose p holds for it: leave it out of ps"
                    )
                seen[name] = key
            if group.take == "all" and (self.randaugment_n or self.augmix):
                raise ValueError(
                    f"the group {key} takes all of its operations, but randaugment_n and augmix choose single ones:"
                    " leave one of the two out"
                )
        return self

    @model_validator(mode="after")
    def _autoaugment_stands_alone(self) -> Augment:
        if self.autoaugment == "none":
            return self
        if self.backend != "batched":
            raise ValueError("autoaugment needs `backend: batched`")
        if self.randaugment_n or self.augmix:
            raise ValueError(
                "autoaugment, randaugment_n and augmix are different ways to choose operations: use one of them"
            )
        return self


# how the operations are made, without effect where there are none
_OF_OPERATIONS = (
    "groups", "fill", "zoom_axes", "zoom_of", "cutout_holes", "cutout_fixed", "grid_mask_cells", "grid_mask_fixed",
)  # fmt: skip


def _default_of(name: str) -> Any:
    return Augment.model_fields[name].default
