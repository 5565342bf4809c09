"""The tricks and their knobs, read from the configuration's models and the docstrings of what they name.

Nothing is written down twice: ranges, defaults and descriptions are pydantic's JSON schema; a one-line summary is
the first paragraph of a variant's docstring, or of its function's, or of the function's module; a source is an arXiv
number or a reference in parentheses found there.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_digits.config import Ensemble, Part, TrialConfig, variants
from tune_digits.learn.losses import LOSSES
from tune_digits.learn.models import MODELS
from tune_digits.learn.optim import OPTIMIZERS
from tune_digits.learn.schedule import SCHEDULES

TITLES = {
    "model": "Models",
    "augment": "Augmentations",
    "mix": "Mixing",
    "loss": "Losses",
    "optimizer": "Optimizers",
    "schedule": "Schedules",
    "train": "Training",
    "ensemble": "Ensemble",
}
# the part of TrialConfig -> name -> the function that does it
TABLES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}

_ARXIV = r"arXiv[: ]\d{4}\.\d{4,5}"
_IN_PARENTHESES = re.compile(
    rf"\(([^()]*{_ARXIV}[^()]*|[A-Z][^\W\d_][^()]*\b(?:19|20)\d\d\b[^()]*|PyTorch's [A-Z][^()]*)\)"
)
_BARE = re.compile(rf"(?:[A-Z][\w-]+(?: et al\.| and [A-Z][\w-]+)? \d{{4}}, )?{_ARXIV}")


@dataclass(frozen=True, slots=True)
class Knob:
    """One key: what it may be, its default (both as one would write them), and what it means."""

    name: str
    allowed: str
    default: str
    what: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One of the names that a part may have, in one line, with where it comes from ('' = nowhere) and its knobs."""

    name: str
    what: str
    source: str
    knobs: tuple[Knob, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the configuration: its key in a study, the knobs of all its entries, and the entries."""

    key: str
    title: str
    what: str
    knobs: tuple[Knob, ...]
    entries: tuple[Entry, ...] = ()


def catalogue() -> list[Section]:
    """Every part of a trial, in the configuration's order, and the ensemble."""
    fields = TrialConfig.model_fields
    sections = [
        _union(key, variants(field.annotation)) if key in TABLES else _plain(key, type(field.default))
        for key, field in fields.items()
    ]
    return [*sections, _plain("ensemble", Ensemble)]


def _plain(key: str, cls: type[Part]) -> Section:
    return Section(key, TITLES.get(key, key), _paragraph(_own_doc(cls)), tuple(knobs_of(cls).values()))


def _union(key: str, models: Mapping[str, type[Part]]) -> Section:
    knobs = {name: knobs_of(cls) for name, cls in models.items()}
    shared = _shared(list(knobs.values()))
    entries = []
    for name, cls in models.items():
        function = TABLES[key].get(name)
        texts = [_own_doc(cls)]
        if function is not None:
            texts += [inspect.getdoc(function) or "", sys.modules[function.__module__].__doc__ or ""]
        own = tuple(knob for knob in knobs[name].values() if shared.get(knob.name) != knob)
        entries.append(Entry(name, _summary(texts), source_of(texts), own))
    return Section(key, TITLES.get(key, key), "", tuple(shared.values()), tuple(entries))


def _shared(all_knobs: list[dict[str, Knob]]) -> dict[str, Knob]:
    """The knobs that every entry has, and most have alike; those that differ show their own again."""
    shared = {}
    for name in all_knobs[0]:
        found = [knobs[name] for knobs in all_knobs if name in knobs]
        most = max(found, key=found.count)
        if len(found) == len(all_knobs) and 2 * found.count(most) > len(found):
            shared[name] = most
    return shared


# ── one line and one source from docstrings ──────────────────────────────────────────────────────────


def _own_doc(cls: type) -> str:
    return inspect.cleandoc(cls.__dict__.get("__doc__") or "")


def _paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _summary(texts: list[str]) -> str:
    """The first paragraph that says what it is, without its reference; one of shapes alone (->) does not."""
    firsts = [p for p in map(_paragraph, texts) if p]
    best = next((p for p in firsts if "->" not in p), firsts[0] if firsts else "")
    cut = re.sub(r"\s+([.,:;])", r"\1", _IN_PARENTHESES.sub("", best))
    return " ".join(cut.split()).removesuffix(".")


def source_of(texts: list[str]) -> str:
    """The reference in a docstring: one in parentheses with an arXiv number, one outside, or one without a number."""
    found = []
    for text in map(" ".join, map(str.split, texts)):
        inside = _IN_PARENTHESES.findall(text)
        found += [(0, s) for s in inside if "arXiv" in s]
        found += [(1, s) for s in _BARE.findall(text)]
        found += [(2, s) for s in inside]
    best = min(found, key=lambda ranked: ranked[0], default=(0, ""))[1]
    return best.replace("arXiv ", "arXiv:")


# ── knobs from the JSON schema ───────────────────────────────────────────────────────────────────────


def knobs_of(cls: type[Part]) -> dict[str, Knob]:
    """The keys of a part but for `name` where it is fixed, in the order in which they are declared."""
    schema = cls.model_json_schema()
    found = {}
    for key, node in schema["properties"].items():
        if key == "name" and "const" in node:
            continue
        default = "required" if key in schema.get("required", ()) else _written(node.get("default"))
        found[key] = Knob(key, _allowed(node, schema.get("$defs", {})), default, node.get("description", ""))
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
    return {"boolean": "true | false", "string": "text", "null": "null", "object": "mapping"}.get(kind, "any")


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
