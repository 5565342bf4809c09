"""Which trick helps: the best configuration with each of its tricks switched off by itself, on equal folds and seeds.

The seeds are new ones: the confirmed score of the best is flattered by having been chosen, and with it every trick
would look as if it helped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tune_digits.config import Resources, TrialConfig
from tune_digits.data.fingerprint import hash_of
from tune_digits.disk import replacing
from tune_digits.errors import StorageError
from tune_digits.execute.executor import Executor
from tune_digits.learn.version import TRAINING_VERSION
from tune_digits.runs import FoldResult, Run
from tune_digits.screen import Progress, Screen
from tune_digits.stats.compare import LEVEL, POWERFUL, Comparison, compare, paired_t
from tune_digits.stats.noise import training_noise
from tune_digits.stats.ranks import holm
from tune_digits.tune.fold_jobs import ConfirmData, FoldJob, confirm_folds
from tune_digits.tune.fusing import plan_fusing
from tune_digits.tune.given_files import by_content
from tune_digits.tune.leaderboard import Judges, mean_and_error
from tune_digits.tune.tricks import Trick

WHOLE = 0  # the place of the configuration with all of its tricks; those without one follow in order
# A trick that is told at this level before the last round is told for good, and trained no more (Haybittle 1971, Peto
# et al. 1976): so strict that the rounds together err hardly more often than the last one alone
EARLY = 0.001


@dataclass(frozen=True, slots=True)
class Plan:
    """What an ablation trains. tricks: those that can go alone; cells: (fold, seed), in the order in which they are
    trained, each by the whole configuration and by each trick's that is not yet told. noise: further (fold, seed) of
    the whole configuration alone, for what one training varies by. budget: trainings at most; None = no limit."""

    trial: int
    config: TrialConfig
    tricks: tuple[Trick, ...]
    cells: tuple[tuple[int, int], ...]
    noise: tuple[tuple[int, int], ...]
    budget: int | None = None

    @property
    def configs(self) -> list[TrialConfig]:
        return [self.config, *(trick.config for trick in self.tricks if trick.config is not None)]

    @property
    def trainings(self) -> int:
        """How many there are at most."""
        whole = len(self.configs) * len(self.cells) + len(self.noise)
        return whole if self.budget is None else min(whole, self.budget)


def make_plan(
    trial: int,
    config: TrialConfig,
    tricks: Sequence[Trick],
    folds: Sequence[int],
    first_seed: int,
    seeds: int,
    noise_seeds: int,
    budget: int | None = None,
) -> Plan:
    """seeds: `seeds` ones from `first_seed` on, each on every fold. noise_seeds: of the first fold, those of the cells
    included."""
    cells = tuple((fold, seed) for seed in range(first_seed, first_seed + seeds) for fold in folds)
    noise = tuple((folds[0], seed) for seed in range(first_seed + seeds, first_seed + noise_seeds))
    alone = tuple(trick for trick in tricks if trick.config is not None)
    return Plan(trial, config, alone, cells, noise, budget)


def run_ablation(
    plan: Plan,
    run: Run,
    shared: ConfirmData,
    judges: Judges,
    resources: Resources,
    executor: Executor,
    screen: Screen,
) -> pd.DataFrame:
    """Train what is not on record yet, round by round; write and return the table (`ablation_table`).

    A round is one fold and seed for all configurations whose trick is not told at level EARLY. The first also has the
    plan's `noise`. It ends before a round that the budget does not allow. A training that fails is warned of, and its
    trick told without it.
    """
    keys = [_key(config) for config in plan.configs]
    names = ["all tricks", *(f"without {trick.key}" for trick in plan.tricks)]
    found: list[FoldResult] = []
    progress = Progress("ablate", total=plan.trainings)
    active = list(range(len(keys)))
    with screen.watch(progress):
        for number, (fold, seed) in enumerate(plan.cells):
            jobs = [FoldJob(place, plan.configs[place], fold, seed) for place in active]
            if number == 0:
                jobs += [FoldJob(WHOLE, plan.config, *cell) for cell in plan.noise]
            if plan.budget is not None and len(found) + len(jobs) > plan.budget:
                screen.say(
                    f"the budget of {plan.budget} trainings ends after {number} of {len(plan.cells)} rounds"
                )
                break
            for result in _train(jobs, keys, names, run, shared, resources, executor, screen, progress):
                found.append(result)
            if number + 1 < len(plan.cells):
                told = {place for place, p in _p_values(found, judges).items() if p < EARLY}
                progress.total -= len(told & set(active)) * (len(plan.cells) - number - 1)
                active = [place for place in active if place not in told]
                if active == [WHOLE]:
                    break
    table = ablation_table(plan, found, judges)
    with replacing(run.ablation / "ablation.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


def on_record(plan: Plan, run: Run) -> int:
    """How many of the plan's trainings have been done."""
    keys = [_key(config) for config in plan.configs]
    cells = [(key, *cell) for key in keys for cell in plan.cells] + [
        (keys[WHOLE], *cell) for cell in plan.noise
    ]
    return sum(run.ablation_file(*cell).exists() for cell in cells)


def _train(
    jobs: Sequence[FoldJob],
    keys: Sequence[str],
    names: Sequence[str],
    run: Run,
    shared: ConfirmData,
    resources: Resources,
    executor: Executor,
    screen: Screen,
    progress: Progress,
) -> Iterator[FoldResult]:
    missing = []
    for job in jobs:
        known = run.ablated(keys[job.trial], job.fold, job.seed)
        if known is None:
            missing.append(job)
        else:
            progress.done += 1
            yield replace(known, trial=job.trial)
    if not missing:
        return
    rows = next(iter(shared.folds.values())).train_idx
    groups = plan_fusing(
        run, missing, lambda job: job.config, (shared.training, rows), resources, executor, screen
    )
    for group, results in executor.run_jobs(confirm_folds, groups, shared):
        progress.done += len(group)
        if isinstance(results, StorageError):
            raise results
        if isinstance(results, Exception):
            for job in group:
                screen.warn(f"{names[job.trial]}, fold {job.fold}, seed {job.seed} failed: {results}")
            continue
        for result in results:
            run.write_ablated(keys[result.trial], result)
            yield result
        screen.tick(progress)


def _key(config: TrialConfig) -> str:
    """Given files count by their content."""
    return str(hash_of([by_content(config), TRAINING_VERSION])[:12])


def _compared(results: Sequence[FoldResult], judges: Judges) -> dict[int, Comparison]:
    """Place of a configuration -> the whole one minus it, on the folds and seeds that both have."""
    by_place: dict[int, dict[tuple[int, int], FoldResult]] = {}
    for result in results:
        by_place.setdefault(result.trial, {})[result.fold, result.seed] = result
    whole = by_place.get(WHOLE, {})
    outcomes = judges.outcomes(results)
    noise = None if outcomes is None else training_noise(outcomes, judges.groups)
    found = {}
    for place, own in by_place.items():
        both = sorted(own.keys() & whole.keys())
        if place == WHOLE or not both:
            continue
        if outcomes is None or noise is None:
            found[place] = paired_t(np.array([whole[key].score - own[key].score for key in both]))
        else:
            found[place] = compare(outcomes[WHOLE], outcomes[place], judges.groups, noise)
    return found


def _p_values(results: Sequence[FoldResult], judges: Judges) -> Mapping[int, float]:
    """Place -> p after Holm's correction over all tricks, of those that have two trainings or more."""
    compared = _compared(results, judges)
    corrected = dict(zip(compared, holm([c.p for c in compared.values()]).tolist(), strict=True))
    return {place: p for place, p in corrected.items() if compared[place].trainings > 1}


def ablation_table(plan: Plan, results: Sequence[FoldResult], judges: Judges) -> pd.DataFrame:
    """A row for the whole configuration, then one per trick, those that help most first.

    results: their `trial` is the place in `plan.configs`. score, score_se: mean and standard error over the trainings.
    noise: of the whole configuration, the standard deviation of one training on the first fold; least: the difference
    that as many trainings would tell in 80 % of cases if nothing but this noise were there. For a trick: difference:
    the whole configuration less the one without it, with its own 95 % interval; p: after Holm's correction for the
    number of tricks; verdict: helps, hurts or cannot tell, at 5 % for all tricks together; more_trainings: how many
    more of each of the two would tell a difference of this size (without the correction).
    """
    compared = _compared(results, judges)
    corrected = dict(zip(compared, holm([c.p for c in compared.values()]).tolist(), strict=True))
    rows = []
    for place, trick in enumerate([None, *plan.tricks]):
        own = [r for r in results if r.trial == place]
        cells = [r.score for r in own if place != WHOLE or (r.fold, r.seed) in plan.cells]
        mean, error = mean_and_error(cells) if cells else (math.nan, math.nan)
        row = {"trick": "all tricks" if trick is None else trick.key, "trainings": len(cells)}
        row |= {"score": mean, "score_se": error}
        if trick is None:
            noise = noise_floor(plan, own)
            least = POWERFUL * noise * math.sqrt(2 / max(len(cells), 1))
            rows.append({**row, "noise": noise, "least": least, "verdict": "-"})
            continue
        row |= {"value": trick.value, "off": trick.off}
        if (seen := compared.get(place)) is None:
            rows.append({**row, "verdict": "cannot tell"})
            continue
        told = corrected[place] < LEVEL
        verdict = "cannot tell" if not told else "helps" if seen.difference > 0 else "hurts"
        rows.append(
            {
                **row,
                "difference": seen.difference,
                "low": seen.low,
                "high": seen.high,
                "p": corrected[place],
                "verdict": verdict,
                "more_trainings": 0.0 if told else max(seen.more_trainings, 1.0),
            }
        )
    columns = [
        *("trick", "value", "off", "score", "score_se", "trainings", "noise", "least"),
        *("difference", "low", "high", "p", "verdict", "more_trainings"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    first = table.index == 0
    rest = table[~first].sort_values("difference", ascending=False, kind="stable")
    return pd.concat([table[first], rest], ignore_index=True)


def noise_floor(plan: Plan, whole: Sequence[FoldResult]) -> float:
    """Standard deviation of one training of the whole configuration: of its seeds on the first fold; NaN for one."""
    scores = [r.score for r in whole if r.fold == plan.cells[0][0]]
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
