"""The examples in the docstrings of the space are what happens."""

from __future__ import annotations

import doctest

import pytest

from tune_digits.space import domains, tree


@pytest.mark.parametrize("module", [domains, tree], ids=lambda m: m.__name__)
def test_the_examples_of_a_module_hold(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
