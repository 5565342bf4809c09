"""Independent trainings side by side: a Ray task each, over data that is stored once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tune_digits.tune.resources import Slots


def run_jobs(
    function: Callable[[Any, Any], Any], jobs: Sequence[Any], shared: Any, slots: Slots
) -> Iterator[tuple[Any, Any]]:
    """`function(job, shared)` for every job, `slots.at_once` at a time; yields (job, result) as each is ready.

    A worker that dies is replaced and its job run again (three times). A job that raises yields its exception as
    the result: what to make of it is the caller's.
    """
    import ray

    # workers are kept between tasks, so that torch is imported once in each
    task = ray.remote(num_cpus=slots.cpus, num_gpus=slots.gpus, max_calls=0, max_retries=3)(function)
    stored = ray.put(shared)
    waiting = list(reversed(jobs))
    running: dict[Any, Any] = {}
    while waiting or running:
        while waiting and len(running) < slots.at_once:
            job = waiting.pop()
            running[task.remote(job, stored)] = job
        (ready,), _ = ray.wait(list(running), num_returns=1)
        job = running.pop(ready)
        try:
            yield job, ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            yield job, error.as_instanceof_cause()
        except ray.exceptions.RayError as error:
            yield job, error
