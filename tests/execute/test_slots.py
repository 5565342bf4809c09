"""How trainings share cores and GPUs, and what is said where they would wait for each other."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tune_digits.config import Resources
from tune_digits.errors import ConfigError
from tune_digits.execute.slots import Slots, oversubscription, plan_slots, snap_gpus, use_slots
from tune_digits.machine import busy_cores


@pytest.mark.parametrize(
    ("share", "snapped"), [(0, 0), (0.25, 0.25), (0.3, 1 / 3), (0.6, 0.5), (0.9, 1), (1, 1), (2, 2)]
)
def test_a_share_of_a_gpu_is_an_equal_part(share: float, snapped: float) -> None:
    assert snap_gpus(share) == pytest.approx(snapped)


@pytest.mark.parametrize(
    ("wanted", "cpus", "gpus", "slots"),
    [
        ({}, 2, 0, Slots(1, 0, 2)),
        ({"cpus_per_trial": 2}, 5, 0, Slots(2, 0, 2)),
        ({"max_concurrent": 1}, 8, 0, Slots(1, 0, 1)),
        ({}, 16, 1, Slots(1, 0.25, 4)),
        ({"cpus_per_trial": 0.5}, 2, 0, Slots(0.5, 0, 4)),
        ({"gpus_per_trial": 1}, 4, 2, Slots(1, 1, 2)),
        ({"gpus_per_trial": 0.3}, 16, 2, Slots(1, 1 / 3, 6)),
        ({"gpus_per_trial": 2}, 16, 4, Slots(1, 2, 2)),
        ({"gpus_per_trial": 0.25}, 3, 1, Slots(1, 0.25, 3)),
        ({"gpus_per_trial": 0}, 4, 1, Slots(1, 0, 4)),
    ],
)
def test_as_many_trainings_as_fit(wanted: dict, cpus: float, gpus: float, slots: Slots) -> None:
    assert plan_slots(Resources(**wanted), cpus, gpus) == slots


@pytest.mark.parametrize(
    ("wanted", "words"),
    [({"gpus_per_trial": 0.5}, "0 GPUs are here"), ({"cpus_per_trial": 4}, "2 cores are here")],
)
def test_what_does_not_fit_is_refused(wanted: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_slots(Resources(**wanted), 2, 0)


def test_oversubscription_is_named_and_silence_kept_without_it() -> None:
    assert oversubscription(Slots(1, 0, 2), load=0.3, cores=2) is None
    assert oversubscription(Slots(1, 0, 2), load=1.0, cores=4) is None
    assert "shares the 2 cores (load 1.8)" in oversubscription(Slots(1, 0, 2), load=1.8, cores=2)
    assert "--max-concurrent 2" in oversubscription(Slots(2, 0, 4), load=0.0, cores=4)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts in /proc/stat")
def test_a_core_at_work_is_seen_even_at_low_priority() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import os; os.nice(10)\nwhile True: pass"])
    try:
        assert max(busy_cores(0.3) for _ in range(5)) > 0.7
    finally:
        process.kill()
        process.wait()


def test_a_training_has_as_many_threads_as_its_cores() -> None:
    before = torch.get_num_threads()
    try:
        for cores, threads in ((2, 2), (1, 1), (0.5, 1)):
            assert use_slots(Slots(cores, 0, 1)) == torch.device("cpu")
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
