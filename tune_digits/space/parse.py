"""The raw YAML tree of a trial, with its domains and branches recognised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.space.domains import DOMAINS, parse_domain
from tune_digits.space.tree import PIPELINE, OneOf, Path
from tune_digits.validate import did_you_mean


def parse_tree(raw: Any, where: str, flags: Mapping[str, str]) -> dict[str, Any]:
    """The tree of a space. A part without a name is the default one: `optimizer: {lr: ...}` is AdamW's.

    where: what messages begin with; flags: what they begin with instead at the keys that flags have set. Raises
    ConfigError.
    """
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{where}: must be a mapping such as {{optimizer: {{lr: {{loguniform: [1e-4, 1e-1]}}}}}}"
        )
    tree = _parse(raw, where, flags)
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{where}: its parts can be searched, but not all of it at once by {next(iter(raw))}"
        )
    for key, field in TrialConfig.model_fields.items():
        if field.discriminator and isinstance(tree.get(key), dict) and "name" not in tree[key]:
            tree[key] = {"name": field.default.name, **tree[key]}
    return tree


def _parse(raw: Any, where: str, flags: Mapping[str, str], path: Path = ()) -> Any:
    if isinstance(raw, list) and path[: len(PIPELINE)] == PIPELINE:
        items = enumerate(raw)
        return [_parse(item, f"{where}[{i}]", flags, (*path, str(i))) for i, item in items]
    if not isinstance(raw, dict):
        return raw
    if len(raw) == 1:
        ((key, value),) = raw.items()
        if key in DOMAINS:
            try:
                return parse_domain(key, value)
            except ValueError as error:
                raise ConfigError(f"{where}: {error}") from None
        if key == "one_of":
            return _parse_one_of(value, where, flags, path)
        names = [*DOMAINS, "one_of"]
        if key == "grid_search":
            raise ConfigError(f"{where}: grid_search does not go with Optuna; use choice")
        if isinstance(value, list) and "?" in (hint := did_you_mean(key, names)):
            raise ConfigError(f"{where}: unknown domain '{key}'{hint} Allowed: {', '.join(names)}")
    parsed = {}
    for key, value in raw.items():
        below = (*path, str(key))
        parsed[str(key)] = _parse(value, flags.get(".".join(below), f"{where}.{key}"), flags, below)
    return parsed


def _parse_one_of(value: Any, where: str, flags: Mapping[str, str], path: Path) -> OneOf:
    if not isinstance(value, list) or not value or not all(isinstance(b, dict) for b in value):
        raise ConfigError(f"{where}: one_of needs a list of mappings (for plain values use choice)")
    branches = tuple(_parse(b, f"{where}.one_of[{i}]", flags, path) for i, b in enumerate(value))
    for i, branch in enumerate(branches):
        if not isinstance(branch, dict):
            raise ConfigError(
                f"{where}.one_of[{i}]: a branch is a mapping of keys, not {next(iter(value[i]))}"
            )
        if not isinstance(branch.get("name", ""), str):
            raise ConfigError(
                f"{where}.one_of[{i}].name: a branch has one fixed name; write a branch for each name"
            )
    names = [branch.get("name", str(i)) for i, branch in enumerate(branches)]
    labels = tuple(n if names.count(n) == 1 else f"{n}#{i}" for i, n in enumerate(names))
    return OneOf(labels, branches)
