"""The tree of a space with every default of TrialConfig in it, and the tree as a study file writes it."""

from __future__ import annotations

from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.space.domains import Domain
from tune_digits.space.tree import OneOf, Parameter, build


def with_defaults(tree: dict[str, Any]) -> dict[str, Any]:
    """A checked tree with every key that it leaves out at its default, behind those that it has.

    Numbers that the file wrote as texts are numbers. Every branch of a OneOf gets its own defaults; where the name of
    a part is searched, the part gets the defaults that all of the names share.
    """
    whole = {key: _filled(tree, key, node) for key, node in tree.items()}
    defaults = TrialConfig().model_dump(mode="json")
    return whole | {key: value for key, value in defaults.items() if key not in tree}


def _filled(tree: dict[str, Any], key: str, node: Any) -> Any:
    """The part `key` of the tree, which is `node` or a branch of it."""
    if isinstance(node, OneOf):
        return OneOf(node.labels, tuple(_filled(tree, key, branch) for branch in node.branches))
    if isinstance(node, Domain):
        return node
    name = node.get("name") if isinstance(node, dict) else None
    nodes = [{**node, "name": one} for one in name.ends()] if isinstance(name, Domain) else [node]
    first, *others = (_resolved(tree, key, one) for one in nodes)
    if isinstance(first, dict):  # where the name is searched, what all of the names have in common
        first = {k: v for k, v in first.items() if all(k in o and o[k] == v for o in others)}
    return _over(first, node)


def _resolved(tree: dict[str, Any], key: str, node: Any) -> Any:
    """The part `key` as TrialConfig has it where it is `node`, with the first option of all that is searched."""
    first: dict[str, Any] = build({**tree, key: node}, _first)
    return TrialConfig.model_validate(first).model_dump(mode="json")[key]


def _first(parameter: Parameter) -> Any:
    return parameter.options()[0]


def _over(resolved: Any, node: Any) -> Any:
    """The resolved values in the order of the file, with the domains of `node` in their places."""
    if isinstance(node, (Domain, OneOf)):
        return node
    if isinstance(node, dict) and isinstance(resolved, dict):
        own = {key: _over(resolved.get(key, value), value) for key, value in node.items()}
        return own | {key: value for key, value in resolved.items() if key not in own}
    if isinstance(node, list) and isinstance(resolved, list):  # in a pipeline, whose items may be searched
        return [_over(whole, item) for whole, item in zip(resolved, node, strict=True)]
    return resolved


def written(tree: Any) -> Any:
    """A tree as a study file has it."""
    if isinstance(tree, Domain):
        return tree.written()
    if isinstance(tree, OneOf):
        return {"one_of": [written(branch) for branch in tree.branches]}
    if isinstance(tree, dict):
        return {key: written(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [written(item) for item in tree]
    return tree
