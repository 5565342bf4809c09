"""What learning may know: tensors and configurations, no files. And the examples in its docstrings run."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "tune_digits" / "learn"
FILES = sorted(ROOM.rglob("*.py"))
# what reads and writes files: modules, and functions of modules
MODULES = {"pathlib", "shutil", "tempfile", "io", "json", "pickle", "safetensors", "tune_digits.disk"}
FUNCTIONS = {
    "open",
    "load",
    "save",
    "loadtxt",
    "savez",
    "memmap",
    "fromfile",
    "tofile",
    "load_file",
    "save_file",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOM).as_posix())
def test_learning_reads_and_writes_no_files(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & MODULES, f"line {node.lineno}"
        elif isinstance(node, ast.ImportFrom):
            imported = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            assert not imported & MODULES, f"line {node.lineno}"
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert called not in FUNCTIONS, f"line {node.lineno} calls {called}"


def with_examples() -> list[str]:
    paths = (path.relative_to(ROOM.parents[1]).with_suffix("") for path in FILES if ">>>" in path.read_text())
    return [".".join(path.parts) for path in paths]


@pytest.mark.parametrize("name", with_examples())
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
