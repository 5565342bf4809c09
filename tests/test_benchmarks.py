"""What the documentation says of speed is what the benchmarks wrote."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def table():
    spec = importlib.util.spec_from_file_location("table", BENCHMARKS / "table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_documentation_is_made_of_the_results(table) -> None:
    page = table.PAGE.read_text()
    assert page == table.with_table(page), "run: python benchmarks/table.py"


def test_every_row_has_its_result(table) -> None:
    assert {name for name in table.ROWS if not (BENCHMARKS / f"results/{name}.json").exists()} == set()


def test_every_result_says_where_and_when_it_was_seen() -> None:
    for path in (BENCHMARKS / "results").glob("*.json"):
        result = json.loads(path.read_text())
        assert result["date"].startswith("20"), path
        assert result["versions"]["torch"], path
        assert result["cpu"] if "cpu" in result else result["machine"]["cpu"], path
