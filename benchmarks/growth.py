"""Does a search slow down as it grows, and does its memory grow with the number of trials?

time     2,000 trials that train next to nothing: time per trial (wall clock) of the last 200 against the first 200
memory   proportional set size (Linux: memory that processes share is counted once) of all processes of a search: over
         200,000 images with 24 and with 200 trials; and over 3,000 images, to see what a search needs besides its data
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import child_environment, read_arguments, write


def time_per_trial(trials: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        code = f"import overhead, json, pathlib; print(json.dumps(overhead.small_search({trials}, pathlib.Path('.'))))"
        output = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=child_environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    ends = json.loads(output.splitlines()[-1])
    part = trials // 10
    first, last = (ends[part] - ends[0]) / part, (ends[-1] - ends[-1 - part]) / part
    return {"trials": trials, "first": first, "last": last, "last / first": last / first}


def proportional_set(pid: int) -> int:
    """Proportional set size, in bytes, of a process and all that it started: memory that they share is counted once."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # the name may hold spaces and brackets: the parent comes second after its end
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(
                int(stat.parent.name)
            )
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += 1024 * int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])
    return total


def peak_memory(trials: int, count: int) -> int:
    """Largest sum, in bytes, of the proportional set sizes of a search and of Ray's processes below it."""
    with tempfile.TemporaryDirectory() as folder:
        code = f"import growth; growth.big_search({trials}, {count})"
        search = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder,
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = 0
        while search.poll() is None:
            peak = max(peak, proportional_set(search.pid))
            time.sleep(0.5)
        if search.returncode:
            raise SystemExit(f"the search of {trials} trials failed")
    return peak


def big_search(trials: int, count: int) -> None:
    import numpy as np
    from common import noise_task, search_on

    from tune_digits.data.folds.split import Fold
    from tune_digits.study import make_study

    raw = {
        "trial": {
            "model": {"name": "lean_cnn", "width": 4, "depth": 1},
            "optimizer": {"name": "adamw", "lr": {"loguniform": [1e-3, 1e-2]}},
            "train": {"epochs": 1},
        },
        "search": {"trials": trials, "grace_period": 1},
    }
    study = make_study(raw, "growth", "growth", {})
    # trained on a few images; all of them are in memory
    fold = Fold(0, np.arange(2000), np.arange(2000, 3000))
    search_on(study, noise_task(count), fold, Path("runs"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--images", type=int, default=200_000)
    args = read_arguments(parser)
    memory = {
        f"{trials} trials, {count} images": peak_memory(trials, count)
        for trials, count in ((24, 3000), (24, args.images), (200, args.images))
    }
    results = {
        "memory": {
            "bytes of one copy of the images": args.images * 784,
            **memory,
        },
        "time": time_per_trial(args.trials),
    }
    write("growth", {"results": results}, args)


if __name__ == "__main__":
    main()
