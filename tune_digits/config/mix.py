"""trial.mix: mixing of pairs within a batch."""

from __future__ import annotations

from pydantic import Field

from tune_digits.config.part import Fraction, Part


class Mix(Part):
    """Mixing of pairs within a batch; with both alphas > 0 each batch takes one of the two at random."""

    p: Fraction = Field(1.0, description="probability that a batch is mixed")
    mixup_alpha: float = Field(0.0, ge=0, le=8, description="MixUp with lambda ~ Beta(alpha, alpha); 0 = off")
    cutmix_alpha: float = Field(0.0, ge=0, le=8, description="CutMix with area ~ Beta(alpha, alpha); 0 = off")
