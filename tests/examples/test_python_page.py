"""The page on Python says what is so: its examples run, and each method that it names exists."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from tune_digits.api.opened import OpenRun
from tune_digits.api.plots import Plots

PAGE = Path(__file__).parents[2] / "docs/python.md"


def test_its_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert tried > 10 and failed == 0


def test_its_methods_exist_and_none_is_missing() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| method | gives |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)\(", table))
    public = {name for name in vars(OpenRun) if not name.startswith("_") and callable(getattr(OpenRun, name))}
    assert named == public
    figures = {name for name in vars(Plots) if not name.startswith("_") and callable(getattr(Plots, name))}
    assert all(f"`{name}`" in table or f"plot.{name}" in table for name in figures)
