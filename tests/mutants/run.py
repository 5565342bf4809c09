"""Plant known mistakes in a copy of the project, one at a time, and see that the test named for each fails.

    python tests/mutants/run.py                      # all
    python tests/mutants/run.py learn tune:3         # the list learn.toml; the third of tune.toml
    python tests/mutants/run.py --jobs 2

A list is a file NAME.toml beside this one, of entries

    [[mutant]]
    file = "tune_digits/learn/ema.py"   # where
    find = "1 - decay"                  # what stands there, once
    replace = "decay"                   # what is planted
    test = "tests/learn/test_ema.py"    # what must fail then: anything that pytest takes
    why = "..."                         # what goes wrong then, where that is not plain
    survives = "..."                    # for a mistake that no test can see: the reason

Exit code 0 where every mistake died that does not say why it survives.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

HERE = Path(__file__).resolve().parent
TIMEOUT = 600.0  # seconds: a mistake that hangs a test is seen too
ROOT = HERE.parent.parent
COPIED = (
    "tune_digits",
    "tests",
    "scripts",
    "search_spaces",
    "benchmarks",
    "docs",
    "README.md",
    "pyproject.toml",
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake. name: its list and its place in it, from 1."""

    name: str
    file: str
    find: str
    replace: str
    test: str
    why: str = ""
    survives: str = ""


def read_mutants(wanted: list[str]) -> list[Mutant]:
    """Those of the named lists (`learn`) or entries (`learn:3`); of all lists where none is named."""
    found = []
    for path in sorted(HERE.glob("*.toml")):
        for i, entry in enumerate(tomllib.loads(path.read_text())["mutant"], start=1):
            mutant = Mutant(f"{path.stem}:{i}", **entry)
            if not wanted or path.stem in wanted or mutant.name in wanted:
                found.append(mutant)
    return found


def misplaced(mutant: Mutant) -> str | None:
    """Why a mistake cannot be planted, None where it can."""
    path = ROOT / mutant.file
    count = path.read_text().count(mutant.find) if path.is_file() else 0
    return None if count == 1 else f"{mutant.file}: {mutant.find!r} stands there {count} times, not once"


def preload() -> None:
    """Import what most tests import, once: each mistake is then tried in a fork of this process, and waits for none."""
    for name in (
        "numpy",
        "pandas",
        "scipy.stats",
        "sklearn.metrics",
        "torch",
        "optuna",
        "pydantic",
        "ray.tune",
        "pytest",
    ):
        importlib.import_module(name)
    importlib.import_module("tensorboard.backend.event_processing.event_multiplexer")


def kill(mutant: Mutant, copy: Path) -> tuple[bool, float]:
    """Whether its test fails, and the seconds that took. The copy is as it was afterwards."""
    path = copy / mutant.file
    text = path.read_text()
    path.write_text(text.replace(mutant.find, mutant.replace))
    started = time.monotonic()
    try:
        code = _pytest_in_a_fork(mutant.test.split(), copy)
        if code in (3, 4, 5):
            raise SystemExit(f"{mutant.name}: pytest {mutant.test} could not run (exit code {code})")
    finally:
        path.write_text(text)
    # 1: a test failed; 2: a file could not be imported, or the test was interrupted
    return code != 0, time.monotonic() - started


def _pytest_in_a_fork(tests: list[str], copy: Path) -> int:
    """pytest's exit code; 1 where it takes longer than TIMEOUT."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(copy)
        os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.path[:] = [str(copy), *(p for p in sys.path if Path(p).resolve() not in (ROOT, HERE))]
        sys.dont_write_bytecode = True
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code = 3
        try:
            import pytest

            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        finally:
            os._exit(code)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="lists, or entries as LIST:NUMBER (all)")
    parser.add_argument("--jobs", type=int, default=1, help="mistakes tried at once (1)")
    args = parser.parse_args()
    mutants = read_mutants(args.names)
    if wrong := [f"{m.name}: {text}" for m in mutants if (text := misplaced(m))]:
        print("\n".join(wrong))
        return 2
    survivors = []
    preload()
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for i in range(args.jobs):
            copy = Path(folder) / f"copy{i}" / "project"
            for name in COPIED:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, copy / name)
            if (ROOT.parent / "shared").exists():
                (copy.parent / "shared").symlink_to(ROOT.parent / "shared")
            copies.put(copy)

        def one(mutant: Mutant) -> None:
            copy = copies.get()
            try:
                died, seconds = kill(mutant, copy)
            finally:
                copies.put(copy)
            state = (
                "died" if died else f"SURVIVED{' as it says: ' + mutant.survives if mutant.survives else ''}"
            )
            print(
                f"{mutant.name:12} {state}  {seconds:.1f} s  {mutant.file}: {mutant.find[:60]!r}", flush=True
            )
            if not died:
                survivors.append(mutant)

        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(one, mutants))
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} died")
    return int(any(not m.survives for m in survivors))


if __name__ == "__main__":
    sys.exit(main())
