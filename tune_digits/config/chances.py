"""trial.augment: which of the operations happen to a sample."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tune_digits.config.part import Fraction, Part, Positive

Chance = Annotated[Fraction | None, Field(description="probability of this operation; null: each_p")]


class Chances(Part):
    """The probability of each operation, drawn for each sample on its own; 0 switches an operation off."""

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


def _as_weights(value: Any) -> Any:
    """A list of names stands for the same weight for each of them."""
    return dict.fromkeys(value, 1.0) if isinstance(value, list | tuple) else value


class Group(Part):
    """Operations that are drawn together for each sample, instead of each one by itself."""

    take: Literal["one", "all"] = Field(
        description="one: one of the operations, drawn by weight; all: all of them or none"
    )
    p: Fraction = Field(1.0, description="probability that the group is applied to a sample")
    of: Annotated[dict[str, Positive], BeforeValidator(_as_weights)] = Field(
        min_length=1, description="the operations: a list, or a mapping from each of them to its weight"
    )

    @model_validator(mode="after")
    def _members_exist(self) -> Group:
        unknown = [name for name in self.of if name not in Chances.model_fields]
        if unknown:
            raise ValueError(
                f"`of` names {', '.join(unknown)}; operations are {', '.join(Chances.model_fields)}"
            )
        if self.take == "all" and len(set(self.of.values())) > 1:
            raise ValueError("weights choose among operations (`take: one`); `take: all` applies all of them")
        return self
