"""The search space: the tree of `TrialConfig` with domains at its leaves.

    optimizer:
      one_of:
        - {name: sgd,   lr: {loguniform: [0.01, 1.0]}, momentum: {uniform: [0.8, 0.99]}}
        - {name: adamw, lr: {loguniform: [1e-4, 1e-2]}}

A leaf is a constant or a domain under Ray Tune's name; a branch may be `one_of`. At load both ends of every
domain of every branch, alone and in pairs, pass through `TrialConfig`, so a range that cannot train dies before
anything starts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.config.part import variant
from tune_digits.errors import ConfigError
from tune_digits.validate import did_you_mean, validate

Path = tuple[str, ...]
OPAQUE = {("augment", "pipeline")}  # another library's own tree: constants all the way down


# ── domains ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Domain:
    """What a leaf may be. kind is Ray Tune's name; args are its arguments, as numbers (choice: the values).

    As in Ray Tune, uniform families include both ends up to rounding, integer families exclude the upper end
    unless quantised.
    """

    kind: str
    args: tuple[Any, ...]

    @property
    def labels(self) -> tuple[Any, ...]:
        """A choice's values as Optuna can store them: scalars as they are, lists and mappings as JSON."""
        return tuple(
            v if v is None or isinstance(v, (bool, int, float, str)) else json.dumps(v) for v in self.args
        )

    def ends(self) -> tuple[Any, ...]:
        """The values that stand for all others when the space is checked."""
        if self.kind == "choice":
            return self.args
        low, high = self.args[:2]
        return (low, high - 1) if self.kind in ("randint", "lograndint") else (low, high)

    def suggest(self, trial: Any, name: str) -> Any:
        """Ask an Optuna trial for a value under `name`."""
        if self.kind == "choice":
            return self.args[self.labels.index(trial.suggest_categorical(name, self.labels))]
        low, high = self.ends()
        log = "log" in self.kind
        step = self.args[2] if len(self.args) == 3 else None
        if "int" in self.kind:
            return trial.suggest_int(name, low, high, step=step or 1, log=log)
        value = trial.suggest_float(name, low, high, step=None if log else step, log=log)
        # Optuna cannot quantise a logarithmic domain, so qloguniform is rounded here, inside its ends
        return min(max(round(value / step) * step, low), high) if log and step else value

    def nearest(self, value: Any) -> Any:
        """The allowed value next to `value` (a choice that lacks it: its first)."""
        if self.kind == "choice":
            return value if value in self.args else self.args[0]
        low, high = self.ends()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return low
        value = min(max(value, low), high)
        if len(self.args) == 3:
            step = self.args[2]
            value = min(low + round((value - low) / step) * step, high)
        return int(value) if "int" in self.kind else float(value)

    def label(self, value: Any) -> Any:
        """`value` as Optuna stores it."""
        return self.labels[self.args.index(value)] if self.kind == "choice" else value

    def __str__(self) -> str:
        if self.kind == "choice":
            return "choice " + " | ".join(map(str, self.args))
        low, high = self.ends()
        return f"{self.kind} {low:g} .. {high:g}" + (f" step {self.args[2]:g}" if len(self.args) == 3 else "")


@dataclass(frozen=True, slots=True)
class OneOf:
    """A branch of the tree: exactly one of these mappings, known by its `name` (or its number)."""

    labels: tuple[str, ...]
    branches: tuple[dict[str, Any], ...]


# name -> (number of arguments allowed, whole numbers?)
DOMAINS: dict[str, tuple[tuple[int, ...], bool]] = {
    "uniform": ((2,), False),
    "quniform": ((3,), False),
    "loguniform": ((2,), False),
    "qloguniform": ((3,), False),
    "randint": ((2,), True),
    "qrandint": ((3,), True),
    "lograndint": ((2,), True),
}


def _parse_domain(kind: str, args: Any, where: str) -> Domain:
    if kind == "choice":
        if not isinstance(args, list) or not args:
            raise ConfigError(f"{where}: choice needs a list of values, got {args!r}")
        return Domain("choice", tuple(args))
    counts, whole = DOMAINS[kind]
    form = "[low, high, step]" if counts == (3,) else "[low, high]"
    if not isinstance(args, list) or len(args) not in counts:
        raise ConfigError(f"{where}: {kind} needs {form}, got {args!r}")
    try:
        # PyYAML reads 1e-4 as a string
        numbers = tuple(float(a) for a in args)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: {kind} needs numbers {form}, got {args!r}") from None
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{where}: {kind} needs finite numbers, got {args!r}")
    if whole:
        if any(n != int(n) for n in numbers):
            raise ConfigError(f"{where}: {kind} needs whole numbers, got {args!r}")
        numbers = tuple(int(n) for n in numbers)
    low, high = numbers[:2]
    if not low < high:
        raise ConfigError(f"{where}: {kind} needs low < high, got {args!r}")
    if "log" in kind and low <= 0:
        raise ConfigError(f"{where}: {kind} needs low > 0, got {args!r}")
    if len(numbers) == 3 and not 0 < numbers[2] <= high - low:
        raise ConfigError(f"{where}: the step of {kind} must lie in (0, high - low], got {args!r}")
    return Domain(kind, numbers)


def _parse(raw: Any, where: str, path: Path = ()) -> Any:
    """The raw YAML tree with domains and branches recognised."""
    if not isinstance(raw, dict) or path in OPAQUE:
        return raw
    if len(raw) == 1:
        key, value = next(iter(raw.items()))
        if key in DOMAINS or key == "choice":
            return _parse_domain(key, value, where)
        if key == "one_of":
            return _parse_one_of(value, where, path)
        names = [*DOMAINS, "choice", "one_of"]
        if isinstance(value, list) and "?" in (hint := did_you_mean(key, names)):
            raise ConfigError(f"{where}: unknown domain '{key}'{hint} Allowed: {', '.join(names)}")
        if key == "grid_search":
            raise ConfigError(f"{where}: grid_search does not go with Optuna; use choice")
    return {str(k): _parse(v, f"{where}.{k}", (*path, str(k))) for k, v in raw.items()}


def _parse_one_of(value: Any, where: str, path: Path) -> OneOf:
    if not isinstance(value, list) or not value or not all(isinstance(b, dict) for b in value):
        raise ConfigError(f"{where}: one_of needs a list of mappings (for plain values use choice)")
    branches = tuple(_parse(b, f"{where}.one_of[{i}]", path) for i, b in enumerate(value))
    names = [str(b.get("name", i)) for i, b in enumerate(branches)]
    labels = tuple(n if names.count(n) == 1 else f"{n}#{i}" for i, n in enumerate(names))
    return OneOf(labels, branches)


# ── walking the tree ─────────────────────────────────────────────────────────────────────────────────

Pick = Callable[[str, Path, "Domain | OneOf"], Any]


def build(tree: Any, pick: Pick, path: Path = (), scope: str = "") -> Any:
    """The tree with every domain replaced by what `pick(parameter, path, node)` returns.

    The parameter's name is its dotted key; inside a branch of `one_of` the branch's label joins it
    (`optimizer.sgd.lr`), since lr of SGD and lr of RMSprop are not the same parameter. For a OneOf, pick returns
    the label.
    """
    name = scope or ".".join(path)
    if isinstance(tree, Domain):
        return pick(name, path, tree)
    if isinstance(tree, OneOf):
        label = pick(f"{name}.name", (*path, "name"), tree)
        return build(tree.branches[tree.labels.index(label)], pick, path, f"{name}.{label}")
    if isinstance(tree, dict) and path not in OPAQUE:
        return {k: build(v, pick, (*path, k), f"{name}.{k}" if name else k) for k, v in tree.items()}
    return tree


def nodes(tree: Any, path: Path = (), scope: str = "") -> Iterator[tuple[str, Path, Domain | OneOf]]:
    """Every domain and branching of the tree with its parameter name and path, all branches included."""
    name = scope or ".".join(path)
    if isinstance(tree, Domain):
        yield name, path, tree
    elif isinstance(tree, OneOf):
        yield f"{name}.name", (*path, "name"), tree
        for label, branch in zip(tree.labels, tree.branches, strict=True):
            yield from nodes(branch, path, f"{name}.{label}")
    elif isinstance(tree, dict) and path not in OPAQUE:
        for key, value in tree.items():
            yield from nodes(value, (*path, key), f"{name}.{key}" if name else key)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 1}} -> {"optimizer.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and tuple(name.split(".")) not in OPAQUE:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


# ── the space ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Space:
    """A checked search space.

    tree: TrialConfig's tree with Domain and OneOf at some places. baseline and start: dotted keys -> values, as
    the file gave them; the baseline is trial 0, the start points follow it.
    """

    tree: dict[str, Any]
    baseline: dict[str, Any]
    start: tuple[dict[str, Any], ...]

    def parameters(self) -> dict[str, Domain | OneOf]:
        """Parameter name -> what it may be, all branches included."""
        return {name: node for name, _, node in nodes(self.tree)}

    def searched_keys(self) -> tuple[str, ...]:
        """The dotted keys of the file that are searched, once each, in the file's order."""
        return tuple(dict.fromkeys(".".join(path) for _, path, _ in nodes(self.tree)))

    def suggest(self, trial: Any) -> dict[str, Any]:
        """A TrialConfig tree from an Optuna trial."""

        def pick(name: str, path: Path, node: Domain | OneOf) -> Any:
            return (
                trial.suggest_categorical(name, node.labels)
                if isinstance(node, OneOf)
                else node.suggest(trial, name)
            )

        return build(self.tree, pick)

    def point(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A point of the space as (Optuna parameters, TrialConfig tree).

        What `wanted` (dotted keys) does not say takes TrialConfig's default, or the allowed value next to it.
        """
        params: dict[str, Any] = {}

        def pick(name: str, path: Path, node: Domain | OneOf) -> Any:
            key = ".".join(path)
            if isinstance(node, OneOf):
                names = [b.get("name") for b in node.branches]
                value = wanted.get(key, _default(path, names[0]))
                params[name] = node.labels[names.index(value)] if value in names else node.labels[0]
                chosen[path[:-1]] = node.branches[node.labels.index(params[name])].get("name")
                return params[name]
            value = node.nearest(
                wanted.get(key, _default(path, chosen.get(path[:-1], _fixed_name(self.tree, path))))
            )
            if path[-1] == "name":
                chosen[path[:-1]] = value
            params[name] = node.label(value)
            return value

        chosen: dict[Path, Any] = {}
        return params, build(self.tree, pick)

    def fixed(self, key: str) -> Any:
        """The constant at a dotted key, or TrialConfig's default. Raises ConfigError where it is searched."""
        node: Any = self.tree
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, (Domain, OneOf)):
            raise ConfigError(f"trial.{key} cannot be searched: it must be one value for all trials")
        return _default(tuple(key.split(".")), None) if node is None else node


def _fixed_name(tree: Any, path: Path) -> Any:
    for part in path[:-1]:
        tree = tree.get(part) if isinstance(tree, dict) else None
    name = tree.get("name") if isinstance(tree, dict) else None
    return name if isinstance(name, str) else None


def _default(path: Path, name: str | None) -> Any:
    """TrialConfig's default at path; in a union, that of the variant `name`."""
    field = TrialConfig.model_fields.get(path[0])
    if field is None or len(path) != 2:
        return None
    cls: Any = type(field.default)
    if field.discriminator and name is not None and path[1] != "name":
        cls = variant(field.annotation, name) or cls
    leaf = cls.model_fields.get(path[1])
    return None if leaf is None else leaf.default


def make_space(raw: Any, baseline: Any, start: Any, file: str) -> Space:
    """A checked Space from the raw `trial`, `baseline` and `start` parts of a study file."""
    where = f"{file}: trial"
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{where}: must be a mapping such as {{optimizer: {{lr: {{loguniform: [1e-4, 1e-1]}}}}}}"
        )
    tree = _parse(raw, where)
    for key, field in TrialConfig.model_fields.items():
        # `optimizer: {lr: …}` without a name means the default optimizer
        if field.discriminator and isinstance(tree.get(key), dict) and "name" not in tree[key]:
            tree[key] = {"name": field.default.name, **tree[key]}
    if not isinstance(start, list):
        raise ConfigError(f"{file}: start: must be a list of points such as [{{optimizer.lr: 0.01}}]")
    places = [f"{file}: baseline", *(f"{file}: start[{i}]" for i in range(len(start)))]
    points = [_point(tree, raw, place) for raw, place in zip((baseline, *start), places, strict=True)]
    space = Space(tree, points[0], tuple(points[1:]))
    for _ in ends(space, where):
        pass
    _check_pairs(space, where)
    for point, place in zip(points, places, strict=True):
        _check_point(space, point, place)
    return space


def _point(tree: Any, raw: Any, where: str) -> dict[str, Any]:
    """A given point as dotted keys and values, with numbers as numbers."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: must be a mapping such as {{optimizer.lr: 0.01}}, got {raw!r}")
    point = flatten(raw)
    for _, path, node in nodes(tree):
        key = ".".join(path)
        numeric = isinstance(node, Domain) and node.kind != "choice"
        if numeric and isinstance(point.get(key), str) and _is_number(point[key]):
            # PyYAML reads 1e-4 as a string
            point[key] = float(point[key])
    return point


def ends(space: Space, where: str) -> Iterator[TrialConfig]:
    """The configurations that stand for all of the space: each end of every domain, in every branch, once.

    Raises ConfigError, with the place after `where`, at an end that is none.
    """
    parameters = list(nodes(space.tree))
    first = {
        name: node.labels[0] if isinstance(node, OneOf) else node.ends()[0] for name, _, node in parameters
    }
    parents = {name: _parents(name, parameters) for name, _, _ in parameters}

    def config_with(choices: Mapping[str, Any]) -> dict[str, Any]:
        return build(space.tree, lambda name, path, node: choices.get(name, first[name]))

    yield validate(TrialConfig, config_with({}), where)
    for name, path, node in parameters:
        for value in node.labels if isinstance(node, OneOf) else node.ends():
            end = "" if isinstance(node, OneOf) else f", an end of {node} in {'.'.join(path)}"
            yield validate(TrialConfig, config_with({**parents[name], name: value}), where, f"{end}")


def _check_pairs(space: Space, where: str) -> None:
    """Ends of two domains at once make a valid TrialConfig too: what one allows the other may forbid.

    All other parameters stand at their first end, then at their last: three that forbid each other only in the
    middle are not found.
    """
    parameters = list(nodes(space.tree))
    values = {n: node.labels if isinstance(node, OneOf) else node.ends() for n, _, node in parameters}
    parents = {name: _parents(name, parameters) for name, _, _ in parameters}
    names = {name: ".".join(path) for name, path, _ in parameters}
    for one, two in combinations(values, 2):
        scope = parents[one] | parents[two]
        if scope != parents[two] | parents[one] or scope.get(one, one) != one or scope.get(two, two) != two:
            continue  # in branches that exclude each other, or one in a branch of the other
        for others, a, b in product((0, -1), values[one], values[two]):
            chosen = {**{n: v[others] for n, v in values.items()}, **scope, one: a, two: b}
            tree = build(space.tree, lambda name, path, node, chosen=chosen: chosen[name])
            validate(TrialConfig, tree, where, f", with {names[one]} {a} and {names[two]} {b}")


def _parents(name: str, parameters: list[tuple[str, Path, Domain | OneOf]]) -> dict[str, str]:
    """The branch choices that make the parameter `name` exist."""
    found: dict[str, str] = {}
    for parent, _, node in parameters:
        if isinstance(node, OneOf):
            scope = parent.removesuffix(".name")
            for label in node.labels:
                if name.startswith(f"{scope}.{label}."):
                    found[parent] = label
    return found


def _check_point(space: Space, point: Mapping[str, Any], where: str) -> None:
    """Each key of a given point is searched, and its value lies in the domain."""
    keys = space.searched_keys()
    for key, value in point.items():
        if key not in keys:
            hint = did_you_mean(key, keys)
            raise ConfigError(
                f"{where}: {key} is not searched{hint} Searched: {', '.join(keys) or 'nothing'}"
            )
        matching = [node for _, path, node in nodes(space.tree) if ".".join(path) == key]
        if not any(_allows(node, value) for node in matching):
            allowed = "; ".join(" | ".join(n.labels) if isinstance(n, OneOf) else str(n) for n in matching)
            raise ConfigError(f"{where}: {key}: {value!r} lies outside its domain: {allowed}")
    validate(TrialConfig, space.point(point)[1], where)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _allows(node: Domain | OneOf, value: Any) -> bool:
    if isinstance(node, OneOf):
        return value in node.labels
    if node.kind == "choice":
        return value in node.args
    low, high = node.ends()
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
