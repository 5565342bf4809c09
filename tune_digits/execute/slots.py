"""How many trainings run at once, and what each of them gets: cores and a fraction of a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune_digits.config import Resources
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    import torch


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


def use_slots(slots: Slots) -> torch.device:
    """In the process that trains: its device, as many threads as it has cores, no more than its fraction of the GPU."""
    import torch

    from tune_digits.patches.allocator import keep_freed_memory

    torch.set_num_threads(slots.threads)
    if not slots.gpus:
        # lean_cnn trains 1.05 to 1.08 times as fast (one core, 28x28, batches of 128)
        keep_freed_memory()
        return torch.device("cpu")
    if slots.gpus < 1:
        # a fraction is only bookkeeping to Ray: without this one trial can take all of the memory
        torch.cuda.set_per_process_memory_fraction(slots.gpus)
    return torch.device("cuda")
