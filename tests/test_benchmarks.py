"""The benchmarks start with the code as it is, keep results of clean commits only, and make the tables of the docs."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SHARED = {"common", "table"}  # what the scripts import from each other
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem not in SHARED)


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch):
    """The scripts find each other, as they do when one is started."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in [*SCRIPTS, *SHARED]:
        monkeypatch.delitem(sys.modules, name, raising=False)


# ── the scripts fit the code ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_starts(name, monkeypatch, capsys):
    script = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    assert "--allow-dirty" in capsys.readouterr().out


def imports_of(path):
    """(module, name or None) of everything that a file imports from this package, inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tune_digits":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, None) for a in node.names if a.name.split(".")[0] == "tune_digits")


@pytest.mark.parametrize("name", [*SCRIPTS, *sorted(SHARED)])
def test_what_a_script_imports_is_where_it_looks(name):
    for module, member in imports_of(BENCHMARKS / f"{name}.py"):
        found = importlib.import_module(module)
        if member is not None and not hasattr(found, member):
            importlib.import_module(f"{module}.{member}")


def test_make_bench_names_scripts():
    makefile = (BENCHMARKS.parent / "Makefile").read_text()
    (line,) = [line for line in makefile.splitlines() if line.startswith("BENCHMARKS ?=")]
    assert set(line.partition("=")[2].split()) <= set(SCRIPTS)


def test_processes_that_a_script_starts_measure_the_same_package(tmp_path):
    common = importlib.import_module("common")
    code = "import tune_digits, table; print(tune_digits.__file__)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(
        command, cwd=tmp_path, env=common.child_environment(), check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == common.tune_digits.__file__


# ── results are of clean commits ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """`common` in a git checkout of its own with one commit, and its results there."""

    def git(*args):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *args], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "tune_digits").mkdir()
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    (tmp_path / "tune_digits/__init__.py").write_text("")
    (tmp_path / "benchmarks/results/old.json").write_text("{}")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    common = importlib.import_module("common")
    monkeypatch.setattr(common.tune_digits, "__file__", str(tmp_path / "tune_digits/__init__.py"))
    monkeypatch.setattr(common, "RESULTS", tmp_path / "benchmarks/results")
    return common


def arguments(common, monkeypatch, *flags):
    monkeypatch.setattr(sys, "argv", ["some.py", *flags])
    return common.read_arguments(argparse.ArgumentParser())


def change(common):
    Path(common.tune_digits.__file__).write_text("changed = True\n")


def test_a_clean_commit_is_measured_and_named(checkout, monkeypatch, capsys):
    args = arguments(checkout, monkeypatch)
    checkout.write("new", {"images": 3, "results": {"a": 1.5}}, args)
    kept = json.loads((checkout.RESULTS / "new.json").read_text())
    assert kept["results"] == {"a": 1.5} and kept["images"] == 3
    assert len(kept["git"]) == 12 and kept["git"] == checkout.commit()
    assert (
        kept["machine"]["cpu"]
        and kept["versions"]["torch"]
        and set(kept["load_average"]) == {"before", "after"}
    )
    assert json.loads(capsys.readouterr().out) == {"a": 1.5}


def test_results_that_were_written_leave_the_commit_clean(checkout, monkeypatch):
    (checkout.RESULTS / "old.json").write_text('{"results": 1}')
    arguments(checkout, monkeypatch)
    assert not checkout.commit().endswith("-dirty")


def test_changes_are_refused_before_anything_is_measured(checkout, monkeypatch):
    change(checkout)
    with pytest.raises(SystemExit, match=r"has changes since commit [0-9a-f]{12}, .*--allow-dirty"):
        arguments(checkout, monkeypatch)


def test_changes_made_meanwhile_are_refused_too(checkout, monkeypatch):
    args = arguments(checkout, monkeypatch)
    change(checkout)
    with pytest.raises(SystemExit, match="has changes"):
        checkout.write("new", {"results": {}}, args)
    assert not (checkout.RESULTS / "new.json").exists()


def test_code_that_is_in_no_git_is_refused(checkout, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("installed") / "tune_digits"
    elsewhere.mkdir()
    monkeypatch.setattr(checkout.tune_digits, "__file__", str(elsewhere / "__init__.py"))
    assert checkout.commit() is None
    with pytest.raises(SystemExit, match="is no git checkout"):
        arguments(checkout, monkeypatch)


def test_with_allow_dirty_results_are_printed_and_not_kept(checkout, monkeypatch, capsys):
    change(checkout)
    args = arguments(checkout, monkeypatch, "--allow-dirty")
    checkout.write("old", {"results": {"a": 1.5}}, args)
    assert json.loads(capsys.readouterr().out) == {"a": 1.5}
    assert (checkout.RESULTS / "old.json").read_text() == "{}"


def test_every_result_says_where_and_when_it_was_measured():
    for path in (BENCHMARKS / "results").glob("*.json"):
        result = json.loads(path.read_text())
        assert result["date"].startswith("20"), path
        assert result["versions"]["torch"], path
        assert result["cpu"] if "cpu" in result else result["machine"]["cpu"], path


# ── the tables in the documentation ──────────────────────────────────────────────────────────────────


def test_the_tables_in_the_documentation_are_made_of_the_results():
    table = importlib.import_module("table")
    for name, make in table.TABLES.items():
        page = (table.DOCS / name).read_text()
        assert page == table.with_table(page, make()), f"{name}: run python benchmarks/table.py"


def test_every_row_has_its_result():
    table = importlib.import_module("table")
    assert {name for name in table.ROWS if not (BENCHMARKS / f"results/{name}.json").exists()} == set()


def test_a_result_of_changed_files_is_called_so():
    table = importlib.import_module("table")
    assert table.of_commit({"git": "3f581a8d4335"}) == "3f581a8"
    assert table.of_commit({"git": "3f581a8d4335-dirty"}) == "3f581a8 with changes"
    assert table.of_commit({}) == table.of_commit({"git": None}) == "commit not recorded"


def test_the_processor_is_named_in_both_forms_of_results():
    table = importlib.import_module("table")
    assert table.processor({"machine": {"cpu": "AMD EPYC"}}) == "AMD EPYC"
    assert table.processor({"cpu": "Intel(R) Xeon(R) Processor"}) == "Intel Xeon"


def test_every_recipe_has_its_words():
    assert list(importlib.import_module("table").RECIPES) == list(
        importlib.import_module("keras_parity").RECIPES
    )
