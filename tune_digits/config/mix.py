"""trial.mix: mixing of pairs within a batch."""

from __future__ import annotations

from pydantic import Field, model_validator

from tune_digits.config.part import Fraction, NonNegative, Part


class Mix(Part):
    """Mixing of pairs within a batch; each batch takes one of the kinds whose alpha is > 0, by their weights."""

    p: Fraction = Field(1.0, description="probability that a batch is mixed")
    mixup_alpha: float = Field(
        0.0, ge=0, le=8, description="MixUp with lambda ~ Beta(alpha, alpha) (arXiv:1710.09412); 0 = off"
    )
    cutmix_alpha: float = Field(
        0.0, ge=0, le=8, description="CutMix with area ~ Beta(alpha, alpha) (arXiv:1905.04899); 0 = off"
    )
    fmix_alpha: float = Field(
        0.0, ge=0, le=8, description="FMix with area ~ Beta(alpha, alpha) (arXiv:2002.12047); 0 = off"
    )
    mixup_weight: NonNegative = Field(1.0, description="how often MixUp, against the others that are on")
    cutmix_weight: NonNegative = Field(1.0, description="how often CutMix, against the others that are on")
    fmix_weight: NonNegative = Field(1.0, description="how often FMix, against the others that are on")
    fmix_decay: float = Field(
        3.0,
        ge=0,
        le=10,
        description="power by which FMix damps frequencies; larger gives fewer, rounder parts",
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
