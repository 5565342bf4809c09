"""Points of a space: the baseline and the start points, which say some keys and leave the rest to the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.config.part import variant
from tune_digits.errors import ConfigError
from tune_digits.space.domains import Domain
from tune_digits.space.tree import OneOf, Parameter, Path, build, flatten, parameters
from tune_digits.validate import did_you_mean, validate


@dataclass(frozen=True, slots=True)
class _Leaf(Parameter):
    """A parameter that is no branching."""

    node: Domain


# ── from a point to a trial ──────────────────────────────────────────────────────────────────────────


def complete(tree: dict[str, Any], point: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A point of the space as (Optuna's parameters, TrialConfig's tree).

    point: dotted keys -> allowed values. What it does not say is TrialConfig's default, or the allowed value next to
    that.
    """
    labels, chosen, leaves = _choose_branches(tree, point)

    def value_of(leaf: _Leaf) -> Any:
        # no deeper key has a default
        default = _default(leaf.path, _name_beside(leaf, chosen, point)) if len(leaf.path) == 2 else None
        return leaf.node.nearest(point.get(leaf.key, default))

    values = {leaf.path: value_of(leaf) for leaf in leaves.values()}
    params = {leaf.name: leaf.node.label(values[leaf.path]) for leaf in leaves.values()}
    return labels | params, build(chosen, lambda leaf: values[leaf.path])


def _choose_branches(
    tree: dict[str, Any], point: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, Any], dict[str, _Leaf]]:
    """The branches of a point: parameter -> label, the tree with domains and without branchings, its leaves by key."""
    labels: dict[str, str] = {}
    leaves: dict[str, _Leaf] = {}

    def pick(parameter: Parameter) -> Any:
        if isinstance(parameter.node, OneOf):
            labels[parameter.name] = _label(parameter, parameter.node, point)
            return labels[parameter.name]
        leaves[parameter.key] = _Leaf(parameter.name, parameter.path, parameter.node)
        return parameter.node

    return labels, build(tree, pick), leaves


def _label(parameter: Parameter, node: OneOf, point: Mapping[str, Any]) -> str:
    """The branch that a point means: the first of its name that allows the point's other keys.

    Where the point does not name one: the branch of TrialConfig's default, or the first.
    """
    if parameter.key not in point:
        default = node.labels_named(_default(parameter.path, None))
        return (default or node.labels)[0]
    labels = node.labels_named(point[parameter.key])
    fitting = [label for label in labels if not _misfits(parameter, node, label, point)]
    return (fitting or labels or node.labels)[0]


def _misfits(parameter: Parameter, node: OneOf, label: str, point: Mapping[str, Any]) -> list[str]:
    """The keys of a point that belong to this branching, and that the branch does not allow."""
    path = parameter.path[:-1]
    inside = list(parameters(node.branch(label), path))
    return [
        key
        for key, value in point.items()
        if key.startswith(".".join(path) + ".")
        and key != parameter.key
        and not any(p.key == key and _allows(p.node, value) for p in inside)
    ]


def _allows(node: Domain | OneOf, value: Any) -> bool:
    return bool(node.labels_named(value)) if isinstance(node, OneOf) else node.allows(value)


def _name_beside(leaf: _Leaf, chosen: Any, point: Mapping[str, Any]) -> Any:
    """The `name` of the part that a leaf belongs to: fixed, or searched and then the point's or the default."""
    path = (*leaf.path[:-1], "name")
    node = chosen
    for part in path:
        node = node.get(part)
    if isinstance(node, Domain):
        node = node.nearest(point.get(".".join(path), _default(path, None)))
    return node


def _default(path: Path, name: Any) -> Any:
    """TrialConfig's default at a path; in a union that of the variant `name`. None where there is none."""
    field = TrialConfig.model_fields[path[0]]
    if len(path) != 2:
        return None
    cls: Any = type(field.default)
    if field.discriminator and path[1] != "name":
        cls = variant(field.annotation, name) or cls
    leaf = cls.model_fields.get(path[1])
    return None if leaf is None else leaf.default


def default_at(key: str) -> Any:
    """TrialConfig's default at a dotted key such as `train.epochs`."""
    return _default(tuple(key.split(".")), None)


# ── from the study file to a point ───────────────────────────────────────────────────────────────────


def parse_point(tree: dict[str, Any], raw: Any, where: str) -> dict[str, Any]:
    """A point of a study file as dotted keys -> values, checked against its domains.

    Raises ConfigError for a key that is not searched, or not in the branch that the point takes; for a value outside
    its domain or between its steps; and for a branch that does not exist.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: must be a mapping such as {{optimizer.lr: 0.01}}, got {raw!r}")
    every = list(parameters(tree))
    keys = list(dict.fromkeys(parameter.key for parameter in every))
    point = flatten(raw, keys)
    for key in point:
        if key not in keys:
            raise ConfigError(
                f"{where}: {key} is not searched{did_you_mean(key, keys)} Searched: {', '.join(keys) or 'nothing'}"
            )
    labels, _, _ = _choose_branches(tree, point)
    taken = {p.key: p for p in every if all(labels.get(name) == label for name, label in p.inside.items())}
    for key, parameter in taken.items():
        if key in point and isinstance(parameter.node, OneOf):
            _check_branch(parameter, parameter.node, point, where)
    for key, value in point.items():
        if key not in taken:
            branches = ", ".join(f"{name} {label}" for name, label in labels.items())
            raise ConfigError(f"{where}: {key} is not searched with {branches}, which this point takes")
        node, inside = taken[key].node, taken[key].inside
        if not isinstance(node, OneOf) and not node.allows(value):
            branch = "".join(f" with {name} {label}" for name, label in inside.items())
            raise ConfigError(f"{where}: {key}{branch}: {node.refusal(value)}")
    validate(TrialConfig, complete(tree, point)[1], where)
    return point


def _check_branch(parameter: Parameter, node: OneOf, point: Mapping[str, Any], where: str) -> None:
    """A point's branch exists; and where several have its name, one of them allows the point's other keys."""
    name = point[parameter.key]
    labels = node.labels_named(name)
    if not labels:
        hint = did_you_mean(name, node.labels)
        raise ConfigError(
            f"{where}: {parameter.key}: no branch is named {name!r}{hint} Branches: {', '.join(node.labels)}"
        )
    misfits = {label: _misfits(parameter, node, label, point) for label in labels}
    if len(labels) > 1 and all(misfits.values()):
        lines = []
        for label, keys in misfits.items():
            inside = list(parameters(node.branch(label), parameter.path[:-1]))
            domains = {key: [str(p.node) for p in inside if p.key == key] for key in keys}
            lines += [f"{label} has {key} {' or '.join(d) or 'not searched'}" for key, d in domains.items()]
        given = ", ".join(
            f"{key} {point[key]!r}" for key in dict.fromkeys(k for m in misfits.values() for k in m)
        )
        raise ConfigError(f"{where}: no branch named {name} allows {given}: {'; '.join(lines)}")
