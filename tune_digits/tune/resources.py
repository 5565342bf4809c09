"""Cores and parts of GPUs for one training, and Ray started without its noise."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tune_digits.config import Resources
from tune_digits.errors import ConfigError
from tune_digits.machine import available_cores

# read by Ray when it is imported
QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a CPU trial must not unset the GPUs of its driver
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` every worker would run uv again
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our own records take their place
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, and does not move on to its next phase
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # the run folder is the state; Ray's own snapshots are not read
    "TUNE_RESULT_BUFFER_LENGTH": "0",
}

RAYLET = {
    "preload_python_modules": ["tune_digits.tune.warm"],
    # Ray starts one worker too many now and then, and ends one that waits in its place: after 1 s, unless told
    "idle_worker_killing_time_threshold_ms": 600_000,
}
WARM = "TUNE_DIGITS_WARM"  # environment variable: how many workers import beforehand (see warm.py)
MOST_WARM = 4  # a worker that has imported PyTorch holds some 300 MB


@dataclass(frozen=True, slots=True)
class Slots:
    """What one training gets and how many run at once. gpus is 0, a whole number, or 1/n."""

    cpus: float
    gpus: float
    at_once: int

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus))

    def describe(self) -> str:
        gpu = f" and {self.gpus:.3g} GPU" if self.gpus else ""
        return f"{self.at_once} at once, {self.cpus:g} CPU{gpu} each"


def snap_gpus(share: float) -> float:
    """The nearest share that fills a GPU: whole numbers stay, 0.3 becomes 1/3."""
    if share <= 0:
        return 0.0
    return float(round(share)) if share >= 1 else 1 / round(1 / share)


def plan_slots(resources: Resources, cpus: float, gpus: float) -> Slots:
    """How trainings share `cpus` cores and `gpus` GPUs. Raises ConfigError for what does not fit."""
    wanted = resources.gpus_per_trial
    share = snap_gpus((0.25 if gpus else 0.0) if wanted is None else wanted)
    if share > gpus:
        raise ConfigError(
            f"resources.gpus_per_trial is {wanted:g}, but {gpus:g} GPUs are here; --gpus-per-trial 0 trains on CPUs"
        )
    if resources.cpus_per_trial > cpus:
        raise ConfigError(
            f"resources.cpus_per_trial is {resources.cpus_per_trial:g}, but {cpus:g} cores are here"
        )
    fit = math.floor(cpus / resources.cpus_per_trial + 1e-9)
    if share:
        per_gpu = round(1 / share) if share < 1 else 1 / share
        fit = min(fit, math.floor(gpus * per_gpu + 1e-9))
    at_once = min(fit, resources.max_concurrent or fit)
    return Slots(resources.cpus_per_trial, share, max(1, at_once))


def start_ray(
    address: str | None = None, meanwhile: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Start Ray here, or join the cluster at `address`, quietly. Returns its (CPUs, GPUs).

    meanwhile: called when Ray is imported and before it starts, to set other work going beside it.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    warnings.filterwarnings("ignore", module=r"ray\..*")
    warnings.filterwarnings("ignore", message=r".*(experimental|constant_liar|multivariate).*")
    import ray

    meanwhile()
    address = address or os.environ.get("RAY_ADDRESS")
    if not ray.is_initialized():
        options: dict[str, Any] = {
            "logging_level": logging.ERROR,
            "log_to_driver": False,
            "configure_logging": True,
        }
        if address:
            with _sigterm_kept():
                ray.init(address=address, **options)
        else:
            with _sigterm_kept(), _without_servers():
                os.environ[WARM] = str(min(available_cores(), MOST_WARM))
                ray.init(
                    num_cpus=available_cores(),
                    include_dashboard=False,
                    _system_config=RAYLET,
                    **options,
                )
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
    total = ray.cluster_resources()
    return total.get("CPU", 0.0), total.get("GPU", 0.0)


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep the caller's handler of SIGTERM: Ray sets its own, and its native one prints a stack over the screen."""
    from ray._private import utils

    handler, setter = signal.getsignal(signal.SIGTERM), utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = setter
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _without_servers() -> Iterator[None]:
    """Start a local Ray without three of its processes, which take a core for two seconds and are of no use here.

    The autoscaler's monitor (one machine has nothing to scale), the log monitor (what it forwards is switched off),
    and the server of the dashboard (include_dashboard=False starts it all the same).
    """
    from ray._private.node import Node

    def no_api_server(node: Any, **_: Any) -> None:
        node._webui_url = ""

    without = {
        "start_monitor": lambda node: None,
        "start_log_monitor": lambda node: None,
        "start_api_server": no_api_server,
    }
    kept = {name: getattr(Node, name) for name in without if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, without[name])
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def share_waiting_workers() -> None:
    """Let Tune's actors take the workers that Ray has started while the driver was reading.

    Tune gives its actors an environment of their own, a variable for PyTorch Lightning and credentials of clouds, which
    no waiting worker has; nothing here reads either.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()
    class_cache.ENV_VARS_TO_PROPAGATE.clear()


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import much at once without the garbage collector, which would walk all of it again and again and find nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def oversubscription(slots: Slots, load: float, cores: int) -> str | None:
    """What to say where the trainings will wait for cores, or None where they will not.

    load: work of others, in cores; cores: those there are.
    """
    wanted = slots.at_once * slots.threads
    if wanted > cores:
        return (
            f"{slots.at_once} trainings of {slots.threads} threads share {cores} cores; each is faster with "
            f"--max-concurrent {max(1, cores // slots.threads)}"
        )
    # half a core is what a desktop takes
    if wanted + load > cores + 0.5 and load > 0.5:
        return f"other work shares the {cores} cores (load {load:.1f}), so all of this takes longer"
    return None


def use_slots(slots: Slots):  # -> torch.device; torch is imported by workers, not by the command line
    """In a worker: as many threads as the training has cores, its device, and no more than its part of the GPU."""
    import torch

    from tune_digits.learn.allocator import keep_freed_memory

    torch.set_num_threads(slots.threads)
    if not slots.gpus:
        # lean_cnn trains 1.05 to 1.08 times as fast (one core, 28x28, batches of 128)
        keep_freed_memory()
        return torch.device("cpu")
    if slots.gpus < 1:
        # a fraction is only bookkeeping to Ray: without this one trial can take all of the memory
        torch.cuda.set_per_process_memory_fraction(slots.gpus)
    return torch.device("cuda")
