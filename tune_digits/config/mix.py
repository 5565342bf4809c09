"""trial.mix: mixing of pairs of images within a batch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tune_digits.config.part import Fraction, NonNegative, Part, cite


class Mix(Part):
    """Mixing of pairs of images and of their labels within a batch. Each batch takes one of the kinds whose alpha is
    above 0, with a probability proportional to its weight, and one random number that says how all its pairs are
    mixed."""

    p: Fraction = Field(1.0, description="probability that a batch is mixed")
    mixup_alpha: float = Field(
        0.0,
        ge=0,
        le=8,
        description="MixUp: a weighted mean of two images, the weight from Beta(alpha, alpha); 0: off",
        json_schema_extra=cite("arXiv:1710.09412"),
    )
    cutmix_alpha: float = Field(
        0.0,
        ge=0,
        le=8,
        description="CutMix: a rectangle of one image pasted into another, its area from Beta(alpha, alpha); 0: off",
        json_schema_extra=cite("arXiv:1905.04899"),
    )
    fmix_alpha: float = Field(
        0.0,
        ge=0,
        le=8,
        description="FMix: an irregular region of one image pasted into another, its area from Beta(alpha, alpha);"
        " 0: off",
        json_schema_extra=cite("arXiv:2002.12047"),
    )
    alpha_low: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="each mixed batch draws its alpha evenly between alpha_low times the alpha above and that alpha;"
        " 1: it is always the alpha above",
    )
    mixup_weight: NonNegative = Field(
        1.0, description="how often MixUp is taken, relative to the other kinds that are on"
    )
    cutmix_weight: NonNegative = Field(
        1.0, description="how often CutMix is taken, relative to the other kinds that are on"
    )
    fmix_weight: NonNegative = Field(
        1.0, description="how often FMix is taken, relative to the other kinds that are on"
    )
    fmix_decay: float = Field(
        3.0,
        ge=0,
        le=10,
        description="power by which FMix damps high frequencies; the larger, the fewer and rounder the regions",
    )
    off_last: int = Field(0, ge=0, description="epochs at the end of the training without mixing")

    @model_validator(mode="after")
    def _one_kind_can_be_chosen(self) -> Mix:
        if self.kinds() and sum(self.kinds().values()) == 0:
            on = " and ".join(f"{kind}_weight" for kind in self.kinds())
            raise ValueError(f"{on}: all that are on weigh 0; to mix nothing set the alphas to 0")
        return self

    def kinds(self) -> dict[str, float]:
        """Kind of mixing that is on -> its weight: of mixup, cutmix and fmix, in this order."""
        return {
            kind: getattr(self, f"{kind}_weight")
            for kind in ("mixup", "cutmix", "fmix")
            if getattr(self, f"{kind}_alpha") > 0
        }
