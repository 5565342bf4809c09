"""The tour runs from its first cell to its last, and shows a figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from notebook import execute

TOUR = Path(__file__).parents[2] / "examples/tour.ipynb"


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = execute(json.loads(TOUR.read_text(encoding="utf-8")))
    kinds = [set(out.get("data", {})) for cell in done["cells"] for out in cell.get("outputs", [])]
    assert any("image/png" in kind for kind in kinds) and any("text/html" in kind for kind in kinds)


def test_the_tour_is_kept_with_its_outputs() -> None:
    code = [c for c in json.loads(TOUR.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert any("image/png" in out.get("data", {}) for c in code for out in c["outputs"])
    assert TOUR.stat().st_size < 300_000
