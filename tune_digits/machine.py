"""The machine this runs on: its cores, how busy they are, and what is installed."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *(
        "tune_digits",
        "ray",
        "torch",
        "torchvision",
        "optuna",
        "albumentations",
        "numpy",
        "pandas",
        "scikit-learn",
    ),
    *("tensorboard", "pydantic"),
)


def available_cores() -> int:
    """The cores this process may use: what the scheduler allows, not what the machine has."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def busy_cores(seconds: float) -> float:
    """Cores that are at work over the next `seconds`, by whichever process."""
    import psutil

    return psutil.cpu_percent(interval=seconds) / 100 * (psutil.cpu_count() or 1)


def work_of_others() -> float:
    """Cores in use on this machine, asked before the caller starts any work of its own.

    The smaller of the load of the last minute and the use over the next tenth of a second: the minute may still hold
    the caller's previous command, and the tenth may hold one key press.
    """
    import psutil

    load = psutil.getloadavg()[0]
    return min(load, busy_cores(0.1)) if load > 0.5 else load


def environment() -> dict[str, Any]:
    """Package versions, Python, machine, and the git state of this package's folder."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "python": platform.python_version(),
        "machine": {"system": platform.platform(), "cpu": cpu_model(), "cores": os.cpu_count()},
        "versions": versions,
        "git": _git_state(),
    }


def _git_state() -> str | None:
    """`git describe` of this package's folder, with -dirty where files differ from the commit; None outside git."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
