"""What every part of the configuration is made of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the configuration: immutable, and every key must be known.

    What `tune-digits tricks` shows is written here and nowhere else: a class's docstring says in one or two sentences
    what it is, a field's `description` what it means, and `source` of either where it comes from, such as a paper. A
    class that can be chosen by its name has a source of its own, '' where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: ClassVar[str] = ""


Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


def cite(source: str) -> dict[str, Any]:
    """A field's source, for `Field(json_schema_extra=cite("arXiv:1708.04552"))`."""
    return {"source": source}


def variants(union: Any, discriminator: str = "name") -> dict[str, type[Part]]:
    """The models of a union told apart by a key, `name`: name -> class. `variants(Loss)["focal"]` is Focal.

    Where one class stands for many names, its tag stands for them: `torchvision:NAME`.
    """
    if get_origin(union) is Annotated:  # as an alias is, and a field's annotation is not
        union = get_args(union)[0]
    table = {}
    for model in get_args(union):
        cls, *tags = get_args(model) or (model,)
        table[tags[0].tag if tags else cls.model_fields[discriminator].default] = cls
    return table


def variant(union: Any, name: Any, discriminator: str = "name") -> type[Part] | None:
    """The model of a union that `name` means, `torchvision:resnet18` included; None where there is none."""
    table = variants(union, discriminator)
    library, colon, _ = str(name).partition(":")
    return table.get(f"{library}:NAME" if colon else str(name))
