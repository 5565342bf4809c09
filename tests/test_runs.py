"""The run folder: what is written is read back, nothing is overwritten, damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run_samples import MADE_FROM

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.errors import RunError
from tune_digits.runs import FoldResult, Run, TrialRecord, Truth, create_run, open_run


def make(root: Path, folder: Path | None = None) -> Run:
    return create_run(root, "aug", "trial: {}\n", {"seed": 3, "command": "search.py"}, folder)


def test_a_new_run_says_where_it_came_from_and_is_the_latest(tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path)
    assert first.path != second.path
    facts = json.loads((second.path / "run.json").read_text())
    assert facts["seed"] == 3
    assert {"format", "command", "versions", "git", "machine", "python"} <= set(facts)
    assert {"torch", "ray", "optuna"} <= set(facts["versions"])
    assert open_run(tmp_path / "latest").path == second.path.resolve()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    make(tmp_path, folder)
    with pytest.raises(RunError, match=r"nothing is overwritten.*--resume"):
        make(tmp_path, folder)
    (tmp_path / "empty").mkdir()
    make(tmp_path, tmp_path / "empty")


def test_somebodys_own_folder_named_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    make(tmp_path)
    assert not (tmp_path / "latest").is_symlink()


def test_another_format_and_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no search has been run yet"):
        open_run(tmp_path / "latest")
    run = make(tmp_path)
    (run.path / "run.json").write_text('{"format": 99}')
    with pytest.raises(RunError, match="format 99"):
        open_run(run.path)
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json: damaged"):
        open_run(run.path)


def test_trials_and_epochs_come_back(tmp_path: Path) -> None:
    run = make(tmp_path)
    record = TrialRecord(4, "pruned", "search", TrialConfig(), {"a.b": 1}, MADE_FROM, 2, 0.5, 0.6, 1.5)
    run.write_trial(record)
    assert run.trials() == [record]
    for epoch in (1, 2, 1, 2, 3):
        run.append_epoch(4, {"epoch": epoch, "score": epoch / 10})
    with (run.trial_folder(4) / "epochs.jsonl").open("a") as file:
        file.write('{"epoch": 4, "sc')
    assert run.epochs(4) == [{"epoch": e, "score": e / 10} for e in (1, 2, 3)]
    assert run.epochs(9) == []


def test_folds_come_back_and_damage_is_named(tmp_path: Path) -> None:
    run = make(tmp_path)
    proba = np.random.default_rng(0).random((3, 10)).astype(np.float32)
    result = FoldResult(7, 2, 0, np.array([1, 5, 9]), proba, 0.9, 3.5, MADE_FROM, {"Dig-MNIST": 0.8})
    run.write_fold(result)
    (back,) = run.folds(7)
    assert (back.trial, back.fold, back.seed, back.score, back.seconds) == (7, 2, 0, 0.9, 3.5)
    assert back.fingerprints == MADE_FROM
    assert back.holdout_scores == {"Dig-MNIST": 0.8}
    assert np.array_equal(back.valid_idx, result.valid_idx)
    assert np.array_equal(back.valid_proba, proba)
    assert run.folds(8) == []
    path = run.fold_file(7, 2, 0)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=r"0007-fold2-seed0\.npz: damaged"):
        run.folds()
    assert not list(run.path.rglob("*.tmp"))


@pytest.mark.parametrize("ids", [np.arange(10, 13), np.array(["a.png", "ಕ.png", "c"], dtype=object)])
def test_what_judges_the_confirmation_comes_back(tmp_path: Path, ids: np.ndarray) -> None:
    run = make(tmp_path)
    assert run.truth() is None
    labels = np.array([[0, 1], [1, 0], [0, 0]])
    targets = (Target("root", ("ka", 'a "quoted" one')), Target("vowel", ("x", "y")))
    run.write_truth(Truth(labels, ids, targets))
    back = run.truth()
    assert back is not None and np.array_equal(back.labels, labels) and back.targets == targets
    assert back.ids.tolist() == [str(name) for name in ids]
    run.labels.write_bytes(run.labels.read_bytes()[:100])
    with pytest.raises(RunError, match=r"labels\.npz: damaged"):
        run.truth()


def test_a_line_that_a_crash_cut_short_is_dropped_when_the_next_is_written(tmp_path: Path) -> None:
    run = make(tmp_path)
    for epoch in (1, 2):
        run.append_epoch(4, {"epoch": epoch, "score": 0.5})
    path = run.trial_folder(4) / "epochs.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert [e["epoch"] for e in run.epochs(4)] == [1]
    for epoch in (2, 3):
        run.append_epoch(4, {"epoch": epoch, "score": 0.6})
    assert [(e["epoch"], e["score"]) for e in run.epochs(4)] == [(1, 0.5), (2, 0.6), (3, 0.6)]


def test_of_an_epoch_that_was_recorded_twice_the_last_counts(tmp_path: Path) -> None:
    run = make(tmp_path)
    for epoch, score in ((1, 0.5), (2, 0.6), (2, 0.7)):
        run.append_epoch(4, {"epoch": epoch, "score": score})
    assert [e["score"] for e in run.epochs(4)] == [0.5, 0.7]


def test_damage_before_the_last_line_is_named(tmp_path: Path) -> None:
    run = make(tmp_path)
    for epoch in (1, 2, 3):
        run.append_epoch(4, {"epoch": epoch, "score": 0.5})
    path = run.trial_folder(4) / "epochs.jsonl"
    path.write_text(path.read_text().replace('"epoch": 2', '"epo'))
    with pytest.raises(RunError, match=r"epochs\.jsonl: line 2 is damaged"):
        run.epochs(4)
