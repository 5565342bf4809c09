"""The files of the data room import each other without a circle, imports inside functions included."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "tune_digits"


def modules() -> dict[str, Path]:
    found = {}
    for path in (PACKAGE / "data").rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from package import module` is an import of the module
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (full & known) or {str(node.module)}
    return found & known


def test_no_circle() -> None:
    known = modules()
    graph = {name: imported(path, set(known)) for name, path in known.items()}
    assert sum(map(len, graph.values())) > 50  # the imports are seen at all
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
