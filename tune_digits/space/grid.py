"""Every point of a finite space, each once and always in the same order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tune_digits.space.domains import Domain
from tune_digits.space.tree import OneOf, Parameter, build, parameters


def grid_size(tree: Any) -> int | None:
    """The number of points of a tree: the product over its keys, the sum over branches; None where it is infinite."""
    if isinstance(tree, Domain):
        return tree.size
    if isinstance(tree, OneOf):
        return _total([grid_size(branch) for branch in tree.branches], sum)
    if isinstance(tree, dict):
        return _total([grid_size(value) for value in tree.values()], math.prod)
    return 1


def _total(sizes: list[int | None], combine: Any) -> int | None:
    known = [size for size in sizes if size is not None]
    return int(combine(known)) if len(known) == len(sizes) else None


def continuous(tree: dict[str, Any]) -> dict[str, Domain]:
    """Dotted key -> domain, of the searched keys whose values are real numbers without a step."""
    return {p.key: p.node for p in parameters(tree) if not isinstance(p.node, OneOf) and p.node.size is None}


def grid_points(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The points of a finite tree as (Optuna's parameters, TrialConfig's tree).

    The last parameter of the file changes first. A branch brings its own parameters, and no others are gone through.
    """
    indices: list[
        int
    ] = []  # of the option that each parameter takes, in the order in which `build` meets them
    while True:
        sizes: list[int] = []
        labels: dict[str, Any] = {}

        def pick(p: Parameter, sizes: list[int] = sizes, labels: dict[str, Any] = labels) -> Any:
            met = len(sizes)
            if met == len(indices):
                indices.append(0)
            if isinstance(p.node, OneOf):
                sizes.append(len(p.node.labels))
                labels[p.name] = p.node.labels[indices[met]]
                return labels[p.name]
            if p.node.size is None:
                raise ValueError(f"{p.key} is continuous")
            sizes.append(p.node.size)
            value = p.node.at(indices[met])
            labels[p.name] = p.node.label(value)
            return value

        yield labels, build(tree, pick)
        while indices and indices[-1] + 1 == sizes[len(indices) - 1]:
            indices.pop()
        if not indices:
            return
        indices[-1] += 1
