"""The tree of a space, and the ways to walk it.

A tree is TrialConfig's, as mappings; a leaf is a constant or a Domain, and a mapping may be replaced by a OneOf. Lists
are constants, except in a pipeline of albumentations: there each item is a node too, and its number is its key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tune_digits.space.domains import Domain

Path: TypeAlias = tuple[str, ...]
PIPELINE: Path = ("augment", "pipeline")  # another library's tree, in whose lists there may be domains


@dataclass(frozen=True, slots=True)
class OneOf:
    """A branching of the tree: exactly one of these mappings.

    A branch's label is its `name`, its number where it has none, and name#number where two have the same name.
    """

    labels: tuple[str, ...]
    branches: tuple[dict[str, Any], ...]

    def branch(self, label: str) -> dict[str, Any]:
        return self.branches[self.labels.index(label)]

    def labels_named(self, name: Any) -> tuple[str, ...]:
        """The labels that `name` may mean: a label itself, or the labels of all branches of that name."""
        if str(name) in self.labels:
            return (str(name),)
        pairs = zip(self.labels, self.branches, strict=True)
        return tuple(label for label, branch in pairs if branch.get("name") == name)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that Optuna decides: a domain's value, or the branch of a OneOf.

    name: the path with the labels of the branches around it (`optimizer.sgd.lr`), since the learning rate of SGD and
    that of RMSprop are two parameters. path: the keys in TrialConfig; a OneOf's ends in `name`. inside: the branches
    around it, names of OneOf parameters -> labels.
    """

    name: str
    path: Path
    node: Domain | OneOf
    inside: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The dotted key of the study file, the same in every branch."""
        return ".".join(self.path)

    def options(self) -> tuple[Any, ...]:
        """The values that stand for all others when the space is checked: both ends, every choice, every label."""
        return self.node.labels if isinstance(self.node, OneOf) else self.node.ends()


Pick: TypeAlias = Callable[[Parameter], Any]


def build(tree: Any, pick: Pick, path: Path = (), name: str = "") -> Any:
    """The tree with every domain replaced by what `pick` returns for it, and every OneOf by the branch it names.

    For a OneOf, pick returns a label. path and name: of the tree itself, in a larger one.
    """
    if isinstance(tree, Domain):
        return pick(Parameter(name, path, tree))
    if isinstance(tree, OneOf):
        label = pick(Parameter(f"{name}.name", (*path, "name"), tree))
        return build(tree.branch(label), pick, path, f"{name}.{label}")
    if isinstance(tree, dict):
        return {k: build(v, pick, (*path, k), f"{name}.{k}" if name else k) for k, v in tree.items()}
    if isinstance(tree, list):
        return [build(v, pick, (*path, str(i)), f"{name}.{i}") for i, v in enumerate(tree)]
    return tree


def parameters(
    tree: Any, path: Path = (), name: str = "", inside: Mapping[str, str] | None = None
) -> Iterator[Parameter]:
    """Every parameter of the tree, those of all branches included, in the order of the study file.

    path, name, inside: of the tree itself, in a larger one.
    """
    inside = inside or {}
    if isinstance(tree, Domain):
        yield Parameter(name, path, tree, inside)
    elif isinstance(tree, OneOf):
        choice = Parameter(f"{name}.name", (*path, "name"), tree, inside)
        yield choice
        for label in tree.labels:
            yield from parameters(tree.branch(label), path, f"{name}.{label}", {**inside, choice.name: label})
    elif isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else _numbered(tree):
            yield from parameters(value, (*path, key), f"{name}.{key}" if name else key, inside)


def flatten(tree: Mapping[str, Any], whole: Collection[str] = (), prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys.

    whole: keys whose mappings are values, and stay as they are. So does a pipeline of albumentations, unless there is
    one of `whole` inside it.

    >>> flatten({"optimizer": {"name": "sgd", "lr": 1}})
    {'optimizer.name': 'sgd', 'optimizer.lr': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        looked_into = any(other.startswith(f"{name}.") for other in whole)
        if isinstance(value, list) and looked_into:
            value = dict(_numbered(value))
        kept = name in whole or (name == ".".join(PIPELINE) and not looked_into)
        if isinstance(value, Mapping) and not kept:
            flat |= flatten(value, whole, f"{name}.")
        else:
            flat[name] = value
    return flat


def _numbered(items: list[Any]) -> Iterator[tuple[str, Any]]:
    """The items of a list with the keys that they have in a path."""
    return ((str(i), item) for i, item in enumerate(items))
