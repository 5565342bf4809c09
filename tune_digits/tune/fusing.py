"""Which trainings of a phase are fused: those of one configuration, where it was measured to be faster here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from tune_digits.config import Resources, TrialConfig
from tune_digits.config.network import SHAPE_NEUTRAL
from tune_digits.execute.executor import Executor, Stored
from tune_digits.execute.slots import Slots, use_slots
from tune_digits.machine import cpu_model
from tune_digits.runs import Run
from tune_digits.screen import Screen
from tune_digits.tune.training import TrainingData, teacher_of

Job = TypeVar("Job")


def shape_of(config: TrialConfig) -> dict[str, Any]:
    """What decides how fast a configuration trains, two that are alike in it gain alike by fusing."""
    return {
        "model": config.model.model_dump(mode="json", exclude=set(SHAPE_NEUTRAL)),
        "batch_size": config.train.batch_size,
        "precision": config.train.precision,
    }


def measure(
    job: tuple[TrialConfig, int], shared: tuple[Stored[TrainingData], np.ndarray, Slots]
) -> dict[str, Any]:
    """How many trainings of (configuration, most) to fuse on this worker's device, and what was seen."""
    from tune_digits.learn.device import to_device
    from tune_digits.learn.fused import why_apart
    from tune_digits.learn.fusing_gain import best_number

    (config, most), (stored, rows, slots) = job, shared
    data = stored.get()
    device = use_slots(slots)
    if reason := why_apart(config):
        return {"networks": 1, "reason": reason}
    teacher = teacher_of(config, data, rows, None, device)  # any one: it is the time that is measured
    on_device = to_device(data.images, data.proba, data.targets, device, teacher)
    networks, gains = best_number(config, data.images, on_device, rows, most)
    return {"networks": networks, "gains": {str(n): round(g, 3) for n, g in gains.items()}}


def plan_fusing(
    run: Run,
    jobs: Sequence[Job],
    config_of: Callable[[Job], TrialConfig],
    shared: tuple[Stored[TrainingData], np.ndarray],
    resources: Resources,
    executor: Executor,
    screen: Screen,
) -> list[tuple[Job, ...]]:
    """The jobs in groups, each to be trained as one network; groups of one where fusing does not pay.

    It is never done on CPUs, where it was slower wherever it was measured (0.5 to 0.8 times as fast, docs/log.md). On a
    GPU it is measured once in a run, with the first job that has another of its configuration beside it; what was seen
    is kept in the run's folder. Only configurations of the same shape are then fused. shared: the data, and rows to
    try on.
    """
    apart: list[tuple[Job, ...]] = [(job,) for job in jobs]
    slots = executor.slots
    if resources.fuse == "never" or not slots.gpus:
        return apart
    groups = _alike(jobs, config_of)
    # as many groups as trainings run at once, or some would wait
    most = min(max(map(len, groups), default=1), -(-len(jobs) // slots.at_once))
    if most < 2:
        return apart
    first = config_of(next(group for group in groups if len(group) > 1)[0])
    place = {"cpu": cpu_model(), "gpus": slots.gpus, "shape": shape_of(first)}
    known = run.fusing()
    if known is None or known["place"] != place:
        ((_, seen),) = executor.run_jobs(measure, [(first, most)], (*shared, slots))
        if isinstance(seen, Exception):
            screen.warn(f"whether fusing trainings pays could not be measured: {seen}")
            seen = {"networks": 1, "reason": str(seen)}
        known = {"place": place, **seen}
        run.write_fusing(known)
        screen.say(in_words(known))
    networks = min(known["networks"], most)
    if networks < 2:
        return apart
    return [
        part
        for group in groups
        for part in (
            _parts(group, networks)
            if shape_of(config_of(group[0])) == place["shape"]
            else [(job,) for job in group]
        )
    ]


def in_words(known: dict[str, Any]) -> str:
    """What was measured, for the screen."""
    if "reason" in known:
        return f"trainings of one configuration are not fused: {known['reason']}"
    networks, gain = max(known["gains"].items(), key=lambda item: item[1])
    fused = "" if known["networks"] > 1 else "not "
    return (
        f"trainings of one configuration are {fused}fused: {networks} as one network ran {gain:.2f} times as fast here "
        "as one after the other"
    )


def _alike(jobs: Sequence[Job], config_of: Callable[[Job], TrialConfig]) -> list[list[Job]]:
    """The jobs by configuration, in the order of their first."""
    groups: list[tuple[TrialConfig, list[Job]]] = []
    for job in jobs:
        config = config_of(job)
        own = next((group for known, group in groups if known == config), None)
        if own is None:
            groups.append((config, [job]))
        else:
            own.append(job)
    return [group for _, group in groups]


def _parts(group: Sequence[Job], networks: int) -> Iterator[tuple[Job, ...]]:
    """The group in as few parts of at most `networks` as there need be, of nearly one size."""
    for part in np.array_split(np.arange(len(group)), -(-len(group) // networks)):
        yield tuple(group[i] for i in part)
