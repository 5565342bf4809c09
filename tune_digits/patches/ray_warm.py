"""Imported by Ray's workers as they start: they import what a training needs while the driver still reads the data.

PyTorch and Ray Tune take 5 s of a core in each worker. So that the first trial does not wait for the imports of all, no
more workers import at once than the driver leaves cores for; and only as many import at all as will train, since each
then holds some 300 MB. Only time depends on it: a worker that has imported nothing imports when it gets work.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tune_digits.machine import available_cores
from tune_digits.patches import enabled

WARM = "TUNE_DIGITS_WARM"  # environment variable: how many workers import beforehand
MOST_WARM = 4  # a worker that has imported PyTorch holds some 300 MB
# by name, since they stand in rooms above: Ray Tune's side of a trial, and ours
MODULES = (
    "ray.tune.trainable.function_trainable",
    "torch",
    "tune_digits.learn.fit",
    "tune_digits.tune.training",
)


@contextlib.contextmanager
def turn(folder: Path, place: int, cores: int) -> Iterator[None]:
    """Wait until fewer than `cores` - 1 of the workers (one at least) with smaller numbers are at it."""
    with open(folder / f"turn-{place % max(1, cores - 1)}", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back by the system, however this process ends
        yield


def place_in(folder: Path, places: int) -> int | None:
    """This process' number, 0 to `places` - 1, which no other gets; None where all are taken."""
    for place in range(places):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(folder / f"place-{place}", os.O_CREAT | os.O_EXCL))
            return place
    return None


def warm() -> None:
    """Take a place and import, unless the places are taken."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is None:
        return
    folder = Path(node.get_session_dir_path()) / "warm"
    folder.mkdir(exist_ok=True)
    place = place_in(folder, int(os.environ.get(WARM, "0")))
    if place is not None:
        with turn(folder, place, available_cores()), quick_imports():
            for name in MODULES:
                importlib.import_module(name)


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import much at once without the garbage collector, which would search all of it again and again for nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


if WARM in os.environ and enabled():
    with contextlib.suppress(Exception):
        # an error here would end the worker, and only time depends on this
        warm()
