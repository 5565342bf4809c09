"""What every executor promises, on each of them: this process alone, and Ray with two workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import executor_jobs
import numpy as np
import pytest
from executor_jobs import add, slow, train

from tune_digits.config import Resources, Search, TrialConfig
from tune_digits.execute.executor import Executor, Proposal, TrialRun
from tune_digits.execute.inline import start_inline
from tune_digits.tune.scheduler import make_scheduler


@pytest.fixture(scope="module")
def on_ray() -> Iterator[Executor]:
    import ray

    from tune_digits.execute.on_ray import start_ray

    with pytest.MonkeyPatch.context() as patch:
        here = str(Path(executor_jobs.__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
        yield start_ray(Resources(max_concurrent=2))
        ray.shutdown()


@pytest.fixture(params=["inline", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "inline":
        return start_inline(Resources())
    return request.getfixturevalue("on_ray")


def test_what_is_stored_comes_back(executor: Executor) -> None:
    value = {"images": np.arange(12, dtype=np.uint8).reshape(3, 4), "name": "digits"}
    back = executor.store(value).get()
    np.testing.assert_array_equal(back["images"], value["images"])
    assert back["name"] == "digits"


def test_every_job_is_done_once_and_one_that_raises_gives_its_exception(executor: Executor) -> None:
    stored = executor.store(np.array([1, 2]))
    results = dict(executor.run_jobs(add, range(6), {"stored": stored}))
    failed = results.pop(3)
    assert results == {0: 3, 1: 4, 2: 5, 4: 7, 5: 8}
    assert isinstance(failed, ValueError)
    assert "no 3" in str(failed)
    assert list(executor.run_jobs(add, [], {})) == []


class Told:
    """Trials that note what they are told: (what, number of the trial), and each report's epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.numbers: dict[str, int] = {}
        self.heard: dict[int, list[str]] = {}

    def propose(self, key: str) -> Proposal:
        self.numbers[key] = number = len(self.numbers)
        self.heard[number] = []
        return Proposal(number, TrialConfig.model_validate({"train": {"epochs": self.epochs}}), "search")

    def started(self, key: str) -> None:
        self.heard[self.numbers[key]].append("started")

    def reported(self, key: str, report: Mapping[str, Any]) -> None:
        self.heard[self.numbers[key]].append(f"{report['epoch']}: {report['score']:.1f}")

    def ended(self, key: str) -> None:
        self.heard[self.numbers[key]].append("ended")

    def failed(self, key: str, error: str) -> None:
        self.heard[self.numbers[key]].append(error.strip().splitlines()[-1])


def run(executor: Executor, folder: Path, **change: Any) -> Told:
    told = Told(epochs=3)
    scheduler = make_scheduler(
        Search(grace_period=2, reduction_factor=2), 3, [(99, [{"epoch": e, "score": 0.5} for e in (1, 2, 3)])]
    )
    values = {"count": 5, "seconds": None, **change}
    executor.run_trials(
        TrialRun(train=train, shared=folder, trials=told, scheduler=scheduler, folder=folder, **values)
    )
    return told


def test_trials_are_told_of_every_start_report_and_end(executor: Executor, tmp_path: Path) -> None:
    heard = run(executor, tmp_path).heard
    whole = ["started", "1: 0.9", "2: 0.9", "3: 0.9", "ended"]
    assert heard[0] == whole
    assert heard[1] == ["started", "1: 0.1", "2: 0.1", "ended"]  # stopped at the rung
    assert heard[2][:2] == ["started", "started"]
    assert "trial 2 cannot train" in heard[2][-1]
    assert len(heard[2]) == 3
    assert heard[3] == ["started", "1: 0.9", "ended"]
    assert heard[4] == ["started", "1: 0.9", *whole]  # once more, after an error
    assert len(heard) == 5


def test_when_the_time_is_over_trials_are_left_where_they_stand(executor: Executor, tmp_path: Path) -> None:
    told = Told(epochs=1000)
    scheduler = make_scheduler(Search(grace_period=1000), 1000)
    executor.run_trials(TrialRun(slow, tmp_path, told, scheduler, 50, 8.0, tmp_path))
    assert len(told.heard) <= executor.slots.at_once  # a busy machine may not have come to a first report
    assert not any("ended" in heard for heard in told.heard.values())
