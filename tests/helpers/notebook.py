"""Runs a notebook's code cells in order, as Jupyter does, without Jupyter: outputs are text, tables and figures.

PYTHONPATH=. .venv/bin/python tests/helpers/notebook.py examples/tour.ipynb      # renews the outputs in the file
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of now. Raises what a cell raises."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate([c for c in notebook["cells"] if c["cell_type"] == "code"], start=1):
        code = "".join(line for line in cell["source"] if not line.startswith("%"))
        tree = ast.parse(code, f"cell {number}")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(tree, f"cell {number}", "exec"), names)
            value = (
                None
                if last is None
                else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
            )
        cell["execution_count"] = number
        cell["outputs"] = ([_text(said.getvalue())] if said.getvalue() else []) + _shown(value, number)
    return notebook


def _text(text: str) -> dict[str, Any]:
    return {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}


def _shown(value: Any, number: int) -> list[dict[str, Any]]:
    if value is None:
        return []
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    if isinstance(value, Figure):
        drawn = io.BytesIO()
        value.savefig(drawn, format="png", dpi=72, facecolor="white")
        data["image/png"] = base64.b64encode(drawn.getvalue()).decode()
    elif hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().splitlines(keepends=True)
    return [{"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}]


if __name__ == "__main__":
    file = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        done = execute(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
