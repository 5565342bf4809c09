"""This project's own networks, found in the union of the configuration: one that is added there is tested unnamed."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from tune_digits.config import variants
from tune_digits.config.model import Model
from tune_digits.config.network import STARTS, AnyNetwork

OWN: dict[str, type[Any]] = {name: cls for name, cls in variants(Model).items() if ":" not in name}
WIDTH = 4


def small(cls: type[Any], **knobs: Any) -> AnyNetwork:
    """One that is made and trained in a moment; knobs that the network does not have are left out."""
    return cls(**{key: value for key, value in {"width": WIDTH, **knobs}.items() if key in cls.model_fields})


def turned(cls: type[Any]) -> AnyNetwork:
    """A small one in which each switch and each choice has another value than in the default, the last there is."""
    others: dict[str, Any] = {}
    for key, field in cls.model_fields.items():
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if field.annotation is bool:
            values = (False, True)
        values = tuple(value for value in values if value != field.default)
        if values and key not in STARTS:
            others[key] = values[-1]
    return small(cls, **others)
