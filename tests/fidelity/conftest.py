"""What the tests of benchmarks/fidelity share: where its modules are, and a small table."""

from __future__ import annotations

import pytest
from fidelity_modules import BENCHMARKS, fresh, module


@pytest.fixture(autouse=True, scope="session")
def beside_the_benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


@pytest.fixture(scope="session")
def small():
    """An empty table of two configurations on scikit-learn's digits, and its data."""
    make = module("make")
    return make.prepare(None, make.Sizes(100, 40, 60), 0, [1, 2], 2)


@pytest.fixture(scope="session")
def whole(small, tmp_path_factory):
    """The table of two seeds, made without interruption; and its file."""
    table, data = small
    path = tmp_path_factory.mktemp("whole") / "table.npz"
    return module("make").make(path, fresh(table), data, 2), path
