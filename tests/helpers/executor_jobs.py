"""What executors run in their tests: Ray's workers import it by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tune_digits.config import TrialConfig


def add(job: int, shared: dict[str, Any]) -> int:
    if job == 3:
        raise ValueError(f"no {job}")
    return job + int(shared["stored"].get().sum())


def train(number: int, config: TrialConfig, shared: Path) -> Iterator[dict[str, Any]]:
    """Three epochs: trial 1 is weak, 2 raises each time, 3 ends by itself after one, 4 raises once."""
    for epoch in range(1, config.train.epochs + 1):
        if number == 2 or (number == 4 and epoch == 2 and not (shared / "raised").exists()):
            if number == 4:
                (shared / "raised").touch()
            raise RuntimeError(f"trial {number} cannot train")
        yield {"epoch": epoch, "score": 0.1 if number == 1 else 0.9}
        if number == 3:
            return


def slow(number: int, config: TrialConfig, shared: Path) -> Iterator[dict[str, Any]]:
    for epoch in range(1, 1000):
        time.sleep(0.1)
        yield {"epoch": epoch, "score": 0.5}


def from_table(number: int, config: TrialConfig, shared: dict[int, list[float]]) -> Iterator[dict[str, Any]]:
    """The recorded scores of this trial, an epoch each."""
    for epoch, score in enumerate(shared[number], start=1):
        yield {"epoch": epoch, "score": score}


def reported_from_table(config: dict[str, Any], table: dict[int, list[float]]) -> None:
    """The same as a trainable of Ray Tune; config: the trial's number."""
    from ray import tune

    for epoch, score in enumerate(table[config["number"]], start=1):
        tune.report({"epoch": epoch, "score": score})
