"""What trials are called where somebody names the members of an ensemble, and what members are called in files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tune_digits.ensemble.retrain import MemberJob
from tune_digits.errors import RunError
from tune_digits.runs import TrialRecord
from tune_digits.validate import did_you_mean


def names_of(record: TrialRecord) -> list[str]:
    """The names of a trial: its number; its searched texts, `torchvision:resnet18` also as `resnet18`; KEY=VALUE."""
    texts = [value for value in record.searched.values() if isinstance(value, str)]
    short = [text.rpartition(":")[2] for text in texts]
    pairs = [f"{key}={value}" for key, value in record.searched.items()]
    return list(dict.fromkeys([str(record.number), *short, *texts, *pairs]))


def trials_named(names: Sequence[str], records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trial that each name means, in their order.

    Raises RunError for a name that no trial has or several have, for a trial that is named twice, and for one that
    has no score.
    """
    found: list[TrialRecord] = []
    for name in names:
        # a number is always that of a trial
        of_number = [r for r in records if str(r.number) == name]
        meant = of_number or [r for r in records if name in names_of(r)]
        if not meant:
            known = [other for r in records for other in names_of(r)]
            there = "; ".join(", ".join(names_of(r)) for r in records)
            raise RunError(
                f"--members {name}: no trial is called that{did_you_mean(name, known)} Trials: {there}"
            )
        if len(meant) > 1:
            numbers = ", ".join(str(r.number) for r in meant)
            raise RunError(f"--members {name}: means the trials {numbers}; name one of them by its number")
        if meant[0] in found:
            raise RunError(
                f"--members {name}: trial {meant[0].number} is named twice; more trainings of it: --seeds"
            )
        if meant[0].score is None:
            raise RunError(f"--members {name}: trial {meant[0].number} has no score (it is {meant[0].state})")
        found.append(meant[0])
    return found


def member_names(jobs: Sequence[MemberJob], records: Sequence[TrialRecord]) -> list[str]:
    """A name for each member, in the order of the jobs' files, that can be part of a file's name.

    It is the trial's first name that no other trial of the ensemble has, beside its number; or `trial` and its number.
    Seed and epoch follow where a trial has several members.
    """
    trials = list(dict.fromkeys(job.trial for job in jobs))
    by_number = {r.number: r for r in records}
    texts = {t: [n for n in names_of(by_number[t])[1:] if "=" not in n] for t in trials}
    names = []
    seeds = {job.seed for job in jobs}
    for job in jobs:
        others = {name for t in trials if t != job.trial for name in texts[t]}
        own = next((name for name in texts[job.trial] if name not in others), f"trial{job.trial}")
        own = re.sub(r"[^\w.-]+", "-", own) + (f"-seed{job.seed}" if len(seeds) > 1 else "")
        names += [f"{own}-epoch{epoch}" for epoch in job.snapshots] + ([own] if job.file in job.files else [])
    return names
