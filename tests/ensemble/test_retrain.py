"""Members trained on all rows: their files, their snapshots and their teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from run_samples import INLINE

from tune_digits import disk, runs
from tune_digits.config import Resources, TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.ensemble.retrain import (
    SEEDS,
    RetrainData,
    member_jobs,
    peculiarities,
    retrain,
    train_members,
)
from tune_digits.errors import DataError, RunError
from tune_digits.execute.inline import Kept
from tune_digits.execute.slots import Slots
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.metrics import ACCURACY
from tune_digits.screen import Screen
from tune_digits.tune.training import TrainingData, teacher_of

CPU = torch.device("cpu")

N = 60
TARGETS = (Target("half", ("left", "right")),)


@pytest.fixture
def data() -> TrainingData:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, N)
    images = rng.integers(0, 80, (N, 1, 8, 8))
    for i, side in enumerate(labels):
        images[i, 0, :, 4 * side : 4 * side + 4] += 120
    return TrainingData(images.astype(np.uint8), np.eye(2, dtype=np.float32)[labels], TARGETS, ACCURACY)


def configuration(**change) -> TrialConfig:
    raw = {
        "model": {"name": "lean_cnn", "width": 4, "depth": 1},
        "schedule": {"name": "cosine_restarts", "first": 1},
        "train": {"epochs": 3, "batch_size": 20, "snapshots": True},
        **change,
    }
    return TrialConfig.model_validate(raw)


def shared(data: TrainingData, folder: Path) -> RetrainData:
    return RetrainData(Kept(data), np.arange(N), str(folder), Slots(1, 0, 1))


def test_each_snapshot_is_a_member_of_its_own(data, tmp_path) -> None:
    config = configuration()
    (job,) = member_jobs([(7, config)], 1, "key")
    assert list(job.snapshots) == [1, 2]
    assert len(set(job.files)) == 3
    train_members((job,), shared(data, tmp_path))
    assert sorted(job.files) == sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*"))

    state = start_training(config, data.images, np.arange(N), 2, SEEDS, 0, torch.device("cpu"))
    on_device = to_device(data.images, data.proba, TARGETS, torch.device("cpu"))
    for report in fit(state, config, on_device, torch.arange(N), seed=SEEDS):
        saved, meta = disk.read_tensors(tmp_path / job.files[report.epoch - 1])
        assert meta.get("epoch", 3) == report.epoch
        assert all(torch.equal(value, saved[name]) for name, value in state.model.state_dict().items())


@pytest.mark.parametrize(("average", "train"), [("ema", {"ema_decay": 0.9}), ("swa", {"swa_start": 0.3})])
def test_the_averaged_weights_are_the_member(data, tmp_path, average: str, train: dict) -> None:
    config = configuration(schedule={"name": "constant"}, train={"epochs": 3, "batch_size": 20, **train})
    (job,) = member_jobs([(7, config)], 1, "key")
    train_members((job,), shared(data, tmp_path))
    state = start_training(config, data.images, np.arange(N), 2, SEEDS, 0, torch.device("cpu"))
    on_device = to_device(data.images, data.proba, TARGETS, torch.device("cpu"))
    list(fit(state, config, on_device, torch.arange(N), seed=SEEDS))
    saved, _ = disk.read_tensors(tmp_path / job.file)
    averaged = getattr(state, average).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in averaged.items())
    assert not all(torch.equal(value, saved[name]) for name, value in state.model.state_dict().items())


def test_weights_within_a_cycle_are_no_member_and_that_is_said(data, tmp_path) -> None:
    config = configuration(
        schedule={"name": "cosine_restarts", "first": 1, "growth": 2},
        train={"epochs": 4, "batch_size": 20, "snapshots": True},
    )
    jobs = member_jobs([(7, config)], 2, "key")
    assert [list(job.snapshots) for job in jobs] == [[1, 3]] * 2
    assert all(job.files == tuple(job.snapshots.values()) for job in jobs)
    train_members(jobs[:1], shared(data, tmp_path))
    assert (tmp_path / jobs[0].file).exists()  # by which a second run knows that this training is done
    (said,) = peculiarities(jobs)
    assert (
        said.startswith("trial 7: its 4 epochs end within a cycle")
        and "the last member is of epoch 3" in said
    )
    assert peculiarities(member_jobs([(7, configuration())], 1, "key")) == []


def test_a_best_epoch_cannot_be_kept_without_validation_and_that_is_said(data, tmp_path) -> None:
    config = configuration(schedule={"name": "constant"}, train={"epochs": 2, "keep": "best_loss"})
    (said,) = peculiarities(member_jobs([(3, config)], 1, "key"))
    assert "trial 3: train.keep: best_loss needs validation" in said
    (job,) = member_jobs([(3, config)], 1, "key")
    train_members((job,), shared(data, tmp_path))
    state = start_training(config, data.images, np.arange(N), 2, SEEDS, 0, torch.device("cpu"))
    on_device = to_device(data.images, data.proba, TARGETS, torch.device("cpu"))
    list(fit(state, config, on_device, torch.arange(N), seed=SEEDS))
    saved, _ = disk.read_tensors(tmp_path / job.file)
    assert all(torch.equal(value, saved[name]) for name, value in state.model.state_dict().items())


def test_without_snapshots_a_training_is_one_member() -> None:
    plain = configuration(train={"epochs": 3}, schedule={"name": "constant"})
    assert [len(job.files) for job in member_jobs([(1, plain)], 2, "key")] == [1, 1]


def test_a_member_that_diverged_is_not_saved(data, tmp_path) -> None:
    config = configuration(
        optimizer={"name": "sgd", "lr": 1e30},
        schedule={"name": "constant"},
        train={"epochs": 5, "batch_size": 20},
    )
    (job,) = member_jobs([(1, config)], 1, "key")
    with pytest.raises(RunError, match=r"no longer finite in epoch \d of 5"):
        train_members((job,), shared(data, tmp_path))
    assert not (tmp_path / job.file).exists()


def test_the_members_that_failed_are_named_and_the_others_kept(data, tmp_path) -> None:
    lost = configuration(
        optimizer={"name": "sgd", "lr": 1e30},
        schedule={"name": "constant"},
        train={"epochs": 2, "batch_size": 20},
    )
    jobs = [*member_jobs([(7, configuration())], 2, "key"), *member_jobs([(8, lost)], 1, "key")]
    run = runs.create_run(tmp_path / "runs", "one", "", {})
    with pytest.raises(RunError) as raised:
        retrain(jobs, shared(data, tmp_path), run, Resources(), INLINE, Screen(), "retrain")
    _, *lines = str(raised.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["trial 8, seed 0"]
    assert [(tmp_path / job.file).exists() for job in jobs] == [True, True, False]


def test_pseudo_labels_are_their_own_teacher(data, tmp_path) -> None:
    file = tmp_path / "teacher.npz"
    known = np.tile(np.float32([0.3, 0.7]), (N - 10, 1))
    np.savez(file, proba=known)
    config = configuration(loss={"name": "cross_entropy", "teacher": str(file), "teacher_weight": 0.5})
    pseudo = TrainingData(data.images, data.proba, TARGETS, ACCURACY, pseudo=10)
    rows = np.arange(N)
    said = teacher_of(config, pseudo, rows, None, CPU)
    np.testing.assert_array_equal(said, np.concatenate([known, data.proba[-10:]]))
    with pytest.raises(DataError, match="60 rows"):
        teacher_of(config, data, rows, None, CPU)
    assert teacher_of(configuration(), data, rows, None, CPU) is None
