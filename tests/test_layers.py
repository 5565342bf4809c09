"""The house: a file imports only from rooms below its own, and few of them know Ray."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "tune_digits"
# lowest first; files and folders directly under the package
ROOMS = [
    *(
        "__init__",
        "errors",
        "disk",
        "stats",
        "machine",
        "patches",
        "config",
        "validate",
        "data",
        "study_parts",
        "space",
        "study_fit",
        "yaml_text",
        "study",
    ),
    *(
        "trained_rows",
        "screen",
        "runs",
        "run_lock",
        "learn",
        "execute",
        "tune",
        "ensemble",
        "report",
        "api",
        "care",
        "cli",
    ),
]
# pure files that the driver of a search reads without torch
KNOWS_RAY = {"execute", "patches", "tune/scheduler.py"}


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room_of(parts: tuple[str, ...]) -> int:
    return ROOMS.index(parts[0].removesuffix(".py"))


def test_imports_go_downwards_only() -> None:
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE)
        if own.name == "__init__.py" and len(own.parts) == 1:
            continue  # it names what api/ gives, and imports it only when asked for it (tests/api)
        for name in imports(path):
            parts = tuple(name.split("."))
            if parts[0] == "tune_digits" and len(parts) > 1 and parts[1] in ROOMS:
                assert room_of(parts[1:]) <= room_of(own.parts), f"{own} imports {name}, from above"


def test_only_the_executor_and_what_is_ray_tunes_know_ray() -> None:
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE)
        if own.parts[0] in KNOWS_RAY or own.as_posix() in KNOWS_RAY:
            continue
        assert not [n for n in imports(path) if n.split(".")[0] == "ray"], f"{own} knows Ray"


def test_learning_and_predicting_need_no_ray_and_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, tune_digits.learn.fit, tune_digits.ensemble.members, tune_digits.cli.predict;"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = (
        "import sys, tune_digits.cli.search as s; s.make_parser().format_help();"
        "sys.exit(any(m in sys.modules for m in ('ray', 'torch', 'numpy', 'pandas', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
