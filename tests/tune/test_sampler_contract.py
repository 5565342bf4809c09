"""What every sampler promises, on each of them: fresh, resumed, killed, in parallel, and to the end of a space."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest
from optuna.trial import TrialState
from run_samples import INLINE, halves_task, searched_run, small_study

from tune_digits.config import Search
from tune_digits.errors import RunError
from tune_digits.execute.executor import Proposal, TrialRun
from tune_digits.execute.inline import InlineExecutor
from tune_digits.study import Study, make_study
from tune_digits.tune.samplers import SAMPLERS
from tune_digits.tune.searcher import OptunaTrials, left_behind, open_study
from tune_digits.yaml_text import parse_yaml

needs_cmaes = pytest.mark.skipif(find_spec("cmaes") is None, reason="the package cmaes is not installed")
every_sampler = pytest.mark.parametrize(
    "sampler", [pytest.param(name, marks=needs_cmaes if name == "cmaes" else ()) for name in SAMPLERS]
)
HEARS = {"tpe", "gp", "cmaes", "nsga2"}  # their proposals depend on results
DRAWS = set(SAMPLERS) - {"grid"}  # their proposals depend on the seed

# finite, for the grid; with a number in every branch, for cmaes; and with branches that differ
BRANCHES = """
trial:
  augment: {rotate: {quniform: [0, 30, 1]}}
  optimizer:
    one_of:
      - {name: sgd, lr: 0.1, momentum: {quniform: [0.1, 0.9, 0.1]}}
      - {name: adamw, lr: {choice: [0.001, 0.01]}}
  train: {epochs: 3}
baseline: {optimizer.name: adamw, augment.rotate: 5}
start: [{augment.rotate: 12, optimizer.name: sgd}, {augment.rotate: 20}]
"""
EIGHT = "trial: {augment: {rotate: {quniform: [0, 7, 1]}}}"


def study_of(sampler: str, text: str = BRANCHES, startup: int = 4) -> Study:
    search: dict[str, Any] = {"sampler": sampler}
    if sampler in ("tpe", "gp", "cmaes", "nsga2"):
        search["startup_trials"] = startup
    return make_study({**parse_yaml(text, "s.yaml"), "search": search}, "s.yaml", "s", {})


def asked(journal: Path, study: Study, seed: int = 0, unfinished: tuple[int, ...] = ()) -> OptunaTrials:
    """The trials of a new process."""
    return OptunaTrials(open_study(journal, study.search, study.space, seed), study.space, unfinished)


def end(trials: OptunaTrials, key: str, study: Study, proposal: Proposal, sign: float = 1.0) -> None:
    """Tell that a trial has finished with a score, and a speed, that grow with its rotation, or shrink."""
    rotate = proposal.config.augment.rotate
    speed = 1000.0 + 10 * sign * rotate if study.search.sampler == "nsga2" else None
    trials.end(key, "finished", sign * rotate / 30, speed)


def proposed(
    journal: Path, study: Study, count: int, flight: int = 1, seed: int = 0, sign: float = 1.0
) -> list[Proposal]:
    """So many proposals of a new process, `flight` of them running at once."""
    trials, found = asked(journal, study, seed), []
    for i in range(count):
        found.append(trials.propose(str(i)))
        if len(found) >= flight:
            end(trials, str(i - flight + 1), study, found[i - flight + 1], sign)
    return found


def configs(proposals: Sequence[Proposal]) -> list[str]:
    return [p.config.model_dump_json() for p in proposals]


def test_every_sampler_of_the_configuration_is_there() -> None:
    assert set(SAMPLERS) == set(get_args(Search.model_fields["sampler"].annotation))


@every_sampler
def test_the_baseline_is_trial_0_and_the_start_points_follow_in_their_order(
    sampler: str, tmp_path: Path
) -> None:
    found = proposed(tmp_path / "j", study_of(sampler), 4, flight=4)
    assert [p.number for p in found] == [0, 1, 2, 3]
    assert [p.role for p in found] == ["baseline", "start", "start", "search"]
    baseline, first, second, free = (p.config for p in found)
    assert (baseline.optimizer.name, baseline.augment.rotate) == ("adamw", 5)
    assert (first.optimizer.name, first.augment.rotate) == ("sgd", 12)
    assert second.augment.rotate == 20
    assert free not in (baseline, first, second)


@every_sampler
def test_the_seed_alone_decides_what_is_proposed(sampler: str, tmp_path: Path) -> None:
    """The seed as `run_search` gives it: that of the study, which a qmc sequence goes on with."""

    def with_seed(name: str, seed: int) -> list[str]:
        study = study_of(sampler)
        search = study.search.model_copy(update={"seed": seed})
        trials = OptunaTrials(open_study(tmp_path / name, search, study.space, seed), study.space)
        found = []
        for i in range(10):
            found.append(trials.propose(str(i)))
            end(trials, str(i), study, found[-1])
        return configs(found)

    first = with_seed("a", 1)
    assert with_seed("b", 1) == first
    assert (with_seed("c", 2) != first) == (sampler in DRAWS)


@every_sampler
def test_those_samplers_hear_of_scores_that_have_a_model_of_them(sampler: str, tmp_path: Path) -> None:
    study = study_of(sampler, startup=5)
    up, down = (configs(proposed(tmp_path / str(s), study, 11, sign=s)) for s in (1.0, -1.0))
    assert up[:5] == down[:5]
    assert (up[5:] != down[5:]) == (sampler in HEARS)


@every_sampler
@pytest.mark.parametrize("flight", [1, 4])
@pytest.mark.parametrize("startup", [2, 100])
def test_no_configuration_is_proposed_twice_until_none_is_left(
    sampler: str, flight: int, startup: int, tmp_path: Path
) -> None:
    """Also where it is sure of its favourite, where proposals are random, and where others are in flight."""
    study = study_of(sampler, EIGHT, startup)
    found = proposed(tmp_path / "j", study, 8, flight)
    assert sorted(p.config.augment.rotate for p in found) == list(range(8))
    assert [p.number for p in found] == list(range(8)), "none is lost to a repetition"
    with pytest.raises(RunError, match="no configuration is left"):
        proposed(tmp_path / "j", study, 1)


@every_sampler
@pytest.mark.parametrize("flight", [1, 4])
def test_trials_that_run_at_once_and_after_a_resumption_are_all_different(
    sampler: str, flight: int, tmp_path: Path
) -> None:
    study = study_of(sampler)
    found = proposed(tmp_path / "j", study, 7, flight) + proposed(tmp_path / "j", study, 7, flight, seed=7)
    assert len(set(configs(found))) == 14
    assert [p.number for p in found] == list(range(14))


@every_sampler
def test_what_a_kill_left_in_flight_is_handed_out_again_first(sampler: str, tmp_path: Path) -> None:
    study = study_of(sampler)
    before = proposed(tmp_path / "j", study, 8, flight=3)  # 6 and 7 are in flight
    optuna_study = open_study(tmp_path / "j", study.search, study.space, 0)
    optuna_study.ask()  # 8: killed before it had a configuration
    numbers = left_behind(optuna_study, running=[6, 7], over=range(6))
    assert numbers == (6, 7, 8)
    again = asked(tmp_path / "j", study, 8, numbers)
    handed = [again.propose(str(i)) for i in range(5)]
    assert handed[:2] == before[6:]
    assert [p.number for p in handed] == [6, 7, 8, 9, 10]
    assert len(set(configs([*before[:6], *handed]))) == 11
    for i, proposal in enumerate(handed):
        end(again, str(i), study, proposal)
    states = {t.state for t in open_study(tmp_path / "j", study.search, study.space, 0).trials}
    assert states == {TrialState.COMPLETE}


@every_sampler
def test_trials_that_failed_or_were_stopped_do_not_come_again_and_do_no_harm(
    sampler: str, tmp_path: Path
) -> None:
    study = study_of(sampler)
    trials, found = asked(tmp_path / "j", study), []
    for i in range(14):
        found.append(trials.propose(str(i)))
        if i % 3 == 0:
            trials.end(str(i), "failed", None)
        elif i % 3 == 1 and sampler != "nsga2":  # nothing stops its trials
            trials.report(str(i), 1, 0.1)
            trials.end(str(i), "pruned", 0.1)
        else:
            end(trials, str(i), study, found[-1])
    assert len(set(configs(found))) == 14


# ── a whole search ───────────────────────────────────────────────────────────────────────────────────

TASK = halves_task()


class KilledAfter(InlineExecutor):
    """As a command that is killed after so many epochs of all trials together."""

    def __init__(self, epochs: int) -> None:
        super().__init__(INLINE.slots)
        object.__setattr__(self, "epochs", epochs)

    def run_trials(self, run: TrialRun) -> None:
        left = self.epochs

        def train(*args: Any) -> Any:
            nonlocal left
            for report in run.train(*args):
                if not left:
                    raise KeyboardInterrupt
                left -= 1
                yield report

        values = {name: getattr(run, name) for name in TrialRun.__dataclass_fields__}
        super().run_trials(TrialRun(**{**values, "train": train}))


@every_sampler
def test_a_search_that_was_killed_ends_with_its_budget(sampler: str, tmp_path: Path) -> None:
    tree = {
        "optimizer": {"name": "adamw", "lr": {"quniform": [0.002, 0.03, 0.001]}},
        "train": {"epochs": 2, "batch_size": 20},
    }
    search: dict[str, Any] = {"sampler": sampler, "trials": 5, "scheduler": "none"}
    if sampler in HEARS:
        search["startup_trials"] = 2
    study = small_study(tree, search=search)
    with pytest.raises(KeyboardInterrupt):
        searched_run(tmp_path, study, TASK, KilledAfter(5))
    run, records = searched_run(tmp_path, study, TASK, resume=True)
    assert [(r.number, r.state, r.epochs) for r in records] == [(n, "finished", 2) for n in range(5)]
    assert len({r.config.optimizer.lr for r in records}) == 5
    for record in records:
        measured = record.inference_images_per_second
        assert (measured is not None and measured > 0) == (sampler == "nsga2")
    told = open_study(run.journal, study.search, study.space, 0).trials
    for record, trial in zip(records, told, strict=True):
        objectives = [record.score, record.inference_images_per_second]
        assert trial.values == objectives[: len(trial.values)]
        assert len(trial.values) == (2 if sampler == "nsga2" else 1)


# ── each by itself ───────────────────────────────────────────────────────────────────────────────────


def test_a_qmc_sequence_goes_on_after_a_resumption(tmp_path: Path) -> None:
    """The sequence of the study's seed, whatever the seed of what is drawn at random beside it."""
    plain = "trial: {augment: {rotate: {uniform: [0, 30]}, shift: {uniform: [0, 0.25]}}}"

    def rotations(name: str, study_seed: int, *processes: tuple[int, int]) -> list[float]:
        study = study_of("qmc", plain)
        search = study.search.model_copy(update={"seed": study_seed})
        found = []
        for count, seed in processes:
            trials = OptunaTrials(open_study(tmp_path / name, search, study.space, seed), study.space)
            for i in range(count):
                found.append(trials.propose(str(i)).config.augment.rotate)
                trials.end(str(i), "finished", 0.5)
        return found

    whole = rotations("whole", 1, (17, 1))
    assert rotations("resumed", 1, (6, 1), (11, 7)) == whole
    assert rotations("other", 2, (17, 1))[1:] != whole[1:]
    # the points after the baseline are a Sobol sequence: sixteen of them have one in each sixteenth of the range
    assert sorted(int(rotate / 30 * 16) for rotate in whole[1:]) == list(range(16))


def test_the_start_points_are_parents_of_nsga2(tmp_path: Path) -> None:
    study = study_of("nsga2", startup=4)
    proposed(tmp_path / "j", study, 6)
    trials = open_study(tmp_path / "j", study.search, study.space, 0).trials
    assert [t.system_attrs["NSGAIISampler:generation"] for t in trials] == [0, 0, 0, 0, 1, 1]
