"""Does a search slow down as it grows, and does its memory grow with the number of trials?

time     2,000 trials that train next to nothing: wall time per trial of the last 200 against the first 200
memory   proportional set size of all processes of a search over 200,000 images, in the last of 2 and of 12 trials
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import write

HERE = Path(__file__).parent


def time_per_trial(trials: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        code = f"import overhead, json, pathlib; print(json.dumps(overhead.small_search({trials}, pathlib.Path('.'))))"
        output = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    ends = json.loads(output.splitlines()[-1])
    part = trials // 10
    first, last = (ends[part] - ends[0]) / part, (ends[-1] - ends[-1 - part]) / part
    return {"trials": trials, "first": first, "last": last, "last / first": last / first}


def peak_memory(trials: int, count: int) -> int:
    """Largest sum, in bytes, of the proportional set sizes of this process' search and of Ray's processes."""
    import psutil

    with tempfile.TemporaryDirectory() as folder:
        code = f"import growth; growth.big_search({trials}, {count})"
        search = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = 0
        while search.poll() is None:
            total = 0
            for process in [psutil.Process(search.pid), *psutil.Process(search.pid).children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, total)
            time.sleep(0.5)
        if search.returncode:
            raise SystemExit(f"the search of {trials} trials failed")
    return peak


def big_search(trials: int, count: int) -> None:
    import numpy as np
    from common import random_images

    from tune_digits import runs
    from tune_digits.data.dataset import Dataset, Target, Task
    from tune_digits.data.folds import Fold
    from tune_digits.screen import Screen
    from tune_digits.study import make_study
    from tune_digits.tune.resources import plan_slots, start_ray
    from tune_digits.tune.search import run_search

    raw = {
        "trial": {
            "model": {"name": "lean_cnn", "width": 4, "depth": 1},
            "optimizer": {"name": "adamw", "lr": {"loguniform": [1e-3, 1e-2]}},
            "train": {"epochs": 1},
        },
        "search": {"trials": trials, "grace_period": 1},
    }
    study = make_study(raw, "growth", "growth", {})
    images, labels = random_images(count)
    task = Task(
        "noise", Dataset(images, labels[:, None], np.arange(count), (Target("digit", tuple("0123456789")),))
    )
    slots = plan_slots(study.resources, *start_ray())
    run = runs.create_run(Path("runs"), "growth", study.to_yaml(), {}, None)
    # trained on a few, all of them in memory
    fold = Fold(0, np.arange(2000), np.arange(2000, 3000))
    run_search(study, run, task, fold, slots, Screen())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--images", type=int, default=200_000)
    args = parser.parse_args()
    memory = {n: peak_memory(n, args.images) for n in (2, 12)}
    results = {
        "memory": {
            "images": args.images,
            "bytes of one copy": args.images * 784,
            **{f"{n} trials": m for n, m in memory.items()},
        },
        "time": time_per_trial(args.trials),
    }
    write("growth", results)


if __name__ == "__main__":
    main()
