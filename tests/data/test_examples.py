"""The examples in docstrings say what is so."""

import doctest

import pytest

from tune_digits.data import fingerprint, memory
from tune_digits.data.folds import subset


@pytest.mark.parametrize("module", [fingerprint, memory, subset], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
