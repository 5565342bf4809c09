"""Pydantic's errors in words: the file, the dotted key, what is allowed there, and the nearest right name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from tune_digits.config import Part
from tune_digits.config.listed import networks_called
from tune_digits.config.model import TORCHVISION
from tune_digits.config.part import variant
from tune_digits.errors import ConfigError

P = TypeVar("P", bound=Part)


def did_you_mean(name: Any, allowed: Iterable[str]) -> str:
    """`; did you mean 'sgd'?`, or `.` where nothing is near."""
    near = difflib.get_close_matches(str(name), list(allowed), 1)
    return f"; did you mean '{near[0]}'?" if near else "."


def _model_at(cls: type[Part], names: Mapping[str, Any], key: str) -> type[Part] | None:
    """The model that describes `key` of `cls`; for a union, the variant that `names` (the raw value) names.

    Variants are told apart by the field's discriminator; where the raw value leaves it out, the default is meant.
    """
    field = cls.model_fields.get(key)
    if field is None:
        return None
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    raw = names.get(key) if isinstance(names, Mapping) else None
    if field.discriminator:
        key = _discriminator(field)
        name = raw.get(key) if isinstance(raw, Mapping) else None
        return type(field.default) if name is None else variant(annotation, name, key)
    if isinstance(raw, Mapping):
        # one of several forms of a value: the one with most of these keys is meant
        return max(_parts_in(annotation), key=lambda form: len(form.model_fields.keys() & raw), default=None)
    return None


def _parts_in(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts_in(inner)


def _discriminator(field: FieldInfo | None) -> str:
    """The key that tells the variants of a union apart; a function that does so reads their names."""
    return field.discriminator if field and isinstance(field.discriminator, str) else "name"


def validate(
    cls: type[P], raw: Mapping[str, Any], where: str, note: str = "", flags: Mapping[str, str] | None = None
) -> P:
    """`cls` from a raw tree, or a ConfigError that names the dotted key, what is allowed and the nearest name.

    where: `file` or `file: key`, what a message begins with. note: what it ends with. flags: dotted key below `where`
    -> the flag that has set it (`--trials 0`), which a message about that key begins with instead.
    """
    try:
        return cls.model_validate(raw, context={"check_files": True})
    except ValidationError as error:
        lines = [_explain(cls, raw, e, where, flags or {}) + note for e in error.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def _head(where: str, keys: list[str], flags: Mapping[str, str]) -> str:
    """What a message about a key begins with: the flag that has set it or a key above it, else file and key."""
    for length in range(len(keys), 0, -1):
        flag = flags.get(".".join(keys[:length]))
        if flag is not None:
            return ": ".join([flag, ".".join(keys[length:])]) if keys[length:] else flag
    file, _, prefix = where.partition(": ")
    dotted = ".".join([k for k in (prefix, *keys) if k])
    return f"{file}: {dotted}" if dotted else file


def _with_flags(message: str, keys: list[str], flags: Mapping[str, str]) -> str:
    """` (with --epochs 2)`: the flags that have set what a message about a whole part speaks of."""
    above = "".join(f"{key}." for key in keys)
    named = [
        flag
        for key, flag in flags.items()
        if key.startswith(above) and re.search(rf"\b{re.escape(key.rpartition('.')[2])}\b", message)
    ]
    return f" (with {', '.join(named)})" if named else ""


def _explain(cls: type[Part], raw: Any, error: Any, where: str, flags: Mapping[str, str]) -> str:
    keys: list[str] = []
    model: type[Part] | None = cls
    node = raw
    last = len(error["loc"]) - 1
    for i, part in enumerate(error["loc"]):
        # the tag of a union stands in the location but not in the file
        if isinstance(node, Mapping) and part not in node and (error["type"], i) != ("missing", last):
            continue
        if isinstance(node, str | int | float):  # the tag of a union again: there is nothing below a value
            continue
        keys.append(str(part))
        if model is not None and isinstance(part, str):
            model = _model_at(model, node, part)
        node = node.get(part) if isinstance(node, Mapping) else None
    kind = error["type"]
    owner = _owner(cls, raw, keys)
    fields = owner.model_fields if owner else {}
    field = fields.get(keys[-1]) if keys else None
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        keys.append(_discriminator(field))
    head = _head(where, keys, flags)
    if kind == "extra_forbidden":
        allowed = sorted(fields)
        hint = did_you_mean(keys[-1], allowed)
        return f"{head}: unknown key" + (f"{hint} Allowed here: {', '.join(allowed)}." if allowed else "")
    if kind == "missing" and field is not None and field.description:
        return f"{head}: missing: {field.description}"
    if kind == "union_tag_not_found":
        return f"{head}: missing; it says which of the variants is meant"
    if kind in ("union_tag_invalid", "literal_error"):
        allowed = re.findall(
            "'([^']+)'", error["ctx"].get("expected_tags") or error["ctx"].get("expected", "")
        )
        got = error["ctx"].get("tag", error.get("input"))
        hint = did_you_mean(got, allowed)
        if "?" not in hint and TORCHVISION in allowed and (found := networks_called(str(got))):
            hint = f"; did you mean {' or '.join(map(repr, found))}?"
        return f"{head}: unknown value '{got}'{hint} Allowed: {', '.join(allowed)}"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (got {given!r})" if isinstance(given, (str, int, float, bool, list, tuple, type(None))) else ""
    return f"{head}: {message[0].lower()}{message[1:]}{shown}{_with_flags(message, keys, flags)}"


def _owner(cls: type[Part], raw: Any, keys: list[str]) -> type[Part] | None:
    """The model that should have had keys[-1]."""
    model: type[Part] | None = cls
    node = raw
    for key in keys[:-1]:
        if model is None:
            return None
        model = _model_at(model, node, key)
        node = node.get(key) if isinstance(node, Mapping) else None
    return model
