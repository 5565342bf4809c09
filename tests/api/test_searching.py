"""A search from Python is that of the command, on data in files or in memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run as run_command
from commands import write_data, write_study
from run_samples import halves_task

import tune_digits
from tune_digits import load_study, search
from tune_digits.api import places
from tune_digits.errors import ConfigError, DataError, RunError, UserError
from tune_digits.study import Study


def test_importing_the_package_is_light_and_its_names_are_there() -> None:
    code = (
        "import sys, tune_digits;"
        "heavy = {'numpy', 'torch', 'pandas', 'pydantic', 'ray', 'sklearn'} & set(sys.modules);"
        "sys.exit(bool(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(tune_digits.__all__) <= set(dir(tune_digits))
    for name in tune_digits.__all__:
        assert callable(getattr(tune_digits, name))
        # a room of this name would hide it once it is imported
        package = Path(tune_digits.__file__).parent
        assert not (package / name).exists() and not (package / f"{name}.py").exists()
    with pytest.raises(AttributeError, match="no attribute 'ensembel'"):
        tune_digits.ensembel  # noqa: B018


def test_a_study_is_found_by_name_and_by_path_with_overrides(here: Path) -> None:
    assert load_study("aug", {"search.trials": 4}).search.trials == 4
    assert load_study(here / "small.yaml").name == "small"
    with pytest.raises(ConfigError, match="no search space 'agu'"):
        load_study("agu")


def test_messages_about_an_override_name_its_key_and_no_flag(here: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_study("small.yaml", {"search.trials": 0})
    assert "search.trials 0" in str(refused.value) and "--set" not in str(refused.value)


def scores(run: tune_digits.api.opened.OpenRun) -> list[float | None]:
    return [r.score for r in run.folder.trials()]


def test_it_finds_what_the_command_finds(here: Path) -> None:
    write_data(here / "halves")
    write_study(here / "small.yaml", data={"path": "halves"})
    command = run_command("--trials", 3)
    run = search(load_study("small.yaml", {"search.trials": 3}), run_dir="python", quiet=True)
    assert scores(run) == scores(tune_digits.open_run(command))
    ours, theirs = (pd.read_csv(f"{folder}/leaderboard.csv") for folder in ("python", "run"))
    pd.testing.assert_frame_equal(
        ours.drop(columns="seconds_per_training"), theirs.drop(columns="seconds_per_training")
    )


def test_a_path_replaces_the_studys_own_and_keeps_its_other_options(here: Path) -> None:
    write_data(here / "halves")
    write_study(here / "small.yaml", data={"path": "nowhere", "subset": 30})
    run = search(load_study("small.yaml"), "halves", quiet=True)
    assert run.folder.facts()["data"]["rows"] == 60
    data = run.study().data
    assert data.path == str(here / "halves") and data.subset == 30
    assert run.path.parent == places.RUNS and (places.RUNS / "latest").resolve() == run.path.resolve()


def test_arrays_and_a_task_are_taken_as_they_are(small: Study, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = arrays
    run = search(small, (x, y), run_dir="a", quiet=True)
    assert run.task is not None and len(run.task.train) == len(x)
    assert run.task.targets[0].classes == ("left", "right")
    np.testing.assert_array_equal(run.task.train.images[:, 0], x)
    assert run.study().data.path is None
    whole = halves_task(60)
    task = replace(whole, train=replace(whole.train, groups=None))
    other = search(small, task, run_dir="b", quiet=True)
    assert other.task is task
    assert scores(other) == scores(run)  # the same images and labels


def test_groups_stay_together(small: Study, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    writers = np.array([f"w{i // 10}" for i in range(60)])
    run = search(small, arrays, groups=writers, run_dir="run", quiet=True)
    for result in run.folder.folds():
        assert len(set(writers[result.valid_idx])) * 10 == len(result.valid_idx)
    assert run.study().cv.groups == "group"


@pytest.mark.parametrize(
    ("data", "groups", "message"),
    [
        ((np.zeros((4, 8, 8)), ["a"] * 3), None, "3 labels, but x has 4 images"),
        ((np.full((4, 8, 8), np.nan), ["a", "b"] * 2), None, "the value is nan"),
        ((np.zeros((4, 8, 8)), ["a"] * 4), None, "one class only, 'a'"),
        ((np.zeros((4, 8, 8)), ["a", "b"] * 2), ["w"] * 3, "groups has 3 values, but x has 4 images"),
        ((np.zeros((4, 8, 8)), None), None, "y is None"),
        ("halves", ["w"], "for data in files write the column as cv.groups"),
        ("nowhere", None, "nowhere"),
    ],
)
def test_data_that_cannot_be_used_are_refused(
    small: Study, data: object, groups: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        search(small, data, groups=groups, run_dir="run", quiet=True)
    assert not Path("run").exists()


def test_a_folder_that_is_there_is_refused(small: Study, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    (Path("run")).mkdir()
    Path("run/mine").touch()
    with pytest.raises(RunError, match="nothing is overwritten"):
        search(small, arrays, run_dir="run", quiet=True)


def test_odd_data_are_refused_where_that_is_asked_for(small: Study) -> None:
    twice = halves_task(30)
    doubled = np.concatenate([twice.train.images, twice.train.images])[:, 0]
    labels = np.concatenate([twice.train.labels[:, 0]] * 2)
    with pytest.raises(UserError, match="the data are odd"):
        search(small, (doubled, labels), strict=True, quiet=True)


def test_it_says_what_it_does_unless_it_shall_be_quiet(
    small: Study, arrays: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    search(small, arrays, run_dir="a", quiet=True)
    assert capsys.readouterr().out == ""
    search(small, arrays, run_dir="b")
    said = capsys.readouterr().out
    assert "arrays in memory: 60 train, 8x8x1, 2 classes" in said and "send in: trial" in said
