"""`tune-digits clean`: what is freed, what is kept, and that nothing is freed without --yes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import contents, ensemble, predict, search

from tune_digits.care import clean
from tune_digits.care.clean import in_units, size_of
from tune_digits.cli.check import main as check
from tune_digits.cli.clean import main
from tune_digits.execute import ray_folder
from tune_digits.run_lock import hold

Output = pytest.CaptureFixture[str]


@pytest.fixture
def full(one_ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with an ensemble and with all that can be spared."""
    run = tmp_path / "run"
    shutil.copytree(one_ensemble.parent, run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clean, "dead_sessions", lambda: [])
    (member,) = sorted((run / "ensemble/members").glob("*.safetensors"))[:1]
    for name in SPARED:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(member, run / name)
    shutil.copy(member, member.with_suffix(".state.safetensors"))
    (tmp_path / "runs/.cache").mkdir(parents=True)
    (tmp_path / "runs/.cache/a.npy").write_bytes(b"1234567")
    return run


SPARED = (
    *("trials/0001/state.safetensors", "ensemble/members/0009-seed0-0123456789.safetensors"),
    *(".answer.json.0123456789ab.tmp", "ray/0001/params.json"),
)
KEPT = "fold_weights/fold0/0001-seed0.safetensors"


def test_nothing_is_freed_without_yes(full: Path, capsys: Output) -> None:
    before = contents(full.parent)
    assert main(["run"]) == 0
    assert contents(full.parent) == before
    out = capsys.readouterr().out
    assert "can be freed: the same command with --yes" in out and f"disk: {Path('run')} takes " in out


def test_what_can_be_spared_is_freed_and_the_rest_is_whole(full: Path, capsys: Output) -> None:
    kept = full / KEPT
    kept.parent.mkdir(parents=True)
    shutil.copy(full / SPARED[0], kept)
    members = (len(list((full / "ensemble/members").iterdir()))) - 2
    before = size_of(full)
    assert main(["run", "--yes"]) == 0
    out = capsys.readouterr().out
    assert not [name for name in SPARED if (full / name).exists()]
    assert len(list((full / "ensemble/members").iterdir())) == members == 2
    assert kept.exists() and "kept; freed with --fold-weights" in out
    assert (full.parent / "runs/.cache/a.npy").exists() and "kept; freed with --cache" in out
    assert f"freed {in_units(before - size_of(full))}\n" in out
    assert check(["run"]) == 0
    assert main(["run", "--yes", "--fold-weights", "--cache"]) == 0
    assert not kept.exists() and not (full.parent / "runs/.cache").exists()
    capsys.readouterr()
    assert main(["run", "--yes"]) == 0
    assert "nothing can be freed" in capsys.readouterr().out


def test_what_a_trial_needs_that_goes_on_is_kept(full: Path) -> None:
    record = full / "trials/0001/trial.json"
    from tune_digits.runs import Run

    trial = Run(full).trials()[1]
    trial.state = "running"
    Run(full).write_trial(trial)
    assert main(["run", "--yes"]) == 0
    assert record.exists() and (full / "trials/0001/state.safetensors").exists()


def test_an_ensemble_that_is_not_finished_loses_no_member(full: Path) -> None:
    (full / "ensemble/manifest.json").unlink()
    assert main(["run", "--yes"]) == 0
    assert len(list((full / "ensemble/members").iterdir())) == 3


def test_a_run_that_is_written_into_is_left_alone(full: Path, capsys: Output) -> None:
    with hold(full, "search --first", print):
        assert main(["run", "--yes"]) == 2
    assert "called as: search --first) writes into it" in capsys.readouterr().err
    assert (full / SPARED[0]).exists()


def test_only_sessions_of_which_no_process_is_left_are_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv(ray_folder.VARIABLE, "")
    monkeypatch.setattr(ray_folder, "ray_folder", lambda: tmp_path)
    names = [
        "session_2026-01-01_00-00-00_000000_4194305",
        f"session_2026-01-01_00-00-01_000000_{os.getpid()}",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "session_latest").symlink_to(names[1])
    assert [path.name for path in ray_folder.dead_sessions()] == names[:1]


def test_rays_folder_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tune_digits.errors import RunError

    monkeypatch.setattr(ray_folder, "MOST_LETTERS", 200)
    monkeypatch.setenv(ray_folder.VARIABLE, str(tmp_path / "ray"))
    assert ray_folder.ray_folder() == tmp_path / "ray"
    assert (tmp_path / "ray").stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(RunError, match="belongs to another user"):
        ray_folder.ray_folder()
    monkeypatch.setattr(ray_folder, "MOST_LETTERS", 5)
    with pytest.raises(RunError, match="too long a path"):
        ray_folder.ray_folder()


def test_a_command_says_at_its_end_what_its_run_takes(here: Path, capsys: Output) -> None:
    assert search("--space", "small.yaml", "--run-dir", "run") == 0
    assert "\ndisk: run takes " in capsys.readouterr().out
    assert ensemble("--run", "run") == 0
    assert "\ndisk: run takes " in capsys.readouterr().out
    # a search and an ensemble leave nothing that could be spared
    assert not list(here.glob("run/**/*state.safetensors"))
    assert predict("--run", "run", "--data", "halves/test.csv") == 0


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_234_567, "1.2 MB"), (999_960, "1.0 MB")],
)
def test_sizes_in_words(size: int, told: str) -> None:
    assert in_units(size) == told
