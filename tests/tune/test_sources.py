"""What a training learns from: the networks of another run's folds, and which rows they had seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_samples import confirmed_run, folds_of, halves, halves_task, record, small_study

from tune_digits import disk
from tune_digits.config import TrialConfig
from tune_digits.data.fingerprint import row_hashes
from tune_digits.errors import ConfigError, DataError, RunError
from tune_digits.execute.slots import Slots
from tune_digits.learn.metrics import ACCURACY
from tune_digits.learn.predict import predict_proba
from tune_digits.runs import Run
from tune_digits.trained_rows import count_seen, read_trained_rows, rows_behind, write_trained_rows
from tune_digits.tune.confirm import write_rows_of_folds
from tune_digits.tune.given_files import digests_of_given_files
from tune_digits.tune.networks import load_network
from tune_digits.tune.preflight import preflight
from tune_digits.tune.sources import check_sources, sources_of
from tune_digits.tune.teacher import teach
from tune_digits.tune.training import TrainingPlan, train_plans, training_data

TASK = halves_task(60)
IMAGES, HEADS, CPU = TASK.train.images, (slice(0, 2),), torch.device("cpu")
STUDY = small_study(search={"trials": 2, "grace_period": 4}, confirm={"candidates": 2, "keep_weights": True})
FOLDS = folds_of(STUDY, TASK)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, _ = confirmed_run(tmp_path_factory.mktemp("kept"), STUDY, TASK)
    return run


def config_of(model: Any = None, teacher: Any = None) -> TrialConfig:
    tree: Mapping[str, Any] = {
        "model": {"name": "lean_cnn", "width": 4, "depth": 1, "init_from": model},
        "loss": {"name": "cross_entropy", "teacher": teacher, "teacher_weight": 0.5 if teacher else 0},
    }
    return TrialConfig.model_validate(tree)


def same(run: Run) -> dict[str, str]:
    return {"run": str(run.path), "folds": "same"}


def test_the_best_of_the_leaderboard_is_meant(kept: Run) -> None:
    best = kept.best_confirmed()
    assert best == int(kept.leaderboard.read_text().splitlines()[1].split(",")[0])
    (weights, teacher) = sources_of(config_of(same(kept), same(kept)), 2)
    assert weights.file == teacher.file == kept.fold_member(best, 2, 0)
    assert (weights.key, teacher.key) == ("model.init_from", "loss.teacher")
    assert Run(kept.path / "trials").best_confirmed() is None


def test_a_fold_learns_what_its_own_network_says(kept: Run) -> None:
    best = kept.best_confirmed()
    assert best is not None
    rows = np.arange(5, 25)
    said = teach(config_of(teacher=same(kept)).loss, IMAGES, rows, HEADS, 1, CPU)
    model, _ = load_network(kept.fold_member(best, 1, 0), IMAGES.shape[1:], 2, CPU, "them")
    expected = predict_proba(model, torch.from_numpy(IMAGES[rows]), HEADS)
    np.testing.assert_array_equal(said[rows], expected)
    assert not np.delete(said, rows, axis=0).any()
    everywhere = teach(config_of(teacher=same(kept)).loss, IMAGES, rows, HEADS, None, CPU)
    with np.load(kept.out_of_fold) as file:
        np.testing.assert_array_equal(everywhere, file["proba"])
    assert teach(config_of().loss, IMAGES, rows, HEADS, 1, CPU) is None


def test_what_was_never_kept_is_said(kept: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.init_from: .* kept no weights of fold 7 of trial"):
        sources_of(config_of(same(kept)), 7)
    unfinished = Run(tmp_path)
    disk.write_json(tmp_path / "run.json", disk.read_json(kept.path / "run.json"))
    with pytest.raises(ConfigError, match=r"loss\.teacher: .* has no leaderboard yet"):
        sources_of(config_of(teacher=same(unfinished)), 0)
    unfinished.leaderboard.write_text("trial,confirmed\n")
    with pytest.raises(RunError, match=r"leaderboard\.csv: damaged"):
        unfinished.best_confirmed()
    unfinished.leaderboard.write_text("trial,confirmed\n0,1.0\n")
    with pytest.raises(ConfigError, match=r"out_of_fold\.npz is missing"):
        sources_of(config_of(teacher=same(unfinished)), None)


@pytest.mark.parametrize("changed", ["weights", "answers"])
def test_what_was_kept_counts_by_its_content(kept: Run, tmp_path: Path, changed: str) -> None:
    best = kept.best_confirmed()
    assert best is not None
    own = Run(tmp_path)
    for file in [kept.leaderboard, kept.path / "run.json", kept.out_of_fold, kept.fold_member(best, 1, 0)]:
        copy = tmp_path / file.relative_to(kept.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    config = config_of(same(own), same(own))
    before = digests_of_given_files(config)
    assert list(before) == [str(tmp_path)]
    assert digests_of_given_files(config) == before
    file = own.fold_member(best, 1, 0) if changed == "weights" else own.out_of_fold
    file.write_bytes(file.read_bytes() + b" ")
    assert digests_of_given_files(config) != before


def test_a_teacher_that_does_not_say_what_it_has_seen_is_named(tmp_path: Path) -> None:
    file = tmp_path / "teacher.npz"
    proba = np.full((60, 2), 0.5, np.float32)
    np.savez(file, proba=proba)
    study = small_study({"loss": {"teacher": str(file), "teacher_weight": 0.5}})
    (line,) = preflight(study, TASK, FOLDS)
    assert line.startswith(f"{file} does not say which rows the teacher was trained on")
    np.savez(file, proba=proba, trained_rows=row_hashes(halves_task(60).train.images[:0]))
    assert preflight(study, TASK, FOLDS) == []
    np.savez(file, proba=proba, trained_rows=np.zeros(3, np.int64))
    with pytest.raises(DataError, match=r"trained_rows must be uint64 \(N,\), got int64"):
        preflight(study, TASK, FOLDS)


def test_only_folds_that_are_trained_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "teacher.npz"
    seen = row_hashes(IMAGES[FOLDS[2].valid_idx[:4]])
    np.savez(file, proba=np.full((60, 2), 0.5, np.float32), trained_rows=seen)
    trial = {"loss": {"teacher": str(file), "teacher_weight": 0.5}}
    with pytest.raises(ConfigError, match="trained on 4 of the 20 images that fold 2 is judged by"):
        preflight(small_study(trial), TASK, FOLDS)
    assert preflight(small_study(trial, confirm={"folds": 2}), TASK, FOLDS) == []
    with pytest.raises(ConfigError, match="fold 2"):
        preflight(small_study(trial, confirm={"folds": 1}, search={"fold": 2}), TASK, FOLDS)


def test_holdouts_are_checked_by_their_name(kept: Run) -> None:
    task = replace(TASK, holdouts={"Dig": TASK.train.take(FOLDS[0].train_idx[:3])})
    with pytest.raises(ConfigError, match="trained on 3 of the 3 images that Dig is judged by"):
        check_sources([config_of(same(kept))], task, FOLDS[:1])
    assert check_sources([config_of(same(kept))], TASK, FOLDS) == []


def test_trained_rows_are_found_beside_the_weights_or_above(tmp_path: Path) -> None:
    rows = row_hashes(IMAGES[:7])
    write_trained_rows(tmp_path, np.concatenate([rows, rows]))
    np.testing.assert_array_equal(read_trained_rows(tmp_path), np.sort(rows))
    for place in ("a.safetensors", "members/a.safetensors"):
        np.testing.assert_array_equal(rows_behind(tmp_path / place), np.sort(rows))
    assert rows_behind(tmp_path / "far/below/a.safetensors") is None
    assert count_seen(IMAGES[5:], rows) == 2
    (tmp_path / "trained_rows.npz").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"trained_rows\.npz: damaged"):
        rows_behind(tmp_path / "a.safetensors")


def test_what_the_sources_of_any_candidate_have_seen_counts_for_the_fold(kept: Run, tmp_path: Path) -> None:
    """One candidate starts from nothing, the other from networks of other images."""
    chosen = [record(0, 0.9), record(1, 0.8, config=config_of(same(kept)))]
    others, run = halves(60, seed=5), Run(tmp_path)
    write_rows_of_folds(run, others, chosen, FOLDS[:2])
    for fold in FOLDS[:2]:
        own, before = row_hashes(others.images[fold.train_idx]), row_hashes(IMAGES[fold.train_idx])
        seen = read_trained_rows(run.fold_weights(fold.index))
        np.testing.assert_array_equal(seen, np.union1d(own, before))


@pytest.mark.parametrize("of_teacher", [False, True])
def test_fused_folds_start_from_and_learn_from_their_own(kept: Run, of_teacher: bool) -> None:
    config = config_of(None if of_teacher else same(kept), same(kept) if of_teacher else None)
    still = config.optimizer.model_copy(update={"lr": 1e-12})
    config = config.model_copy(update={"optimizer": still, "train": next(iter(STUDY.space.ends())).train})
    data = training_data(TASK.train, ACCURACY)
    plans = [TrainingPlan(fold.train_idx, 1, fold.index) for fold in FOLDS]
    together = list(train_plans(config, data, plans, Slots(1, 0, 1)))
    for plan, (state, _) in zip(plans, together, strict=True):
        ((alone, _),) = train_plans(config, data, [plan], Slots(1, 0, 1))
        assert state.history[-1].train_loss == pytest.approx(alone.history[-1].train_loss, abs=1e-5)
        for (name, own), other in zip(state.model.named_parameters(), alone.model.parameters(), strict=True):
            torch.testing.assert_close(own, other, atol=1e-6, rtol=0, msg=name)


def test_the_weights_that_answered_are_kept_and_not_those_of_the_last_step(tmp_path: Path) -> None:
    study = small_study(
        {"train": {"epochs": 2, "batch_size": 20, "ema_decay": 0.9}},
        search={"trials": 1, "grace_period": 1},
        confirm={"candidates": 1, "keep_weights": True},
    )
    run, _ = confirmed_run(tmp_path, study, TASK)
    for result in run.folds():
        file = run.fold_member(result.trial, result.fold, result.seed)
        model, _ = load_network(file, IMAGES.shape[1:], 2, CPU, "them")
        answers = predict_proba(model, torch.from_numpy(IMAGES[result.valid_idx]), HEADS)
        np.testing.assert_allclose(answers, result.valid_proba, atol=1e-6)
