"""trial.train: the loop itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tune_digits.config.part import BelowOne, Part


class Train(Part):
    epochs: int = Field(8, ge=1, le=10_000, description="passes over the training part")
    batch_size: int = Field(128, ge=2, le=65_536, description="samples per weight update")
    ema_decay: BelowOne = Field(0.0, description="decay per update of the averaged weights; 0 = off")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 autocast on a GPU, float32 on a CPU"
    )
