"""A small run made from Python, of images in memory whose left or right half is brighter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import write_study
from run_samples import halves

from tune_digits import load_study, search
from tune_digits.api.opened import OpenRun
from tune_digits.study import Study

NAMES = np.array(["left", "right"])


def arrays(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (count, 8, 8) and the names of their brighter halves (count,)."""
    data = halves(count, seed=seed)
    assert data.labels is not None
    return data.images[:, 0], NAMES[data.labels[:, 0]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `small.yaml`."""
    write_study(tmp_path / "small.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(here: Path) -> Study:
    return load_study("small.yaml")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    """A run of four trials, all confirmed on all three folds; it is only read."""
    folder = tmp_path_factory.mktemp("made")
    write_study(folder / "small.yaml")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        study = load_study(
            "small.yaml",
            {"search.trials": 4, "confirm.candidates": 4, "confirm.folds": 3, "train.epochs": 4},
        )
        run = search(study, arrays(), run_dir=folder / "run", quiet=True)
    return OpenRun(run.folder, run.task)


@pytest.fixture(name="arrays")
def arrays_fixture() -> tuple[np.ndarray, np.ndarray]:
    return arrays()
