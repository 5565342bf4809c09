"""YAML as the study files have it: read safely, and written so that it is read again as the same."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tune_digits.errors import ConfigError

MOST_LETTERS = 1_000_000  # of one file
MOST_NODES = 100_000  # values and keys, each as often as an alias repeats it


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key given twice is an error, 1e-4 is a number as in YAML 1.2, and what aliases repeat
    has a limit: a file of ten lines, each with ten aliases of the one before, has ten thousand million values."""

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MOST_NODES:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"its aliases are recursive, or make more than {MOST_NODES:,} values of it",
                node.start_mark,
            )
        return self.construct_document(node)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, but the text '1e-4' is quoted: without quotes it is a number."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The nodes of a tree, each as often as it stands in it; more than MOST_NODES for one that stands in itself."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # where it is met again below itself
        below: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            below = node.value
        known[id(node)] = 1 + sum(_size(part, known) for part in below)
    return known[id(node)]


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be a text or a number", key_node.start_mark
            )
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key}' stands twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return {loader.construct_object(k, True): loader.construct_object(v, True) for k, v in node.value}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def parse_yaml(text: str, file: str) -> Any:
    """Plain values: no tag makes an object of anything else. file: what messages name. Raises ConfigError."""
    if len(text) > MOST_LETTERS:
        raise ConfigError(f"{file}: has {len(text):,} letters; a study file has {MOST_LETTERS:,} at most")
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{file}:{at} {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply") from None


def write_yaml(tree: Any) -> str:
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)
    return text
