"""The lists of planted mistakes fit the code: each can be planted, and the test that is to kill it exists."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("mutants", ROOT / "tests/mutants/run.py")
mutants = importlib.util.module_from_spec(SPEC)
sys.modules["mutants"] = mutants
SPEC.loader.exec_module(mutants)


def test_every_mistake_can_be_planted_and_has_its_test() -> None:
    found = mutants.read_mutants([])
    assert found
    assert [text for m in found if (text := mutants.misplaced(m))] == []
    for mutant in found:
        assert mutant.find != mutant.replace, mutant.name
        for test in mutant.test.split():
            file, _, name = test.partition("::")
            assert (ROOT / file).exists(), f"{mutant.name}: {file}"
            if name:
                assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), f"{mutant.name}: {test}"


def test_names_choose_lists_and_entries() -> None:
    everything = mutants.read_mutants([])
    first = everything[0].name
    assert [m.name for m in mutants.read_mutants([first])] == [first]
    stem = first.partition(":")[0]
    assert {m.name.partition(":")[0] for m in mutants.read_mutants([stem])} == {stem}
