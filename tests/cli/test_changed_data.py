"""A run goes on with the data, folds and given files that it was begun with, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import ROWS, contents, ensemble, facts, search, table, write_data, write_study
from safetensors.torch import save_file

from tune_digits import disk
from tune_digits.config import TrialConfig
from tune_digits.learn.models import build_model

Output = pytest.CaptureFixture[str]
DATA = "halves/train.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished search in `run`, by writers, with a teacher and initial weights."""
    folder = tmp_path_factory.mktemp("changed")
    write_data(folder / "halves")
    write_teacher(folder / "teacher.npz", 0.7)
    write_weights(folder / "start.safetensors", seed=0)
    write_study(folder / "small.yaml", data={"path": "halves"}, cv={"groups": "writer"})
    trial = ("model.weights=start.safetensors", "loss.teacher=teacher.npz", "loss.teacher_weight=0.5")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert (
            search("--space", "small.yaml", "--run-dir", "run", *(w for key in trial for w in ("--set", key)))
            == 0
        )
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, whose files are as they were afterwards."""
    monkeypatch.chdir(folder)
    before = contents(folder)
    yield folder
    for name, content in before.items():
        path = folder / name
        if not path.is_symlink() and path.read_bytes() != content:
            path.write_bytes(content)


def write_teacher(path: Path, first: float) -> None:
    np.savez(path, proba=np.tile(np.float32([first, 1 - first]), (ROWS, 1)))


def write_weights(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = TrialConfig.model_validate({"model": {"name": "lean_cnn", "width": 4, "depth": 1}})
    save_file(build_model(config.model, 1, 6, 6, 2, (0.5,), (0.3,)).state_dict(), path)


def change_table(change: Callable[[pd.DataFrame], pd.DataFrame], name: str = DATA) -> None:
    change(pd.read_csv(name)).to_csv(name, index=False)


def more_rows() -> None:
    table(100).to_csv(DATA, index=False)


def other_label() -> None:
    change_table(lambda rows: rows.assign(label=np.where(rows.index == 7, 1 - rows["label"], rows["label"])))


def other_order() -> None:
    change_table(lambda rows: rows.iloc[::-1])


def other_writer() -> None:
    change_table(lambda rows: rows.assign(writer=np.where(rows.index == 7, "w5", rows["writer"])))


def other_pixel() -> None:
    change_table(lambda rows: rows.assign(pixel3=np.where(rows.index == 7, 255, rows["pixel3"])))


def other_test() -> None:
    change_table(lambda rows: rows.assign(pixel3=255), "halves/test.csv")


def other_holdout() -> None:
    change_table(lambda rows: rows.iloc[:10], "halves/others.csv")


def other_teacher() -> None:
    write_teacher(Path("teacher.npz"), 0.6)


def other_weights() -> None:
    write_weights(Path("start.safetensors"), seed=1)


def damaged_teacher() -> None:
    Path("teacher.npz").write_bytes(b"nothing")


CHANGES: list[tuple[Callable[[], None], list[str]]] = [
    (more_rows, ["60 rows then, 100 now"]),
    (other_label, ["labels differ", "images", "groups"]),
    (other_order, ["images", "labels", "differ"]),
    (other_writer, ["groups differ", "images"]),
    (other_pixel, ["images differ", "labels"]),
    (other_test, ["test set differs"]),
    (other_holdout, ["others differs"]),
    (other_teacher, ["teacher.npz"]),
    (other_weights, ["start.safetensors"]),
    (damaged_teacher, ["teacher.npz"]),
]


def refused(here: Path, capsys: Output, command: Callable[..., int], *flags: object) -> str:
    """What the command says as it ends with code 2 and writes nothing."""
    before = contents(here)
    capsys.readouterr()
    assert command(*flags) == 2
    assert contents(here) == before
    err = str(capsys.readouterr().err)
    assert err.startswith("error: run") and len(err.splitlines()) == 1
    return err


def resume(*flags: object) -> int:
    return search("--resume", "run", "--trials", 3, *flags)


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_neither_search_nor_ensemble_go_on(
    here: Path, capsys: Output, change: Callable[[], None], words: list[str]
) -> None:
    change()
    for message in (refused(here, capsys, resume), refused(here, capsys, ensemble, "--run", "run")):
        for word in words:
            assert word in message


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = disk.read_json(path)
    change(raw)
    disk.write_json(path, raw)  # with its checksum: it is no damage that is tried here


def test_other_folds_of_the_same_data_are_refused(here: Path, capsys: Output) -> None:
    change_json(here / "run/run.json", lambda raw: raw.update(folds="others"))
    assert "folds" in refused(here, capsys, resume)


def test_another_meaning_of_a_training_is_refused(here: Path, capsys: Output) -> None:
    version = facts(here / "run")["training_version"]
    change_json(here / "run/run.json", lambda raw: raw.update(training_version=version - 1))
    message = refused(here, capsys, resume)
    assert f"training version {version - 1}, now {version}" in message


def test_a_trial_that_was_made_from_other_data_is_refused(here: Path, capsys: Output) -> None:
    change_json(here / "run/trials/0001/trial.json", lambda raw: raw["fingerprints"].update(data="other"))
    assert "run/trials/0001" in refused(here, capsys, resume)


def test_a_confirming_training_on_other_folds_is_refused(here: Path, capsys: Output) -> None:
    (path, *_) = sorted(Path("run/confirm").glob("*.npz"))
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["fingerprints"][1] = "other"
    np.savez(path, **arrays)
    assert str(path) in refused(here, capsys, resume)


def test_unchanged_it_goes_on(here: Path, folder: Path) -> None:
    assert search("--resume", "run") == 0
    assert ensemble("--run", "run") == 0
    made = {path.name for path in (folder / "run/ensemble/members").iterdir()}
    assert ensemble("--run", "run") == 0
    assert {path.name for path in (folder / "run/ensemble/members").iterdir()} == made
    assert all(disk.read_tensors(folder / "run/ensemble/members" / name)[0] for name in made)
