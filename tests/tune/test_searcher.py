"""Optuna behind Ray: what the journal says of each trial, and ASHA's rungs after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tune_digits.config import Resources, Search
from tune_digits.errors import ConfigError
from tune_digits.study import make_study, parse_yaml
from tune_digits.tune.resources import plan_slots, snap_gpus
from tune_digits.tune.scheduler import make_scheduler
from tune_digits.tune.searcher import OptunaSearcher, left_behind, open_study

TEXT = """
trial:
  augment: {rotate: {uniform: [0, 30]}}
  optimizer:
    one_of:
      - {name: sgd, lr: {loguniform: [0.01, 1.0]}}
      - {name: adamw, lr: {loguniform: [1e-4, 1e-2]}}
  train: {epochs: 3}
baseline: {optimizer.name: adamw}
start: [{augment.rotate: 12}]
"""


def space():
    return make_study(parse_yaml(TEXT, "s.yaml"), "s.yaml", "s", {}).space


def epoch(number: int, score: float, train_loss: float = 0.1) -> dict:
    return {"epoch": number, "score": score, "train_loss": train_loss}


def test_the_journal_tells_baseline_pruned_finished_and_failed(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    searcher = OptunaSearcher(open_study(journal, 0, 2, space()), space(), epochs=3)
    suggestions = {name: searcher.suggest(name) for name in "abcde"}
    assert [s["number"] for s in suggestions.values()] == [0, 1, 2, 3, 4]
    assert [s["role"] for s in suggestions.values()] == ["baseline", "start", "search", "search", "search"]
    assert suggestions["a"]["config"]["optimizer"] == {"name": "adamw", "lr": 0.002}
    assert suggestions["b"]["config"]["augment"]["rotate"] == 12

    for name, reports in {
        "a": [epoch(1, 0.5), epoch(2, 0.6), epoch(3, 0.7)],
        "b": [epoch(1, 0.2), epoch(2, 0.1)],
        "c": [epoch(1, 0.3)],
        "d": [epoch(1, 0.3), epoch(2, 0.4), epoch(3, 0.0, float("nan"))],
    }.items():
        for report in reports:
            searcher.on_trial_result(name, report)
        searcher.on_trial_complete(name, reports[-1], error=name == "c")

    # read as a stranger would, from the file
    trials = open_study(journal, 0, 2, space()).trials
    assert [t.state for t in trials] == [
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING,
    ]  # fmt: skip
    assert trials[0].value == 0.7
    assert trials[1].intermediate_values == {1: 0.2, 2: 0.1}
    assert trials[0].user_attrs["role"] == "baseline"


def test_a_trial_left_running_is_handed_out_again_first(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    first = OptunaSearcher(open_study(journal, 0, 2, space()), space(), epochs=3)
    before = [first.suggest(n) for n in "ab"]
    first.on_trial_result("b", epoch(1, 0.4))

    again = OptunaSearcher(open_study(journal, 0, 2, space()), space(), epochs=3, unfinished=(1,))
    assert again.suggest("x") == before[1]
    again.on_trial_result("x", epoch(1, 0.4))  # replayed
    again.on_trial_result("x", epoch(2, 0.5))
    again.on_trial_result("x", epoch(3, 0.6))
    again.on_trial_complete("x", epoch(3, 0.6))
    trial = open_study(journal, 0, 2, space()).trials[1]
    assert trial.state == TrialState.COMPLETE
    assert trial.intermediate_values == {1: 0.4, 2: 0.5, 3: 0.6}
    assert again.suggest("y")["number"] == 2


def test_a_kill_between_any_two_writes_leaves_no_trial_behind(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    study = open_study(journal, 0, 2, space())
    first = OptunaSearcher(study, space(), epochs=3)
    before = [first.suggest(n) for n in "abcd"]
    for report in (epoch(1, 0.4), epoch(2, 0.5), epoch(3, 0.6)):
        first.on_trial_result("a", report)
        first.on_trial_result("b", report)
    first.on_trial_complete("a", epoch(3, 0.6))
    first.on_trial_complete("b", epoch(3, 0.6))
    study.ask()  # and killed before it had a configuration
    # the records: the first is over, the end of the second and the start of the fourth were never written
    again = open_study(journal, 0, 2, space())
    numbers = left_behind(again, running=[1, 2], over=[0])
    assert numbers == (1, 2, 3, 4)
    second = OptunaSearcher(again, space(), epochs=3, unfinished=numbers)
    handed = [second.suggest(n) for n in "wxyz"]
    assert handed[:3] == before[1:]
    assert handed[3]["number"] == 4
    assert handed[3]["config"]["optimizer"]["name"] in ("sgd", "adamw")
    for name in "wxyz":
        second.on_trial_result(name, epoch(1, 0.4))
        second.on_trial_complete(name, epoch(3, 0.7))
    values = [t.value for t in open_study(journal, 0, 2, space()).trials]
    assert values == [0.6, 0.6, 0.7, 0.7, 0.7]  # what was told before stays
    assert left_behind(open_study(journal, 0, 2, space()), [], range(5)) == ()


def test_the_same_seed_proposes_the_same(tmp_path: Path) -> None:
    def proposals(name: str, seed: int) -> str:
        searcher = OptunaSearcher(open_study(tmp_path / name, seed, 3, space()), space(), epochs=1)
        found = []
        for i in range(8):
            found.append(searcher.suggest(str(i)))
            searcher.on_trial_result(str(i), epoch(1, i / 10))
            searcher.on_trial_complete(str(i), epoch(1, i / 10))
        return json.dumps(found)

    assert proposals("a", 1) == proposals("b", 1)
    assert proposals("c", 2) != proposals("a2", 1)


def test_recorded_trials_fill_the_rungs() -> None:
    from types import SimpleNamespace

    search = Search(grace_period=1, reduction_factor=2)
    weak = SimpleNamespace(trial_id="weak")

    def decision(recorded) -> str:
        scheduler = make_scheduler(search, 8, recorded)
        scheduler.on_trial_add(None, weak)
        return scheduler.on_trial_result(None, weak, epoch(1, 0.2))

    strong = [(n, [epoch(1, 0.8), epoch(2, 0.9)]) for n in range(4)]
    assert decision([]) == "CONTINUE"
    assert decision(strong) == "STOP"


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "expected"),
    [
        ({}, 2, 0, (1, 0, 2)),
        ({"cpus_per_trial": 2}, 5, 0, (2, 0, 2)),
        ({"max_concurrent": 1}, 8, 0, (1, 0, 1)),
        ({}, 16, 1, (1, 0.25, 4)),
        ({"gpus_per_trial": 0.3}, 16, 2, (1, 1 / 3, 6)),
        ({"gpus_per_trial": 1}, 4, 2, (1, 1, 2)),
        ({"gpus_per_trial": 0.25}, 2, 1, (1, 0.25, 2)),
        ({"cpus_per_trial": 0.5}, 2, 0, (0.5, 0, 4)),
    ],
)
def test_trainings_fill_the_machine_and_no_more(resources, cpus, gpus, expected) -> None:
    slots = plan_slots(Resources(**resources), cpus, gpus)
    assert (slots.cpus, slots.gpus, slots.at_once) == pytest.approx(expected)


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"gpus_per_trial is 0.5, but 0 GPUs are here"):
        plan_slots(Resources(gpus_per_trial=0.5), 4, 0)
    with pytest.raises(ConfigError, match=r"cpus_per_trial is 8, but 4 cores are here"):
        plan_slots(Resources(cpus_per_trial=8), 4, 0)


def test_shares_are_snapped_to_equal_parts() -> None:
    assert [snap_gpus(s) for s in (0, 0.1, 0.24, 0.26, 0.4, 0.6, 1, 2)] == pytest.approx(
        [0, 0.1, 0.25, 0.25, 0.5, 0.5, 1, 2]
    )
