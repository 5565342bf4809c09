"""Which trainings are fused, and that the fused ones end where each would have ended by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_samples import MADE_FROM

from tune_digits import disk, runs
from tune_digits.config import Resources, TrialConfig
from tune_digits.config.model import LeanCnn
from tune_digits.data.dataset import Target
from tune_digits.data.folds.split import Fold
from tune_digits.ensemble.retrain import SEEDS, RetrainData, member_jobs, state_file, train_members
from tune_digits.execute.executor import Executor
from tune_digits.execute.inline import InlineExecutor, Kept
from tune_digits.execute.slots import Slots
from tune_digits.learn.fused import CannotFuse
from tune_digits.learn.metrics import ACCURACY
from tune_digits.learn.state import pack
from tune_digits.screen import Screen
from tune_digits.tune import fusing, training
from tune_digits.tune.fold_jobs import ConfirmData, FoldJob, confirm_folds
from tune_digits.tune.training import TrainingData, TrainingPlan, train, train_plans

N = 60
SLOTS = Slots(1, 0, 1)
ON_GPU = Slots(1, 1, 1)


def configuration(**train: Any) -> TrialConfig:
    raw = {
        "model": {"name": "lean_cnn", "width": 4, "depth": 1},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "train": {"epochs": 2, "batch_size": 20, **train},
    }
    return TrialConfig.model_validate(raw)


@pytest.fixture
def data() -> TrainingData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 1, 8, 8), dtype=np.uint8)
    proba = np.eye(2, dtype=np.float32)[rng.integers(0, 2, N)]
    return TrainingData(images, proba, (Target("half", ("left", "right")),), ACCURACY)


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return runs.create_run(tmp_path, "fusing", "", {})


def jobs(*numbers: int, folds: int = 3) -> list[FoldJob]:
    """Of each configuration of these numbers of epochs, all folds."""
    return [FoldJob(n, configuration(epochs=n), fold, 0) for fold in range(folds) for n in numbers]


def plan(
    run: runs.Run,
    wanted: list[FoldJob],
    data: TrainingData,
    executor: Executor,
    fuse: str = "auto",
) -> list:
    shared = (Kept(data), np.arange(N))
    resources = Resources(fuse=fuse)
    return fusing.plan_fusing(run, wanted, lambda job: job.config, shared, resources, executor, Screen())


class Measured(InlineExecutor):
    """Finds, whatever is asked, that so many networks are best; `asked` grows by each question."""

    def __init__(self, networks: int, slots: Slots = ON_GPU) -> None:
        super().__init__(slots)
        object.__setattr__(self, "networks", networks)
        object.__setattr__(self, "asked", [])

    def run_jobs(self, function: Any, jobs: Any, shared: Any) -> Any:
        assert function is fusing.measure
        self.asked.extend(jobs)
        yield jobs[0], {"networks": self.networks, "gains": {"2": 1.5}}


def test_what_pays_is_measured_once_and_only_like_is_fused_with_like(run, data) -> None:
    executor = Measured(2)
    groups = plan(run, jobs(1, 2), data, executor)
    assert [[(j.trial, j.fold) for j in group] for group in groups] == [
        [(1, 0), (1, 1)],
        [(1, 2)],
        [(2, 0), (2, 1)],
        [(2, 2)],
    ]
    wide = configuration().model_copy(update={"model": LeanCnn(width=8)})
    wider = [FoldJob(3, wide, fold, 0) for fold in range(2)]
    assert [len(group) for group in plan(run, [*jobs(1), *wider], data, executor)] == [2, 1, 1, 1]
    assert len(executor.asked) == 1
    assert run.fusing()["gains"] == {"2": 1.5}


def test_nothing_is_fused_where_it_does_not_pay_or_trainings_would_wait(run, data) -> None:
    executor = Measured(1)
    assert [len(g) for g in plan(run, jobs(1), data, executor, fuse="never")] == [1, 1, 1]
    assert [len(g) for g in plan(run, jobs(1, folds=1), data, executor)] == [1]
    assert executor.asked == []
    many = Measured(2, Slots(1, 0.25, 4))
    assert [len(g) for g in plan(run, jobs(1), data, many)] == [1, 1, 1]
    assert many.asked == []
    assert [len(g) for g in plan(run, jobs(1), data, executor)] == [1, 1, 1]
    assert len(executor.asked) == 1


def test_there_are_as_many_groups_as_trainings_run_at_once(run, data) -> None:
    """Five trainings, two at once: a network of three and one of two, and no third group that waits for them."""
    executor = Measured(4, Slots(1, 0.5, 2))
    assert [len(g) for g in plan(run, jobs(1, folds=5), data, executor)] == [3, 2]
    assert [most for _, most in executor.asked] == [3]


def test_on_cpus_nothing_is_fused_and_nothing_measured(run, data) -> None:
    executor = Measured(2, Slots(1, 0, 1))
    assert [len(g) for g in plan(run, jobs(1), data, executor)] == [1, 1, 1]
    assert executor.asked == []
    assert run.fusing() is None


def test_fused_folds_are_judged_as_folds_alone(data) -> None:
    folds = {i: Fold(i, np.delete(np.arange(N), np.arange(i, N, 3)), np.arange(i, N, 3)) for i in range(3)}
    outside = {"other": (data.images[:9], np.zeros((9, 1), np.int64))}
    shared = ConfirmData(Kept(data), folds, outside, 0, MADE_FROM, SLOTS)
    wanted = [FoldJob(4, configuration(), fold, seed) for fold in range(3) for seed in range(2)]
    together = confirm_folds(tuple(wanted), shared)
    for job, fused in zip(wanted, together, strict=True):
        (alone,) = confirm_folds((job,), shared)
        assert (fused.trial, fused.fold, fused.seed) == (4, job.fold, job.seed)
        np.testing.assert_allclose(fused.valid_proba, alone.valid_proba, atol=1e-4)
        assert fused.score == pytest.approx(alone.score, abs=0.051)  # one image in twenty
        assert fused.holdout_scores.keys() == {"other"}
        assert fused.seconds > 0


def test_fused_members_are_saved_as_members_alone_and_taken_up_again(data, tmp_path) -> None:
    def member(folder: Path, file: str) -> dict[str, torch.Tensor]:
        return disk.read_tensors(folder / file)[0]

    config = configuration(epochs=3)
    wanted = member_jobs([(7, config)], 2, "key")
    shared = {
        way: RetrainData(Kept(data), np.arange(N), str(tmp_path / way), SLOTS)
        for way in ("one", "all", "again")
    }
    train_members(tuple(wanted), shared["all"])
    for job in wanted:
        train_members((job,), shared["one"])
    # a training of the first that was stopped after an epoch is not as far as the second's
    files = [state_file(tmp_path / "again" / job.file) for job in wanted]
    one = train(config, data, np.arange(N), None, seed=SEEDS, fold=0, slots=SLOTS)
    _, state, _ = next(one)
    disk.write_tensors(files[0], *pack(state))
    train_members(tuple(wanted), shared["again"])
    for job in wanted:
        alone = member(tmp_path / "one", job.file)
        for way in ("all", "again"):
            fused = member(tmp_path / way, job.file)
            assert max((alone[k].double() - fused[k].double()).abs().max() for k in alone) < 1e-4
    assert not any(file.exists() for file in files)


def test_only_what_cannot_be_fused_is_trained_separately(data, monkeypatch) -> None:
    """A mistake in the fused step is raised, and not covered up by trainings one after the other."""
    config = TrialConfig.model_validate(configuration(epochs=1))
    parts = [TrainingPlan(np.arange(N), seed, 0) for seed in (1, 2)]

    def raising(error: Exception) -> list[str]:
        def fused(*args: Any) -> Any:
            raise error

        monkeypatch.setattr(training, "_train_fused", fused)
        return [type(state).__name__ for state, _ in train_plans(config, data, parts, SLOTS)]

    for expected in (CannotFuse("other lengths"), torch.OutOfMemoryError("too large")):
        assert raising(expected) == ["TrainState", "TrainState"]
    for mistake in (ValueError("a mistake"), RuntimeError("another")):
        with pytest.raises(type(mistake), match=str(mistake)):
            raising(mistake)


def test_what_was_measured_on_another_share_or_for_another_shape_is_measured_again(run, data) -> None:
    first = Measured(2)
    plan(run, jobs(1), data, first)
    plan(run, jobs(1), data, first)
    assert len(first.asked) == 1
    other = Measured(2, Slots(1, 0.5, 1))
    plan(run, jobs(1), data, other)
    assert len(other.asked) == 1
    wide = configuration().model_copy(update={"model": LeanCnn(width=8)})
    plan(run, [FoldJob(3, wide, fold, 0) for fold in range(3)], data, other)
    assert len(other.asked) == 2
