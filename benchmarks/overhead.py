"""How much time a search takes besides the training itself.

help          `search.py --help`, the whole process
first_epoch   from the command to the record of the first epoch, bundled digits, two trials side by side
per_trial     time per trial (wall clock) of 24 trials that train next to nothing, two at once, workers reused
checkpoint    saving a training state of 1 MB and recording an epoch
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from common import child_environment, noise_task, read_arguments, search_on, write

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "search.py"
TRIALS = 24


def help_seconds() -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], env=child_environment(), check=True, capture_output=True
    )
    return time.perf_counter() - started


def first_epoch_seconds() -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, str(SCRIPT), "--trials", "2", "--epochs", "2"]
        command += ["--set", "search.grace_period=1"]
        search = subprocess.Popen(
            command,
            cwd=folder,
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not list(Path(folder).glob("runs/*/trials/*/epochs.jsonl")):
            if search.poll() is not None:
                raise SystemExit("the search ended before its first epoch")
            time.sleep(0.02)
        took = time.perf_counter() - started
        os.killpg(search.pid, signal.SIGINT)
        search.wait()
    return took


def small_search(trials: int, folder: Path) -> list[float]:
    """When each trial of a search with hardly any training ended, in seconds after the end of the first."""
    from tune_digits.data.folds.split import Fold
    from tune_digits.study import make_study

    raw = {
        "trial": {
            "model": {"name": "lean_cnn", "width": 4, "depth": 1},
            "optimizer": {"name": "adamw", "lr": {"loguniform": [1e-3, 1e-2]}},
            "train": {"epochs": 1, "batch_size": 64},
        },
        "search": {"trials": trials, "grace_period": 1},
    }
    study = make_study(raw, "overhead", "overhead", {})
    run, _ = search_on(study, noise_task(80, 8), Fold(0, np.arange(64), np.arange(64, 80)), folder)
    ends = sorted(path.stat().st_mtime for path in run.path.glob("trials/*/trial.json"))
    return [end - ends[0] for end in ends]


def per_trial_seconds() -> float:
    """Measured in a process of its own, so that Ray starts anew."""
    with tempfile.TemporaryDirectory() as folder:
        code = f"import overhead, json, pathlib; print(json.dumps(overhead.small_search({TRIALS}, pathlib.Path('.'))))"
        output = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=child_environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        ends = json.loads(output.splitlines()[-1])
    return (ends[-1] - ends[1]) / (len(ends) - 2)


def checkpoint_seconds() -> float:
    import torch

    from tune_digits import disk, runs
    from tune_digits.learn.epoch import EpochReport

    state = {f"layer{i}": torch.rand(64, 128) for i in range(32)}  # 1 MB
    with tempfile.TemporaryDirectory() as folder:
        run, times = runs.Run(Path(folder)), []
        for epoch in range(20):
            report = asdict(EpochReport(epoch + 1, 0.1, 0.1, 0.9, 1e-3, 1.0, 0.1, 1e3))
            started = time.perf_counter()
            disk.write_tensors(run.trial_state(0), state, {"step": epoch})
            run.append_epoch(0, report)
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    args = read_arguments(parser)
    seen = {
        "help": [help_seconds() for _ in range(5)],
        "first_epoch": [first_epoch_seconds() for _ in range(3)],
        "per_trial": [per_trial_seconds() for _ in range(3)],
        "checkpoint": [checkpoint_seconds() for _ in range(3)],
    }
    results = {name: {"median": statistics.median(s), "seconds": s} for name, s in seen.items()}
    write("overhead", {"results": results}, args)


if __name__ == "__main__":
    main()
