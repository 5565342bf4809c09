"""ASHA (Li et al. 2020, arXiv 1810.05934), with its rungs filled from what an interrupted run has on record."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from tune_digits.config import Search
from tune_digits.execute.executor import Scheduler


def make_scheduler(
    search: Search, epochs: int, recorded: Iterable[tuple[int, list[dict[str, Any]]]] = ()
) -> Scheduler:
    """ASHA over `epochs`. recorded: (trial number, its epochs) of trials that are over."""
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler: Scheduler = AsyncHyperBandScheduler(
        time_attr="epoch",
        metric="score",
        mode="max",
        max_t=epochs,
        grace_period=search.grace_period,
        reduction_factor=search.reduction_factor,
    )
    for number, reports in recorded:
        # after a crash Ray starts with empty rungs, and weak trials would pass them unchallenged
        past: Any = SimpleNamespace(trial_id=f"recorded-{number}")
        scheduler.on_trial_add(None, past)
        for report in reports:
            scheduler.on_trial_result(None, past, report)
    return scheduler
