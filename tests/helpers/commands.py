"""Small data, a small study and the commands in this process, for the tests of the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
import yaml

from tune_digits.cli import ensemble as ensemble_command
from tune_digits.cli import predict as predict_command
from tune_digits.cli import search as search_command
from tune_digits.config import Resources
from tune_digits.execute.inline import InlineExecutor, start_inline
from tune_digits.runs import FoldResult, Run, TrialRecord

ROWS, SIDE = 60, 6
STUDY: dict[str, Any] = {
    "cv": {"folds": 3},
    "search": {"trials": 2, "startup_trials": 2},
    "confirm": {"candidates": 1, "folds": 2},
    "ensemble": {"top": 1, "pseudo": None},
    "resources": {"executor": "inline"},
    "trial": {
        "model": {"name": "lean_cnn", "width": 4, "depth": 1},
        "optimizer": {"name": "adamw", "lr": {"loguniform": [1e-3, 1e-1]}},
        "train": {"epochs": 1, "batch_size": 20},
    },
}


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Images whose left or right half is brighter, which is their label; every ten rows are by one writer."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % 2)
    images = rng.integers(0, 80, (rows, SIDE, SIDE))
    for image, half in zip(images, labels, strict=True):
        image[:, half * SIDE // 2 : (half + 1) * SIDE // 2] += 60
    pixels = pd.DataFrame(images.reshape(rows, -1), columns=[f"pixel{i}" for i in range(SIDE * SIDE)])
    heads = {"label": labels, "writer": [f"w{i // 10}" for i in range(rows)]}
    return pd.concat([pd.DataFrame(heads), pixels], axis=1)


def write_data(folder: Path, rows: int = ROWS) -> Path:
    """A folder of pixel CSVs: `train`, `test` with 20 images without labels, and `others`, a labelled set that is not
    trained on."""
    folder.mkdir(parents=True)
    table(rows).to_csv(folder / "train.csv", index=False)
    test = table(20, seed=1).drop(columns=["label", "writer"])
    test.insert(0, "id", np.arange(20))
    test.to_csv(folder / "test.csv", index=False)
    table(16, seed=2).drop(columns="writer").to_csv(folder / "others.csv", index=False)
    return folder


def write_study(path: Path, **parts: Mapping[str, Any]) -> Path:
    """STUDY as a file, of the name of the file; parts: what to set in its parts, over it."""
    raw = {key: {**STUDY.get(key, {}), **parts.get(key, {})} for key in {**STUDY, **parts}}
    path.write_text(yaml.safe_dump(raw))
    return path


def search(*flags: object) -> int:
    return search_command.main([str(flag) for flag in flags])


def run(*args: object, code: int = 0) -> Path:
    """Search `small.yaml` into the folder `run`; its path."""
    assert search("--space", "small.yaml", "--run-dir", "run", *args) == code
    return Path("run")


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What is said of flags that end with code 2 before there is a run folder."""
    run(*args, code=2)
    assert not Path("run").exists()
    err = str(capsys.readouterr().err)
    assert err.startswith("error: ") and "Traceback" not in err
    return err


def ensemble(*flags: object) -> int:
    return ensemble_command.main([str(flag) for flag in flags])


def predict(*flags: object) -> int:
    return predict_command.main([str(flag) for flag in flags])


def records(run: Path) -> list[TrialRecord]:
    return Run(run).trials()


def folds(run: Path) -> list[FoldResult]:
    return Run(run).folds()


def board(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "leaderboard.csv")


def study(run: Path) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load((run / "study.yaml").read_text())
    return raw


def facts(run: Path) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((run / "run.json").read_text())
    return raw


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, but for parsed copies of data; links by what they point to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = bytes(path.readlink())
        elif path.is_file() and ".cache" not in path.parts:
            found[name] = path.read_bytes()
    return found


class FakeRay:
    """Stands in for Ray's start: keeps what it was asked for, and trains in this process."""

    def __init__(self) -> None:
        self.asked: list[tuple[Resources, str | None]] = []

    def __call__(
        self, resources: Resources, address: str | None, meanwhile: Callable[[], None]
    ) -> InlineExecutor:
        self.asked.append((resources, address))
        meanwhile()
        return start_inline(resources)


Test = TypeVar("Test", bound=Callable[..., None])


class Covered:
    """The flags that a file has tests of: `flags = Covered()`, `@flags("--trials")` above each test."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, *names: str) -> Callable[[Test], Test]:
        self.names.update(names)
        return lambda test: test

    @staticmethod
    def in_file(path: Path) -> set[str]:
        """The flags that another file of tests names in this way."""
        return {
            flag
            for line in re.findall(r"(?m)^@flags\((.*)\)$", path.read_text())
            for flag in re.findall(r"--[a-z-]+", line)
        }
