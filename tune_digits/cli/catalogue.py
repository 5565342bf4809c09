"""The tricks and their knobs, read from the configuration's classes.

Nothing is written down twice: ranges, defaults, descriptions and sources of knobs are pydantic's JSON schema; a
summary is the first paragraph of a class's docstring, its source the class's own `source`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_digits.config import Ensemble, Part, Search, TrialConfig, variants

TITLES = {
    "model": "Models",
    "augment": "Augmentations",
    "mix": "Mixing",
    "loss": "Losses",
    "optimizer": "Optimizers",
    "schedule": "Schedules",
    "train": "Training",
    "search": "Search",
    "ensemble": "Ensemble",
}


@dataclass(frozen=True, slots=True)
class Knob:
    """One key: what it may be, its default (both as one would write them), its meaning and its source ('': none)."""

    name: str
    allowed: str
    default: str
    what: str
    source: str

    def text(self) -> str:
        """The meaning, with the source in parentheses."""
        return f"{self.what} ({self.source})" if self.source else self.what


@dataclass(frozen=True, slots=True)
class Entry:
    """One of the names that a part may have: what it is, where it comes from ('': nowhere), and its knobs."""

    name: str
    what: str
    source: str
    knobs: tuple[Knob, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the configuration: its key in a study, the knobs that all its entries share, and the entries."""

    key: str
    title: str
    what: str
    knobs: tuple[Knob, ...]
    entries: tuple[Entry, ...] = ()


def catalogue() -> list[Section]:
    """Every part of a trial, in the configuration's order, the search and the ensemble."""
    sections = []
    for key, field in TrialConfig.model_fields.items():
        if field.discriminator:
            sections.append(_union(key, variants(field.annotation)))
        else:
            sections.append(_plain(key, type(field.default)))
    return [*sections, _plain("search", Search), _plain("ensemble", Ensemble)]


def _plain(key: str, cls: type[Part]) -> Section:
    return Section(key, TITLES[key], f"{summary(cls)}.", tuple(knobs_of(cls).values()))


def _union(key: str, models: Mapping[str, type[Part]]) -> Section:
    knobs = {name: knobs_of(cls) for name, cls in models.items()}
    shared = _shared(list(knobs.values()))
    entries = []
    for name, cls in models.items():
        own = tuple(knob for knob in knobs[name].values() if shared.get(knob.name) != knob)
        entries.append(Entry(name, summary(cls), cls.source, own))
    return Section(key, TITLES[key], "", tuple(shared.values()), tuple(entries))


def summary(cls: type[Part]) -> str:
    """The first paragraph of a class's own docstring, without its last full stop; '' where it has none."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return " ".join(text.split("\n\n")[0].split()).removesuffix(".")


def _shared(all_knobs: list[dict[str, Knob]]) -> dict[str, Knob]:
    """The knobs that every entry has, and most have alike; those that differ show their own again."""
    shared = {}
    for name in all_knobs[0]:
        found = [knobs[name] for knobs in all_knobs if name in knobs]
        most = max(found, key=found.count)
        if len(found) == len(all_knobs) and 2 * found.count(most) > len(found):
            shared[name] = most
    return shared


# ── knobs from the JSON schema ───────────────────────────────────────────────────────────────────────


def knobs_of(cls: type[Part]) -> dict[str, Knob]:
    """The keys of a part but for `name` where it is fixed, in the order in which they are declared."""
    schema = cls.model_json_schema()
    found = {}
    for key, node in schema["properties"].items():
        if key == "name" and "const" in node:
            continue
        default = "required" if key in schema.get("required", ()) else _written(node.get("default"))
        allowed = _allowed(node, schema.get("$defs", {}))
        found[key] = Knob(key, allowed, default, node.get("description", ""), node.get("source", ""))
    return found


def _written(value: Any) -> str:
    """A value as in a study's YAML; of a mapping what is set."""
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if v is not None}
    return value if isinstance(value, str) else json.dumps(value)


def _allowed(node: dict[str, Any], defs: dict[str, Any]) -> str:
    """What a value may be, from its JSON schema."""
    if "$ref" in node:
        return _allowed(defs[node["$ref"].rpartition("/")[2]], defs)
    for many in ("anyOf", "oneOf"):
        if many in node:
            return " | ".join(dict.fromkeys(_allowed(n, defs) for n in node[many]))
    if "enum" in node or "const" in node:
        return " | ".join(map(_written, node.get("enum", [node.get("const")])))
    kind = node.get("type")
    if kind in ("number", "integer"):
        return _interval(node, "int" if kind == "integer" else "")
    if kind == "array":
        items = [_allowed(n, defs) for n in node.get("prefixItems", [node.get("items", {})])]
        return f"list of {', '.join(items)}"
    if node.get("properties"):
        inside = dict.fromkeys(_allowed(n, defs) for n in node["properties"].values())
        return f"mapping of {next(iter(inside))}" if len(inside) == 1 else "mapping"
    names = {"boolean": "true | false", "string": "text", "null": "null", "object": "mapping"}
    return names.get(str(kind), "any")


def _interval(node: dict[str, Any], kind: str) -> str:
    """`[0, 1)`, `> 0` or `int >= 1`."""
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    left = f"[{low:g}" if low is not None else f"({above:g}" if above is not None else ""
    right = f"{high:g}]" if high is not None else f"{below:g})" if below is not None else ""
    if left and right:
        text = f"{left}, {right}"
    elif left:
        text = f"{'>=' if left[0] == '[' else '>'} {left[1:]}"
    elif right:
        text = f"{'<=' if right[-1] == ']' else '<'} {right[:-1]}"
    else:
        text = "" if kind else "number"
    return f"{kind} {text}".strip()
