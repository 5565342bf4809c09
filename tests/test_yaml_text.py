"""YAML within limits: no file makes values without end of a few lines."""

from __future__ import annotations

import pytest

from tune_digits import yaml_text
from tune_digits.errors import ConfigError
from tune_digits.yaml_text import parse_yaml, write_yaml


def laughs(levels: int, form: str, join: str) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} " + form.format(join.join([f"*a{i - 1}"] * 9)))
    return "\n".join(lines)


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_a_billion_values_are_refused_before_they_are_made(form: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"^a\.yaml: line 1, column 1: its aliases are recursive, or make more than 100,000 values",
    ):
        parse_yaml(laughs(12, form, ", "), "a.yaml")


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}"])
def test_what_stands_in_itself_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="its aliases are recursive, or make more than"):
        parse_yaml(text, "a.yaml")


def test_an_alias_is_what_it_stands_for() -> None:
    text = "a: &a {x: 1}\nb: *a"
    assert parse_yaml(text, "a.yaml") == {"a": {"x": 1}, "b": {"x": 1}}
    assert parse_yaml("", "a.yaml") is None


def test_deep_and_long_texts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml: is nested too deeply"):
        parse_yaml("[" * 20_000, "a.yaml")
    monkeypatch.setattr(yaml_text, "MOST_LETTERS", 10)
    with pytest.raises(ConfigError, match=r"a\.yaml: has 11 letters"):
        parse_yaml("a: 12345678", "a.yaml")


def test_what_is_written_is_read_again() -> None:
    tree = {"a": "1e-4", "b": [1e-4, None, True, "ä"], "c": {"d": "yes"}}
    assert parse_yaml(write_yaml(tree), "a.yaml") == tree
