"""The ends of a space make valid configurations: what cannot train is refused before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.space.tree import OneOf, Parameter, build, parameters
from tune_digits.validate import validate


def ends(
    tree: dict[str, Any], where: str = "trial", flags: Mapping[str, str] | None = None
) -> Iterator[TrialConfig]:
    """The configurations that stand for all of the space: each option of every parameter, in every branch, once.

    The other parameters stand at their first option. Raises ConfigError, with the place after `where`, at an option
    that makes no valid TrialConfig.
    """
    every = list(parameters(tree))
    first = {p.name: p.options()[0] for p in every}
    yield validate(TrialConfig, _build(tree, first), where, flags=flags)
    for p in every:
        note = "" if isinstance(p.node, OneOf) else f", an end of {p.node} in {p.key}"
        for option in p.options():
            chosen = {**first, **p.inside, p.name: option}
            yield validate(TrialConfig, _build(tree, chosen), where, note, flags)


def check_pairs(tree: dict[str, Any], where: str, flags: Mapping[str, str] | None = None) -> None:
    """Options of two parameters at once make a valid TrialConfig too: what one allows the other may forbid.

    All other parameters stand at their first option, then at their last: three that forbid each other only in between
    are not found. Raises ConfigError.
    """
    every = list(parameters(tree))
    for others in (0, -1):
        rest = {p.name: p.options()[others] for p in every}
        for one, two in combinations(every, 2):
            if not _go_together(one, two):
                continue
            for a, b in product(one.options(), two.options()):
                chosen = {**rest, **one.inside, **two.inside, one.name: a, two.name: b}
                note = f", with {one.key} {a} and {two.key} {b}"
                validate(TrialConfig, _build(tree, chosen), where, note, flags)


def _build(tree: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    built: dict[str, Any] = build(tree, lambda parameter: chosen[parameter.name])
    return built


def _go_together(one: Parameter, two: Parameter) -> bool:
    """Whether a trial can have both, and neither is the choice of a branch that the other is in."""
    if one.name in two.inside or two.name in one.inside:
        return False
    return all(two.inside.get(name, label) == label for name, label in one.inside.items())
