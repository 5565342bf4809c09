"""`tune-digits check`: every file of a run is read, what is damaged is named, and what is advised mends it."""

from __future__ import annotations

import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
from commands import contents, ensemble, run, search

from tune_digits.cli.check import main
from tune_digits.run_lock import hold

Output = pytest.CaptureFixture[str]
KEEP = ("--set", "confirm.keep_weights=true")
COMMANDS = {"search.py": search, "ensemble.py": ensemble}


@pytest.fixture(scope="module")
def kept(one_search: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that has everything that a run can have."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        space = one_search / "small.yaml"
        assert search("--space", space, "--run-dir", "run", "--confirm-folds", 3, *KEEP) == 0
        assert ensemble("--run", "run") == 0
    return folder


@pytest.fixture
def path(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(kept / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return Path("run")


def test_a_whole_run_is_whole_and_nothing_is_changed(path: Path, capsys: Output) -> None:
    before = contents(path)
    assert main(["run"]) == 0
    assert contents(path) == before
    out = capsys.readouterr().out
    assert "trials: 4 whole\n" in out and "weights of folds: " in out and "run: all is whole (" in out
    assert main(["run/ensemble"]) == 0


ALL = [
    *("run.json", "study.yaml", "optuna.journal", "trials/0001/trial.json", "trials/0001/epochs.jsonl"),
    *("confirm/0000-fold0-seed0.npz", "fold_weights/fold0/0000-seed0.safetensors"),
    *("fold_weights/fold0/trained_rows.npz", "leaderboard.csv", "answer.json", "out_of_fold.npz"),
    *("ensemble/manifest.json", "ensemble/report.json", "ensemble/trained_rows.npz", "ensemble/members/*"),
]
NOT_READ = {"lock", "submission.csv", "report.html"}


def test_every_file_of_a_run_is_tried_below(path: Path) -> None:
    tried = {file for pattern in ALL for file in path.glob(pattern)}
    others = [
        f for f in path.rglob("*") if f.is_file() and "tensorboard" not in f.parts and f.name not in NOT_READ
    ]
    like = {(f.parent.parent.name if f.parent.name[-1].isdigit() else f.parent.name, f.suffix) for f in tried}
    for file in others:
        parent = file.parent.parent.name if file.parent.name[-1].isdigit() else file.parent.name
        assert (parent, file.suffix) in like, file


@pytest.mark.parametrize("pattern", ALL)
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_damage_is_named_and_the_advice_mends_it(path: Path, capsys: Output, pattern: str, how: str) -> None:
    (file,) = path.glob(pattern)
    whole = file.read_bytes()
    if how == "cut":
        # the second half of this study has defaults alone
        file.write_bytes(whole[: len(whole) // (4 if file.name == "study.yaml" else 2)])
    else:
        place = len(whole) // 3
        if file.suffix == ".npz":  # not in what an archive says twice: in the middle of its largest array
            with zipfile.ZipFile(file) as archive:
                largest = max(archive.infolist(), key=lambda info: info.compress_size)
            place = largest.header_offset + 50 + len(largest.filename) + largest.compress_size // 2
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
    code = main(["run"])
    said = capsys.readouterr()
    if file.name == "run.json":  # nothing can be said of a folder without it
        assert code == 2 and f"{file}: damaged" in said.err
        return
    assert code == 1, said.out
    assert f"! {file}: " in said.out or f"! {file.parent}: " in said.out, said.out
    for line in said.out.splitlines():
        if "to do: rm" in line:
            mend(line.partition("to do: ")[2])
            assert main(["run"]) == 0, capsys.readouterr().out


def mend(advice: str) -> None:
    """Do what is advised: rm FILES && python scripts/COMMAND.py FLAGS   (words)."""
    remove, _, command = advice.partition("   (")[0].partition(" && ")
    for name in shlex.split(remove.partition(": ")[0])[1:]:
        Path(name).unlink()
    if command:
        _, script, *words = shlex.split(command)
        assert COMMANDS[Path(script).name](*words) == 0


def test_a_damaged_state_of_a_trial_is_named(path: Path, capsys: Output) -> None:
    state = path / "trials/0001/state.safetensors"
    state.write_bytes(b"nothing")
    assert main(["run"]) == 1
    assert f"rm {state} && python scripts/search.py --resume run" in capsys.readouterr().out


def test_a_folder_that_is_none(tmp_path: Path, capsys: Output) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err


def test_who_writes_is_said(path: Path, capsys: Output) -> None:
    with hold(path, "search --first", print):
        assert main(["run"]) == 0
    assert "called as: search --first) writes into run" in capsys.readouterr().out


def test_an_interrupted_run_is_whole(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tune_digits.tune.search.run_search", stopped)
        path = run(code=130)
    assert main([str(path)]) == 0
