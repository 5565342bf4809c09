"""What every part of the configuration is made of."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the configuration: immutable, and every key must be known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


def variants(union: Any) -> dict[str, type[Part]]:
    """The models of a union discriminated on `name`: name -> class. `variants(Loss)["focal"]` is Focal."""
    # a field's annotation has lost the Annotated wrapper that the alias has
    models = get_args(union if isinstance(union, UnionType) else get_args(union)[0])
    return {m.model_fields["name"].default: m for m in models}
