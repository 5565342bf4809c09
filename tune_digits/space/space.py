"""A checked search space.

    optimizer:
      one_of:
        - {name: sgd,   lr: {loguniform: [0.01, 1.0]}, momentum: {uniform: [0.8, 0.99]}}
        - {name: adamw, lr: {loguniform: [1e-4, 1e-2]}}

A leaf of TrialConfig's tree is a constant or a domain under Ray Tune's name; a mapping may be `one_of` several. At
load both ends of every domain of every branch, alone and in pairs, pass through `TrialConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.space.checks import check_pairs, ends
from tune_digits.space.defaults import with_defaults, written
from tune_digits.space.domains import Domain, Suggester
from tune_digits.space.grid import continuous, grid_points, grid_size
from tune_digits.space.parse import parse_tree
from tune_digits.space.points import complete, default_at, parse_point
from tune_digits.space.tree import OneOf, Parameter, build, parameters
from tune_digits.validate import validate


@dataclass(frozen=True, slots=True)
class Space:
    """A checked search space.

    tree: TrialConfig's whole tree, every default included, with Domain and OneOf at some places. baseline and start:
    dotted keys -> values, as the file gave them; the baseline is trial 0, the start points follow it.
    """

    tree: dict[str, Any]
    baseline: dict[str, Any]
    start: tuple[dict[str, Any], ...]

    def parameters(self) -> dict[str, Domain | OneOf]:
        """Parameter name -> what it may be, all branches included."""
        return {p.name: p.node for p in parameters(self.tree)}

    def searched(self) -> dict[str, tuple[Domain | OneOf, ...]]:
        """Dotted key of the file -> what it may be in each branch, in the file's order."""
        found: dict[str, tuple[Domain | OneOf, ...]] = {}
        for p in parameters(self.tree):
            found[p.key] = (*found.get(p.key, ()), p.node)
        return found

    def suggest(self, trial: Suggester) -> dict[str, Any]:
        """A TrialConfig tree from an Optuna trial."""

        def pick(p: Parameter) -> Any:
            if isinstance(p.node, OneOf):
                return trial.suggest_categorical(p.name, p.node.labels)
            return p.node.suggest(trial, p.name)

        tree: dict[str, Any] = build(self.tree, pick)
        return tree

    def point(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A point of the space as (Optuna's parameters, TrialConfig's tree).

        wanted: dotted keys -> allowed values. What it does not say is TrialConfig's default, or the allowed value next
        to that. Where two branches have the name that it says, it takes the first one that allows its other keys.
        """
        return complete(self.tree, wanted)

    @property
    def size(self) -> int | None:
        """How many points there are; None where a searched key is continuous."""
        return grid_size(self.tree)

    def continuous(self) -> dict[str, Domain]:
        """Dotted key -> domain, of the searched keys that take infinitely many values."""
        return continuous(self.tree)

    def configurations(self) -> Iterator[tuple[dict[str, Any], TrialConfig]]:
        """Every different configuration of a finite space, with Optuna's parameters of it: baseline and start points
        first, then all others in the order of the file, of which the last key changes first.

        Raises ConfigError at a point that makes no valid TrialConfig, and ValueError where the space is not finite.
        """
        given = [self.point(point) for point in (self.baseline, *self.start)]
        seen: set[str] = set()
        for params, tree in chain(given, grid_points(self.tree)):
            note = "".join(f", {name} {value}" for name, value in params.items())
            config = validate(TrialConfig, tree, "trial", note)
            key = config_key(config)
            if key not in seen:
                seen.add(key)
                yield params, config

    def written(self) -> dict[str, Any]:
        """The tree as a study file has it: every default, and the searched keys as their domains."""
        tree: dict[str, Any] = written(self.tree)
        return tree

    def ends(self) -> Iterator[TrialConfig]:
        """The configurations that stand for all of the space: each end of every domain, in every branch, once."""
        return ends(self.tree)

    def fixed(self, key: str) -> Any:
        """The constant at a dotted key, or TrialConfig's default. Raises ConfigError where trials may differ in it."""
        first, *others = _values(self.tree, key.split("."), default_at(key))
        if isinstance(first, Domain) or any(other != first for other in others):
            raise ConfigError(f"trial.{key} cannot be searched: it must be one value for all trials")
        return first


def config_key(config: TrialConfig) -> str:
    """A text that is the same for equal configurations, and for no others."""
    return config.model_dump_json()


def _values(node: Any, path: list[str], default: Any) -> Iterator[Any]:
    """What stands at a path below a node, in each branch; a Domain where it or a part around it is searched."""
    if isinstance(node, OneOf):
        for branch in node.branches:
            yield from _values(branch, path, default)
    elif path and isinstance(node, dict):
        yield from _values(node.get(path[0]), path[1:], default)
    else:
        yield default if node is None else node


def make_space(
    raw: Any, baseline: Any, start: Any, file: str, flags: Mapping[str, str] | None = None
) -> Space:
    """A checked Space from the raw `trial`, `baseline` and `start` parts of a study file.

    flags: dotted key of the trial -> the flag that has set it, which messages about it then name in place of the file.
    Raises ConfigError.
    """
    where = f"{file}: trial"
    tree = parse_tree(raw, where, flags or {})
    for _ in ends(tree, where, flags):
        pass
    check_pairs(tree, where, flags)
    tree = with_defaults(tree)
    if not isinstance(start, list):
        raise ConfigError(f"{file}: start: must be a list of points such as [{{optimizer.lr: 0.01}}]")
    points = [parse_point(tree, point, f"{file}: start[{i}]") for i, point in enumerate(start)]
    return Space(tree, parse_point(tree, baseline, f"{file}: baseline"), tuple(points))
