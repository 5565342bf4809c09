"""The scripts of benchmarks/fidelity as modules, for the tests in tests/fidelity, which put benchmarks/ on the path."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def module(name: str) -> ModuleType:
    """benchmarks/fidelity/NAME.py"""
    return importlib.import_module(f"fidelity.{name}")


def fresh(table: Any) -> Any:
    """A table of the same setting without trainings."""
    return dataclasses.replace(table, trainings={})
