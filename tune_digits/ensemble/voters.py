"""Who votes in a run's ensemble, with how many trainings, and how; what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tune_digits.config import Ensemble, TrialConfig
from tune_digits.data.dataset import Task, head_slices
from tune_digits.ensemble.decide import (
    Chosen,
    add_offsets,
    choose_balance,
    choose_rule,
    families_of,
    in_figures,
    in_words,
    left_out,
    matched,
    priors_of,
    trainings_of,
)
from tune_digits.ensemble.members import Manifest
from tune_digits.ensemble.out_of_fold import OutOfFold, gather
from tune_digits.ensemble.vote import Ballot, cast
from tune_digits.errors import RunError
from tune_digits.learn.metrics import Metric
from tune_digits.runs import Run
from tune_digits.screen import Screen
from tune_digits.study import Study


@dataclass(frozen=True, slots=True)
class Voters:
    """Who votes, and how. configs: (trial, configuration) (C,); seeds: trainings of each; families, ballot: of the
    configurations. match: what the vote learns from test images, for `judge`. report: of all this, for report.json."""

    configs: list[tuple[int, TrialConfig]]
    seeds: list[int]
    families: tuple[int, ...]
    ballot: Ballot
    match: Callable[[Manifest, np.ndarray], Manifest]
    report: dict[str, Any]


def choose_voters(
    study: Study,
    run: Run,
    task: Task,
    plan: Ensemble,
    configs: list[tuple[int, TrialConfig]],
    metric: Metric,
    screen: Screen,
) -> Voters:
    """What the confirming trainings say of who may vote and how.

    configs: (trial's number, configuration), first who is to be sent in. Raises UserError for a plan that cannot be
    followed.
    """
    seen = _out_of_fold(study, run, task, [number for number, _ in configs], metric)
    gone: list[dict[str, Any]] = []
    kept = list(range(len(configs)))
    if plan.members is None and not plan.force_members and seen is not None:
        for place, found in left_out(seen).items():
            kept.remove(place)
            gone.append({"trial": configs[place][0], **in_figures(found)})
            screen.say(
                f"trial {configs[place][0]} does not vote: out of fold the vote without it: {in_words(found)}; "
                "--force-members lets it"
            )
        seen = seen.only(kept)
    seeds = trainings_of(len(kept), len(configs), plan.seeds)
    configs = [configs[place] for place in kept]
    if gone:
        shared = ", ".join(f"trial {n}: {count}" for (n, _), count in zip(configs, seeds, strict=True))
        screen.say(f"the places of those go to further seeds of the others: {shared}")
    families = families_of(configs)
    chosen = choose_rule(plan, seen, len(configs), families)
    screen.say(f"vote: {chosen.ballot.rule} ({chosen.why})")
    weights = {
        str(number): [own[place] for own in chosen.ballot.weights]
        for place, (number, _) in enumerate(configs)
    }
    report: dict[str, Any] = {
        "rule": chosen.ballot.rule,
        "why": chosen.why,
        "out_of_fold": chosen.figures,
        "weights": weights if chosen.ballot.weights else None,
        "left_out": gone,
    }
    if plan.class_offsets:
        chosen, report["class_offsets"] = add_offsets(chosen, seen, families)
        used = "used" if report["class_offsets"]["used"] else "not used"
        screen.say(f"class offsets: {used}; {report['class_offsets']['why']}")
    match, report["class_balance"] = _balance(task, plan, seen, chosen, screen)
    return Voters(configs, seeds, families, chosen.ballot, match, report)


def _out_of_fold(study: Study, run: Run, task: Task, trials: list[int], metric: Metric) -> OutOfFold | None:
    groups = None if study.cv.groups is None else task.train.groups
    heads = head_slices(task.targets)
    return gather(run.folds(), trials, task.train.labels, heads, metric, groups)


def _balance(
    task: Task, plan: Ensemble, seen: OutOfFold | None, chosen: Chosen, screen: Screen
) -> tuple[Callable[[Manifest, np.ndarray], Manifest], dict[str, Any] | None]:
    """How the vote is matched to a declared class balance, and figures for the report; None without one."""
    if plan.class_balance is None:
        return lambda manifest, test_proba: manifest, None
    if task.test is None:
        raise RunError("ensemble.class_balance says how test images are distributed, and there are none")
    priors = priors_of(plan.class_balance, task.targets)
    counts = np.bincount(task.train.labels[:, 0], minlength=len(priors))
    used, figures = choose_balance(seen, chosen.votes, priors, counts / counts.sum(), plan.force_balance)
    screen.say(
        f"class balance: {'not used' if used is None else used}; {figures['why']}"
        + ("; --force-balance uses it" if used is None else "")
    )

    def match(manifest: Manifest, test_proba: np.ndarray) -> Manifest:
        if used is None:
            return manifest
        ballot = matched(manifest.ballot, manifest.heads, test_proba, used, priors, counts / counts.sum())
        before, after = (cast(test_proba, manifest.heads, own).argmax(1) for own in (manifest.ballot, ballot))
        figures["changed"] = int((before != after).sum())
        for name, labels in (("before", before), ("after", after)):
            figures[name] = np.bincount(labels, minlength=len(priors)).tolist()
        screen.say(f"class balance: {figures['changed']:,} of {len(before):,} test answers changed")
        return replace(manifest, ballot=ballot)

    return match, figures
