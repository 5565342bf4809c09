"""The best confirmed configurations trained on all data, several side by side, and their answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tune_digits.config import Resources, TrialConfig
from tune_digits.data.fingerprint import hash_of
from tune_digits.errors import RunError
from tune_digits.execute.executor import Executor, Stored
from tune_digits.execute.slots import Slots
from tune_digits.learn.schedule import ends_within_cycle, snapshot_epochs
from tune_digits.learn.version import TRAINING_VERSION
from tune_digits.runs import Run
from tune_digits.screen import Progress, Screen
from tune_digits.tune.fusing import plan_fusing
from tune_digits.tune.given_files import by_content
from tune_digits.tune.networks import save_network
from tune_digits.tune.training import TrainingData, TrainingPlan, train_plans

# neither the search's seeds nor the confirmation's
SEEDS = 2_000_003


@dataclass(frozen=True, slots=True)
class MemberJob:
    """One training. file: where its last weights go, below the ensemble's folder; it is the last to be written.

    snapshots: epoch -> where the weights at its end go, which are a member of their own. A file's name holds a hash
    of everything that decides the weights, so that a file which is there is this member, and a saved state beside
    it is this member's.
    """

    trial: int
    config: TrialConfig
    seed: int
    file: str
    snapshots: dict[int, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The members that this training gives, oldest weights first.

        Where it ends within a cycle of the schedule, its last weights are no member: the learning rate is high there.
        """
        last = () if ends_within_cycle(self.config.schedule, self.config.train) else (self.file,)
        return (*self.snapshots.values(), *last)


@dataclass(frozen=True, slots=True)
class RetrainData:
    """What all members share. rows int64 (n,): the samples to train on. fold: the one that these leave out, whose
    networks teach them where a teacher has folds; None = they leave none out."""

    training: Stored[TrainingData]
    rows: np.ndarray
    folder: str
    slots: Slots
    fold: int | None = None


def member_jobs(configs: Sequence[tuple[int, TrialConfig]], seeds: int, data_key: str) -> list[MemberJob]:
    """`seeds` trainings of each (trial, config). data_key: hash of the images, targets and rows.

    Given files count by their content, not by their name: a file that has changed makes another member.
    """
    jobs = []
    for trial, config in configs:
        epochs = snapshot_epochs(config.schedule, config.train)
        for seed in range(seeds):
            key = hash_of([by_content(config), seed, data_key, TRAINING_VERSION])[:10]
            stem = f"members/{trial:04d}-seed{seed}-{key}"
            snapshots = {epoch: f"{stem}-epoch{epoch:04d}.safetensors" for epoch in epochs}
            jobs.append(MemberJob(trial, config, seed, f"{stem}.safetensors", snapshots))
    return jobs


def peculiarities(jobs: Sequence[MemberJob]) -> list[str]:
    """In words, what members of these trainings are other than their configuration may let expect."""
    said = []
    for job in {job.trial: job for job in jobs}.values():
        train = job.config.train
        if job.file not in job.files:
            said.append(
                f"trial {job.trial}: its {train.epochs} epochs end within a cycle of the learning rate; the last "
                f"weights are left out, and the last member is of epoch {max(job.snapshots)}"
            )
        if train.keep != "last":
            said.append(
                f"trial {job.trial}: train.keep: {train.keep} needs validation, and there is none where all rows are "
                "trained on; the weights of the last epoch are kept"
            )
    return said


def train_members(jobs: tuple[MemberJob, ...], shared: RetrainData) -> None:
    """Train networks of one configuration on the rows, fused if they are several, and save them and their snapshots.

    Runs in a worker. Raises RunError where a loss is no longer finite, when all others are saved.
    """
    config = jobs[0].config
    plans = [
        TrainingPlan(
            shared.rows,
            SEEDS + job.seed,
            shared.fold or 0,
            state_file(Path(shared.folder) / job.file),
            whole=shared.fold is None,
        )
        for job in jobs
    ]
    lost = []
    trained = train_plans(config, shared.training.get(), plans, shared.slots)
    for job, (state, _) in zip(jobs, trained, strict=True):
        last = state.history[-1]
        if math.isfinite(last.train_loss):
            save(job, config, state, Path(shared.folder))
        else:
            lost.append(
                f"seed {job.seed}: the loss was no longer finite in epoch {last.epoch} of {config.train.epochs}"
            )
    if lost:
        raise RunError("; ".join(lost))


def state_file(member: Path) -> Path:
    """Where a member's training is saved while it lasts."""
    return member.with_suffix(".state.safetensors")


def save(job: MemberJob, config: TrialConfig, state: Any, folder: Path) -> None:
    """Save what a TrainState has become, and its snapshots."""
    path = folder / job.file
    facts = {
        "trial": job.trial,
        "seed": job.seed,
        "seconds": sum(report.seconds for report in state.history),
    }
    for epoch, file in job.snapshots.items():
        snapshot = copy.deepcopy(state.current_model)
        snapshot.load_state_dict(state.snapshots[epoch])
        save_network(folder / file, snapshot, config, {**facts, "epoch": epoch})
    # the last one of all: where it is, this training is done
    save_network(path, state.best_model, config, facts)
    state_file(path).unlink(missing_ok=True)


def retrain(
    jobs: Sequence[MemberJob],
    shared: RetrainData,
    run: Run,
    resources: Resources,
    executor: Executor,
    screen: Screen,
    title: str,
) -> None:
    """Train all members whose files are not there yet. Raises RunError where one failed."""
    missing = [job for job in jobs if not (Path(shared.folder) / job.file).exists()]
    progress = Progress(title, total=len(jobs), done=len(jobs) - len(missing))
    progress.facts = {"images": f"{len(shared.rows):,}"}
    groups = plan_fusing(
        run,
        missing,
        lambda job: job.config,
        (shared.training, shared.rows),
        resources,
        executor,
        screen,
    )
    failed: list[str] = []
    with screen.watch(progress):
        for group, result in executor.run_jobs(train_members, groups, shared):
            progress.done += len(group)
            if isinstance(result, Exception):
                seeds = ", ".join(str(job.seed) for job in group)
                failed.append(f"trial {group[0].trial}, seed {seeds}: {result}")
            screen.tick(progress)
    if failed:
        raise RunError("these members could not be trained:\n  " + "\n  ".join(failed))
