"""`search --resume`: a run goes on as it was begun, and says how where it is stopped again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from commands import Covered, FakeRay, board, contents, records, run, search

from tune_digits.cli.search import FLAGS, RESUMABLE, main

flags = Covered()
Output = pytest.CaptureFixture[str]


@flags("--resume")
def test_a_finished_run_is_not_trained_again(here: Path) -> None:
    path = run()
    before = contents(path)
    assert search("--resume", path) == 0
    assert contents(path) == before


@flags("--resume", "--subset")
def test_a_search_on_a_subset_goes_on(here: Path) -> None:
    path = run("--subset", 30)
    assert search("--resume", path, "--trials", 3) == 0
    assert len(records(path)) == 3


@flags("--resume")
def test_without_a_folder_the_latest_run_goes_on(here: Path) -> None:
    old = run()
    assert search("--space", "small.yaml", "--run-dir", "new") == 0
    assert search("--resume", "--trials", 3) == 0
    assert len(records(old)) == 2 and len(records(here / "new")) == 3


@flags("--resume")
def test_the_run_that_goes_on_is_the_latest_and_is_named_as_it_was_given(here: Path, capsys: Output) -> None:
    old = run()
    assert search("--space", "small.yaml", "--run-dir", "new") == 0
    assert (here / "runs/latest").resolve() == here / "new"
    capsys.readouterr()
    assert search("--resume", old) == 0
    assert (here / "runs/latest").resolve() == here / "run"
    out = capsys.readouterr().out
    assert f"run folder: {old} " in out
    assert f"ensemble.py --run {old} --top 1\n" in out
    named = (old / "study.yaml").read_text().replace("members: null", "members: ['0']")
    (old / "study.yaml").write_text(named)
    assert search("--resume", old) == 0
    assert f"ensemble.py --run {old}\n" in capsys.readouterr().out
    assert str(here) not in out


@flags("--resume")
def test_what_may_change_when_a_run_goes_on(here: Path) -> None:
    path = run()
    fewer = {"--max-concurrent": 1, "--cpus-per-trial": 1, "--gpus-per-trial": 0, "--executor": "inline"}
    more = {"--trials": 4, "--candidates": 4, "--time-budget": "1h", "--confirm-budget": 100}
    assert set(fewer | more) == {"--" + flag.replace("_", "-") for flag in RESUMABLE}
    assert search("--resume", path, *(word for pair in (fewer | more).items() for word in pair)) == 0
    assert len(records(path)) == len(board(path)) == 4
    assert search("--resume", path, "--set", "search.trials=5") == 0
    assert len(records(path)) == 5


@flags("--resume")
def test_what_may_not_change_is_refused(here: Path, capsys: Output) -> None:
    path = run()
    fixed = {
        **{"--data": "halves", "--subset": 30, "--folds": 3, "--groups": "writer", "--seed": 0},
        **{"--confirm-folds": 2, "--epochs": 1, "--space": "small.yaml", "--run-dir": "other"},
    }
    assert set(fixed) == {
        "--" + f.replace("_", "-") for f in (*FLAGS, "space", "run_dir") if f not in RESUMABLE
    }
    before = contents(here)
    for flag, value in {**fixed, "--set": "model.width=6"}.items():
        assert search("--resume", path, flag, value) == 2
        assert f"{flag} " in capsys.readouterr().err.replace(",", " ").partition("--trials")[0]
    assert contents(here) == before


@flags("--resume")
def test_a_study_file_that_was_changed_is_refused_with_the_difference(here: Path, capsys: Output) -> None:
    path = run()
    file = path / "study.yaml"
    file.write_text(file.read_text().replace("width: 4", "width: 6"))
    assert search("--resume", path) == 2
    assert "model.width is 6, and was 4" in capsys.readouterr().err


@flags("--resume", "--dry-run")
def test_a_dry_run_of_a_run_that_would_go_on(here: Path, capsys: Output) -> None:
    path = run()
    before = contents(here)
    assert search("--resume", path, "--trials", 9, "--dry-run") == 0
    assert "9 trials" in capsys.readouterr().out
    assert contents(here) == before


@flags("--resume")
def test_no_run_to_go_on_with(here: Path, capsys: Output) -> None:
    for where in ((), ("nowhere",)):
        assert search("--resume", *where) == 2
        assert "no run folder" in capsys.readouterr().err


@flags("--resume", "--strict", "--address")
@pytest.mark.parametrize("where", ["search", "confirm"])
def test_a_stopped_search_says_which_command_goes_on_and_it_does(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, where: str, ray: FakeRay
) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    original = f"tune_digits.tune.{where}.run_{where}"
    flags_given = ["--executor", "ray", "--address", "head:6379"]
    with monkeypatch.context() as patched:
        patched.setattr(original, stopped)
        # what the study file has from its flags is not said again: --resume would refuse it
        run(*flags_given, "--seed", 3, "--set", "model.width=6", code=130)
        command = last_command(capsys)
        assert command == ["--resume", "run", "--address", "head:6379"]
        # and so where that one is stopped in turn
        more = ["--trials", "3", "--time-budget", "3600.0", "--set", "confirm.candidates=3"]
        assert main([*command, *more]) == 130
        assert last_command(capsys) == [*command, *more]
    assert main([*command, *more]) == 0
    assert len(records(Path("run"))) == len(board(Path("run"))) == 3
    assert {address for _, address in ray.asked} == {"head:6379"}


def last_command(capsys: Output) -> list[str]:
    """The flags of the search.py command that was printed last."""
    out = capsys.readouterr().out
    python, script, *words = shlex.split(out[out.rindex("python scripts/") :])
    assert (python, script) == ("python", "scripts/search.py")
    return words
