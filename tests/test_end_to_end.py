"""Both commands as a user runs them: real processes, real Ray, real files. One search is shared by the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
SMALL = ["--epochs", "6", "--candidates", "2", "--confirm-folds", "2", "--set", "model.width=8"]


def script(name: str, *args: str, cwd: Path, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *args],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, str]:
    """A folder in which a search was killed in the middle and then resumed, and what the resumed one printed."""
    folder = tmp_path_factory.mktemp("user")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/search.py"), "--trials", "7", *SMALL],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(folder.glob("runs/latest/trials/*/trial.json"))) < 4:
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()  # closes its output too
    return folder, script("search", "--resume", cwd=folder)


def records(folder: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob("runs/latest/trials/*/trial.json"))]


def test_a_killed_search_is_taken_up_and_every_trial_ends_once(searched) -> None:
    folder, output = searched
    trials = records(folder)
    assert [t["number"] for t in trials] == list(range(7))
    assert {t["state"] for t in trials} <= {"finished", "pruned"}
    assert trials[0]["role"] == "baseline"
    for trial in trials:
        lines = (folder / f"runs/latest/trials/{trial['number']:04d}/epochs.jsonl").read_text().splitlines()
        epochs = [json.loads(line)["epoch"] for line in lines]
        assert sorted(set(epochs)) == list(range(1, trial["epochs"] + 1))
    assert "confirmed, best first" in output
    assert "leaderboard" in output


def test_the_journal_tells_stopped_trials_as_pruned(searched) -> None:
    folder, _ = searched
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "runs/latest/optuna.journal"))
    )
    study = optuna.load_study(study_name="search", storage=storage)
    assert study.trials[0].user_attrs["role"] == "baseline"
    for trial, record in zip(study.trials, records(folder), strict=True):
        assert len(trial.intermediate_values) == record["epochs"]
        assert trial.state.name == {"finished": "COMPLETE", "pruned": "PRUNED"}[record["state"]]


def test_the_leaderboard_holds_the_confirmed_with_their_columns(searched) -> None:
    folder, _ = searched
    board = pd.read_csv(folder / "runs/latest/leaderboard.csv")
    assert 0 in set(board["trial"])
    assert board["confirmed"].is_monotonic_decreasing
    assert (board["folds"] == 2).all()
    assert {"confirmed_se", "search_score", "out_of_domain", "seconds_per_training", "optimizer.lr"} <= set(
        board
    )


def test_a_trial_replays_exactly(searched, tmp_path) -> None:
    """Same seed, same trial: the recorded epochs of trial 0 come out of the library again, to the last digit."""
    import torch

    from tune_digits.config import TrialConfig
    from tune_digits.data.folds.split import make_folds
    from tune_digits.data.load import load_task
    from tune_digits.execute.slots import Slots
    from tune_digits.learn.metrics import metric_of
    from tune_digits.study import load_study
    from tune_digits.tune.training import train, training_data

    folder, _ = searched
    study = load_study(folder / "runs/latest/study.yaml")
    task = load_task(study.data, study.cv)
    fold = make_folds(task.train.labels, task.train.groups, study.cv)[0]
    threads = torch.get_num_threads()
    config = TrialConfig.model_validate(records(folder)[0]["config"])
    data = training_data(task.train, metric_of(study.cv, task.targets))
    reports = [
        r
        for r, _, _ in train(
            config, data, fold.train_idx, fold.valid_idx, seed=0, fold=0, slots=Slots(1, 0, 1)
        )
    ]
    torch.set_num_threads(threads)
    lines = (folder / "runs/latest/trials/0000/epochs.jsonl").read_text().splitlines()
    recorded = {e["epoch"]: e for e in map(json.loads, lines)}
    for epoch, report in recorded.items():
        assert report["train_loss"] == reports[epoch - 1].train_loss
        assert report["score"] == reports[epoch - 1].score


def test_the_ensemble_votes_and_predict_says_the_same_without_training(searched, tmp_path) -> None:
    from tune_digits.data.readers import digits

    folder, _ = searched
    output = script("ensemble", "--top", "2", "--pseudo", "0.9", cwd=folder)
    made = folder / "runs/latest/ensemble"
    report = json.loads((made / "report.json").read_text())
    accuracy = report["rounds"][-1]["sets"]["test"]["score"]
    assert accuracy > 0.9
    assert f"{accuracy:.4f}" in output
    assert len(report["rounds"]) == 2
    assert report["rounds"][1]["pseudo_labels"] > 100

    task = digits.read(digits.Options())
    submission = pd.read_csv(made / "submission.csv")
    assert list(submission.columns) == ["id", "label"]
    assert submission["id"].tolist() == task.test.ids.tolist()
    assert (submission["label"].to_numpy() == task.test.labels[:, 0]).mean() == pytest.approx(accuracy)

    # the same images as a Kaggle file, predicted from the ensemble's folder alone
    pixels = task.test.images.reshape(len(task.test), -1)
    table = pd.DataFrame(pixels, columns=[f"pixel{i}" for i in range(pixels.shape[1])])
    table.insert(0, "id", task.test.ids)
    table.to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "carried").symlink_to(made.resolve())
    args = ["--data", "test.csv", "--model", "carried", "--out", "again.csv"]
    script("predict", *args, cwd=tmp_path)
    assert (tmp_path / "again.csv").read_text() == (made / "submission.csv").read_text()
    assert "again.csv" in script("predict", *args, cwd=tmp_path, code=2)

    before = {p: p.stat().st_mtime_ns for p in made.glob("members/*.safetensors")}
    script("ensemble", "--top", "2", "--pseudo", "0.9", cwd=folder)
    assert {p: p.stat().st_mtime_ns for p in made.glob("members/*.safetensors")} == before


@pytest.mark.parametrize(
    ("args", "fact"),
    [
        (["search", "--space", "nowhere.yaml"], "nowhere.yaml"),
        (["predict", "--data", "test.csv"], "runs/latest"),
    ],
)
def test_mistakes_end_with_code_2_and_one_message(args, fact, tmp_path) -> None:
    output = script(args[0], *args[1:], cwd=tmp_path, code=2)
    assert fact in output
    assert "Traceback" not in output
    assert not list(tmp_path.iterdir()), "something was written"


def test_a_run_folder_is_never_overwritten(searched) -> None:
    folder, _ = searched
    taken = (folder / "runs/latest").resolve()
    before = {path: path.stat().st_mtime_ns for path in taken.rglob("*")}
    assert str(taken) in script("search", "--run-dir", str(taken), cwd=folder, code=2)
    assert {path: path.stat().st_mtime_ns for path in taken.rglob("*")} == before


def test_ray_without_patches_finds_what_this_process_alone_finds(tmp_path: Path) -> None:
    args = ["--trials", "2", "--epochs", "2", "--set", "search.grace_period=2", "--candidates", "1"]
    args += ["--confirm-folds", "1", "--set", "model.width=4"]
    script("search", *args, "--run-dir", "inline", "--executor", "inline", cwd=tmp_path)
    script(
        "search", *args, "--run-dir", "ray", "--max-concurrent", "1", cwd=tmp_path, TUNE_DIGITS_PATCHES="off"
    )
    alone, ray = (pd.read_csv(tmp_path / name / "leaderboard.csv") for name in ("inline", "ray"))
    pd.testing.assert_frame_equal(
        alone.drop(columns="seconds_per_training"), ray.drop(columns="seconds_per_training")
    )
    for number in (0, 1):
        records = [
            json.loads((tmp_path / name / f"trials/{number:04d}/trial.json").read_text())
            for name in ("inline", "ray")
        ]
        for record in records:
            del record["seconds"], record["checksum"]
        assert records[0] == records[1]
