"""A disk that fills up while a command runs: it ends in words, the folder can be read, and it goes on later."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import board, ensemble, records, run, search, write_study
from full_disk import files_of_at_most

Output = pytest.CaptureFixture[str]


def full_for(name: str) -> Callable[[Path, Path], None]:
    """os.replace where there is no space for files whose names end so."""
    replace = os.replace

    def replace_or_not(source: Path, target: Path) -> None:
        if str(target).endswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    return replace_or_not


def told(capsys: Output, code: int) -> str:
    out, err = capsys.readouterr()
    assert code == 2, err
    assert "the disk is full" in err and "Traceback" not in err
    return err + out


@pytest.mark.parametrize("missing", [30, 900])  # bytes: the journal breaks off in its last line, and before
def test_a_journal_that_breaks_off_goes_on_when_there_is_space(
    here: Path, capsys: Output, missing: int
) -> None:
    undisturbed = run()
    most = (undisturbed / "optuna.journal").stat().st_size - missing
    assert most > max((undisturbed / name).stat().st_size for name in ("run.json", "study.yaml"))
    with files_of_at_most(most):
        code = search("--space", "small.yaml", "--run-dir", "full")
    full = here / "full"
    said = told(capsys, code)
    assert "full: cannot be written" in said and "go on with: python scripts/search.py --resume full" in said
    assert all(r.state != "failed" for r in records(full))
    assert not list(here.rglob("*.tmp"))
    assert search("--resume", "full") == 0
    assert [r.score for r in records(full)] == [r.score for r in records(undisturbed)]
    assert board(full)["confirmed"].tolist() == board(undisturbed)["confirmed"].tolist()


@pytest.mark.parametrize("name", ["trial.json", ".npz", "leaderboard.csv", "answer.json"])
def test_a_record_for_which_there_is_no_space(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full_for(name))
        code = search("--space", "small.yaml", "--run-dir", "full")
    said = told(capsys, code)
    assert name in said and "go on with: python scripts/search.py --resume full" in said
    assert search("--resume", "full") == 0
    assert [r.state for r in records(here / "full")] == ["finished", "finished"]
    assert len(board(here / "full")) == 1


def test_a_confirming_training_that_cannot_keep_its_weights_is_not_left_out(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = ("--set", "confirm.keep_weights=true")
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full_for(".safetensors"))
        code = search("--space", "small.yaml", "--run-dir", "full", *keep)
    assert "-seed0.safetensors: cannot be written" in told(capsys, code)
    assert search("--resume", "full") == 0
    assert len(list((here / "full/fold_weights").glob("*/*.safetensors"))) == 2


def test_a_new_run_for_which_there_is_no_space(here: Path, capsys: Output) -> None:
    with files_of_at_most(300):
        code = search("--space", "small.yaml", "--run-dir", "full")
    assert "study.yaml: cannot be written" in told(capsys, code)
    assert search("--space", "small.yaml", "--run-dir", "full") == 0


@pytest.mark.parametrize("name", [".safetensors", "manifest.json", "submission.csv"])
def test_an_ensemble_for_which_there_is_no_space(
    searched: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full_for(name))
        code = ensemble("--run", searched)
    assert name in told(capsys, code)
    assert ensemble("--run", searched) == 0


def test_a_trial_that_cannot_save_its_state_has_not_failed(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_digits.tune.training.SAVE_EVERY", 0.0)
    write_study(
        here / "small.yaml", data={"path": "halves"}, trial={"model": {"name": "lean_cnn", "width": 32}}
    )
    with files_of_at_most(60_000):  # all but the state fits
        code = search("--space", "small.yaml", "--run-dir", "full")
    said = told(capsys, code)
    assert "state.safetensors: cannot be written" in said
    assert "go on with: python scripts/search.py --resume full" in said
    assert [r.state for r in records(here / "full")] == ["running"]
    assert search("--resume", "full") == 0
    assert [r.state for r in records(here / "full")] == ["finished", "finished"]


def test_a_read_only_place_is_said(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def read_only(self: Path, *args: object, **more: object) -> None:
        if self.name == "full":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        mkdir(self, *args, **more)

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert search("--space", "small.yaml", "--run-dir", "full") == 2
    assert "full: cannot be written: Read-only file system" in capsys.readouterr().err
