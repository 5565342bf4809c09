"""What every scheduler promises, on each of them and on recorded scores: fresh, resumed, inline and on Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import executor_jobs
import numpy as np
import pytest
from executor_jobs import from_table

from tune_digits.config import Resources, Search, TrialConfig
from tune_digits.execute.executor import Executor, Proposal, TrialRun
from tune_digits.execute.inline import start_inline
from tune_digits.tune.scheduler import SCHEDULERS, TrialStopper, hyperband_brackets, make_scheduler

every_scheduler = pytest.mark.parametrize("scheduler", list(SCHEDULERS))
EPOCHS = 9
Table = dict[int, list[float]]  # trial number -> its score in each epoch


def search_of(scheduler: str, **given: Any) -> Search:
    """A search with this scheduler; of `given` what has an effect with it."""
    bare = Search(scheduler=scheduler)
    return Search(scheduler=scheduler, **{k: v for k, v in given.items() if k not in bare.unused()})


def table(seed: int, trials: int = 24, epochs: int = EPOCHS) -> Table:
    """Learning curves that cross: rising at different paces to different ends, with noise."""
    rng = np.random.default_rng(seed)
    ends, paces = rng.uniform(0.3, 0.9, trials), rng.uniform(0.5, 4.0, trials)
    t = np.arange(1, epochs + 1)
    scores = ends[:, None] * (1 - np.exp(-t / paces[:, None])) + rng.normal(0, 0.02, (trials, epochs))
    return {n: [float(s) for s in row] for n, row in enumerate(scores)}


def epochs_of(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": i, "score": s} for i, s in enumerate(scores, start=1)]


def trained(stopper: TrialStopper, number: int, scores: list[float]) -> int:
    """After how many epochs a trial with these scores ends."""
    for report in epochs_of(*scores):
        if stopper.stops(number, report):
            return int(report["epoch"])
    return len(scores)


def all_trained(search: Search, scores: Table, stopper: TrialStopper | None = None) -> dict[int, int]:
    """The epochs of every trial of a table, one trial after the other."""
    stopper = stopper or make_scheduler(search, len(next(iter(scores.values()))))
    return {number: trained(stopper, number, row) for number, row in scores.items()}


def test_every_scheduler_of_the_configuration_is_there() -> None:
    assert set(SCHEDULERS) == set(get_args(Search.model_fields["scheduler"].annotation))


@every_scheduler
def test_trials_are_stopped_and_those_of_none_are_not(scheduler: str) -> None:
    epochs = all_trained(search_of(scheduler), table(0))
    assert (set(epochs.values()) == {EPOCHS}) == (scheduler == "none")
    assert sum(n == EPOCHS for n in epochs.values()) >= 2


@every_scheduler
@pytest.mark.parametrize("grace", [1, 2, 4, 9])
def test_no_trial_is_stopped_before_the_grace_period(scheduler: str, grace: int) -> None:
    for seed in range(5):
        search = search_of(scheduler, grace_period=grace, reduction_factor=2)
        fewest = min(all_trained(search, table(seed)).values())
        assert fewest >= (EPOCHS if scheduler == "none" else grace)
        # and the grace period is no longer than it is said to be
        assert fewest == (EPOCHS if scheduler == "none" else grace)


@every_scheduler
def test_who_is_best_in_every_epoch_survives_and_who_is_worst_does_not(scheduler: str) -> None:
    """In a table without noise, where trials have the same order in every epoch."""
    ends = np.random.default_rng(3).permutation(24) / 24
    scores = {n: [float(end + epoch / 1000) for epoch in range(EPOCHS)] for n, end in enumerate(ends)}
    for factor in (2, 3):
        epochs = all_trained(search_of(scheduler, reduction_factor=factor), scores)
        best, worst = int(ends.argmax()), int(ends[8:].argmin()) + 8  # after some others
        assert epochs[best] == EPOCHS
        if scheduler in ("asha", "median"):
            assert epochs[worst] < EPOCHS
        middle = np.median(ends)
        upper = np.mean([epochs[n] for n in scores if ends[n] > middle])
        lower = np.mean([epochs[n] for n in scores if ends[n] <= middle])
        assert upper > lower or (scheduler == "none" and upper == lower)


@every_scheduler
def test_a_better_trial_trains_at_least_as_long_as_a_worse_one_in_its_place(scheduler: str) -> None:
    for seed in range(5):
        scores = table(seed)
        last = max(scores)
        lengths = []
        for shift in (-0.5, -0.1, 0.0, 0.1, 1.0):
            shifted = {**scores, last: [s + shift for s in scores[last]]}
            lengths.append(all_trained(search_of(scheduler), shifted)[last])
        assert lengths == sorted(lengths)
        assert lengths[-1] == EPOCHS


# ── resumed ──────────────────────────────────────────────────────────────────────────────────────────


@every_scheduler
@pytest.mark.parametrize("seed", [1, 2])
def test_a_resumed_search_decides_as_one_that_was_not_interrupted(scheduler: str, seed: int) -> None:
    """Killed before any trial, and in any epoch of one, the last epoch's decision being lost with the kill."""
    scores, search = table(seed, trials=14), search_of(scheduler, reduction_factor=2)
    whole = all_trained(search, scores)
    for killed in scores:
        over = [(n, epochs_of(*scores[n][: whole[n]])) for n in range(killed)]
        for done in range(whole[killed] + 1):
            running = [(killed, epochs_of(*scores[killed][:done]))] if done else []
            stopper = make_scheduler(search, EPOCHS, over, running)
            rest = {n: row for n, row in scores.items() if n >= killed}
            assert all_trained(search, rest, stopper) == {n: whole[n] for n in rest}, (killed, done)


@every_scheduler
def test_a_trial_that_is_taken_up_again_is_not_stopped_where_it_has_passed(scheduler: str) -> None:
    """By trials that came to that epoch later than it did."""
    weak, strong = [0.2] * EPOCHS, [0.9] * EPOCHS
    over = [(n, epochs_of(*strong)) for n in range(1, 9)]
    stopper = make_scheduler(search_of(scheduler), EPOCHS, over, [(0, epochs_of(*weak[:4]))])
    assert not any(stopper.stops(0, report) for report in epochs_of(*weak[:3]))


@every_scheduler
def test_epochs_that_a_trial_reports_again_are_not_judged_again(scheduler: str) -> None:
    """Nor do they count twice among those that others are compared with: a trial whose worker died replays them."""
    scores, search = table(4), search_of(scheduler)
    stopper = make_scheduler(search, EPOCHS)
    epochs = {}
    for number, row in scores.items():
        for report in epochs_of(*row[:2]):
            if stopper.stops(number, report):
                break
        else:
            epochs[number] = trained(stopper, number, row)
            continue
        epochs[number] = int(report["epoch"])
    assert epochs == all_trained(search, scores)


# ── each by itself ───────────────────────────────────────────────────────────────────────────────────


def test_asha_keeps_one_in_so_many_at_each_rung() -> None:
    search = search_of("asha", grace_period=1, reduction_factor=2)
    for rung in (1, 2, 4):
        strong = [(n, epochs_of(*[0.1] * (rung - 1), *[0.9] * (9 - rung))) for n in range(4)]
        assert trained(make_scheduler(search, 8, strong), 9, [0.2] * 8) == rung
    stopped = [(n, epochs_of(0.9, 0.9)) for n in range(4)]
    assert trained(make_scheduler(search, 8, stopped), 9, [0.95, 0.2, 0.2, 0.2]) == 2
    assert trained(make_scheduler(search, 8, stopped), 9, [0.95, 0.95, 0.2, 0.2]) == 4
    # the second best of five is kept by one in two, and not by one in five
    recorded = [(n, epochs_of(score)) for n, score in enumerate((0.1, 0.2, 0.3, 0.9))]
    assert not make_scheduler(search, 8, recorded).stops(9, {"epoch": 1, "score": 0.5})
    fifth = search_of("asha", grace_period=1, reduction_factor=5)
    assert make_scheduler(fifth, 8, recorded).stops(9, {"epoch": 1, "score": 0.5})


def test_the_brackets_of_hyperband_are_those_of_the_paper() -> None:
    """Table 1 of arXiv:1603.06560, R = 81 and a factor of 3."""
    assert hyperband_brackets(81, 1, 3) == [(1, 81), (3, 34), (9, 15), (27, 8), (81, 5)]
    assert hyperband_brackets(12, 1, 3) == [(1, 9), (4, 5), (12, 3)]
    assert hyperband_brackets(12, 4, 3) == [(4, 3), (12, 2)]
    assert hyperband_brackets(12, 5, 3) == [(12, 1)]
    assert hyperband_brackets(1, 1, 3) == [(1, 1)]


def test_hyperband_spreads_trials_over_its_brackets_by_their_numbers() -> None:
    """Of 17 trials that follow stronger ones, 9 end after epoch 1, 5 after epoch 4, and 3 are never stopped."""
    search = search_of("hyperband", reduction_factor=3)
    strong = [(n, epochs_of(*[0.9] * 12)) for n in range(17)]
    stopper = make_scheduler(search, 12, strong)
    ends = [trained(stopper, n, [0.1] * 12) for n in range(17, 34)]
    assert [ends.count(n) for n in (1, 4, 12)] == [9, 5, 3]
    assert set(ends[:6]) == {1, 4, 12}, "a short search has trials in every bracket"


def test_the_median_rule_needs_so_many_others_and_compares_with_their_means() -> None:
    recorded = [(n, epochs_of(0.2, 0.6)) for n in range(3)]  # means 0.2 and 0.4
    for samples, stopped in ((3, True), (4, False)):
        stopper = make_scheduler(search_of("median", min_samples=samples), 8, recorded)
        assert stopper.stops(9, {"epoch": 1, "score": 0.19}) is stopped
    lucky = make_scheduler(search_of("median"), 8, recorded)
    assert trained(lucky, 9, [0.41, 0.1]) == 2  # its best score counts
    assert not lucky.stops(9, {"epoch": 3, "score": 0.1})  # no other has come so far
    assert trained(make_scheduler(search_of("median"), 8, recorded), 9, [0.3, 0.39, 0.9]) == 2


# ── executors ────────────────────────────────────────────────────────────────────────────────────────


class Counted:
    """Trials numbered in their order, with the epochs that each has reported."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.epochs: dict[int, int] = {}

    def propose(self, key: str) -> Proposal:
        self.numbers[key] = len(self.numbers)
        return Proposal(self.numbers[key], TrialConfig(), "search")

    def started(self, key: str) -> None: ...

    def reported(self, key: str, report: Mapping[str, Any]) -> None:
        self.epochs[self.numbers[key]] = report["epoch"]

    def ended(self, key: str) -> None: ...

    def failed(self, key: str, error: str) -> None:
        raise AssertionError(error)


def run_table(executor: Executor, search: Search, scores: Table, folder: Path) -> dict[int, int]:
    told = Counted()
    scheduler = make_scheduler(search, EPOCHS)
    executor.run_trials(TrialRun(from_table, scores, told, scheduler, len(scores), None, folder))
    return told.epochs


@pytest.fixture(scope="module")
def one_at_a_time() -> Iterator[Executor]:
    """Ray, with one trial at a time, so that the reports come in the order in which they come inline."""
    import ray

    from tune_digits.execute.on_ray import start_ray

    with pytest.MonkeyPatch.context() as patch:
        here = str(Path(executor_jobs.__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
        yield start_ray(Resources(max_concurrent=1))
        ray.shutdown()


@every_scheduler
def test_inline_and_ray_decide_alike(scheduler: str, one_at_a_time: Executor, tmp_path: Path) -> None:
    scores, search = table(5, trials=10), search_of(scheduler, reduction_factor=2)
    inline = run_table(start_inline(Resources()), search, scores, tmp_path)
    assert inline == all_trained(search, scores)
    assert run_table(one_at_a_time, search, scores, tmp_path) == inline


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_rays_own_runner_with_rays_own_scheduler_decides_alike(
    scheduler: str, one_at_a_time: Executor, tmp_path: Path
) -> None:
    """Nothing of ours between the two; hyperband is made of ASHAs, and none has nothing to decide."""
    from ray import tune

    scores, search = table(5, trials=8), search_of(scheduler, reduction_factor=2)
    tuner = tune.Tuner(
        tune.with_parameters(executor_jobs.reported_from_table, table=scores),
        param_space={"number": tune.grid_search(list(scores))},
        tune_config=tune.TuneConfig(
            scheduler=SCHEDULERS[scheduler](search, EPOCHS)(0), max_concurrent_trials=1, reuse_actors=True
        ),
        run_config=tune.RunConfig(name="own", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    epochs = {r.config["number"]: r.metrics["epoch"] for r in results if r.config and r.metrics}
    assert epochs == all_trained(search, scores)
    assert min(epochs.values()) < EPOCHS
