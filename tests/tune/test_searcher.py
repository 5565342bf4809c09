"""Optuna's side of a search: what it is asked, what its journal says of each trial, and how it goes on after a kill."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tune_digits.config import Search
from tune_digits.execute.executor import Proposal
from tune_digits.space.space import Space
from tune_digits.study import Study, make_study
from tune_digits.tune.searcher import OPTUNA_STATES, OptunaTrials, left_behind, open_study
from tune_digits.yaml_text import parse_yaml

TEXT = """
trial:
  augment: {rotate: {uniform: [0, 30]}}
  optimizer:
    one_of:
      - {name: sgd, lr: {loguniform: [0.01, 1.0]}}
      - {name: adamw, lr: {loguniform: [1e-4, 1e-2]}}
  train: {epochs: 3}
baseline: {optimizer.name: adamw}
start: [{augment.rotate: 12}, {augment.rotate: 20}]
"""


def space() -> Space:
    return make_study(parse_yaml(TEXT, "s.yaml"), "s.yaml", "s", {}).space


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "optuna.journal"


def opened(journal: Path, seed: int = 0, startup: int = 2) -> optuna.Study:
    return open_study(journal, Search(startup_trials=startup), space(), seed)


def report(trials: OptunaTrials, key: str, *scores: float) -> None:
    for epoch, score in enumerate(scores, start=1):
        trials.report(key, epoch, score)


def test_the_journal_tells_how_each_trial_ended(journal: Path) -> None:
    trials = OptunaTrials(opened(journal), space())
    for key in "abcde":
        trials.propose(key)
    report(trials, "a", 0.5, 0.6, 0.7)
    report(trials, "b", 0.2, 0.1)
    report(trials, "c", 0.3)
    report(trials, "d", 0.9, 0.8)
    trials.end("a", "finished", 0.7)
    trials.end("b", "pruned", 0.1)
    trials.end("c", "failed", 0.3)
    trials.end("d", "ended", 0.8)

    # read as a stranger would, from the file
    told = opened(journal).trials
    assert [t.state for t in told] == [
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING,
    ]  # fmt: skip
    assert [t.value for t in told] == [
        0.7,
        0.1,
        None,
        0.8,
        None,
    ]  # of a pruned one, Optuna takes the last report
    assert told[1].intermediate_values == {1: 0.2, 2: 0.1}
    assert told[0].user_attrs["role"] == "baseline"
    assert opened(journal).best_trial.number == 3  # the largest score is the best
    assert set(OPTUNA_STATES) == {"finished", "ended", "pruned", "failed"}


def test_a_trial_left_running_is_handed_out_again_first(journal: Path) -> None:
    first = OptunaTrials(opened(journal), space())
    before = [first.propose(key) for key in "ab"]
    first.report("b", 1, 0.4)

    again = OptunaTrials(opened(journal), space(), unfinished=(1,))
    assert again.propose("x") == before[1]
    report(again, "x", 0.4, 0.5, 0.6)  # the first of them is replayed
    again.end("x", "finished", 0.6)
    trial = opened(journal).trials[1]
    assert trial.state == TrialState.COMPLETE
    assert trial.intermediate_values == {1: 0.4, 2: 0.5, 3: 0.6}
    assert again.propose("y").number == 2


def test_a_kill_between_any_two_writes_leaves_no_trial_behind(journal: Path) -> None:
    study = opened(journal)
    first = OptunaTrials(study, space())
    before = [first.propose(key) for key in "abcd"]
    for key in "ab":
        report(first, key, 0.4, 0.5, 0.6)
        first.end(key, "finished", 0.6)
    study.ask()  # and killed before it had a configuration
    # the records: the first is over, the end of the second and the start of the fourth were never written
    again = opened(journal)
    numbers = left_behind(again, running=[1, 2], over=[0])
    assert numbers == (1, 2, 3, 4)
    second = OptunaTrials(again, space(), unfinished=numbers)
    handed = [second.propose(key) for key in "wxyz"]
    assert handed[:3] == before[1:]
    assert handed[3].number == 4
    assert handed[3].config.optimizer.name in ("sgd", "adamw")
    for key in "wxyz":
        second.report(key, 1, 0.3)
        second.end(key, "finished", 0.7)
    told = opened(journal).trials
    assert [t.value for t in told] == [0.6, 0.6, 0.7, 0.7, 0.7]  # what was told before stays
    assert told[1].intermediate_values == {1: 0.4, 2: 0.5, 3: 0.6}
    assert left_behind(opened(journal), [], range(5)) == ()


def in_flight(journal: Path) -> list[tuple[float, float]]:
    """What TPE proposes to four trials, none of which is over when the next one asks."""
    trials = OptunaTrials(opened(journal, startup=4), space())
    for i in range(12):
        rotate = trials.propose(str(i)).config.augment.rotate
        trials.end(str(i), "finished", -abs(rotate - 15))
    at_once = [trials.propose(f"at once {i}").config for i in range(4)]
    return [(c.augment.rotate, c.optimizer.lr) for c in at_once]


def test_trials_in_flight_change_what_is_proposed_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`constant_liar` beside `multivariate` and `group`, which did not go together in some releases of Optuna."""
    with_liar = in_flight(tmp_path / "with")
    assert len(set(with_liar)) == 4
    assert with_liar == in_flight(tmp_path / "again")
    sampler = optuna.samplers.TPESampler
    monkeypatch.setattr(
        optuna.samplers, "TPESampler", lambda **given: sampler(**{**given, "constant_liar": False})
    )
    without = in_flight(tmp_path / "without")
    assert with_liar[0] == without[0], "nothing else is in flight"
    assert all(one != other for one, other in zip(with_liar[1:], without[1:], strict=True))


@pytest.mark.parametrize("branches", [True, False])
def test_parameters_of_different_branches_have_models_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, branches: bool
) -> None:
    given = {}
    sampler = optuna.samplers.TPESampler

    def spy(**kwargs: object) -> optuna.samplers.TPESampler:
        given.update(kwargs)
        return sampler(**kwargs)

    monkeypatch.setattr(optuna.samplers, "TPESampler", spy)
    plain = {"trial": {"augment": {"rotate": {"uniform": [0, 30]}}}}
    wanted = space() if branches else make_study(plain, "s.yaml", "s", {}).space
    open_study(tmp_path / "j", Search(), wanted, 0)
    assert given["group"] is branches
    assert given["multivariate"] and given["constant_liar"]


# ── no configuration twice ───────────────────────────────────────────────────────────────────────────


def finite(trial: str, search: str = "{}", points: str = "") -> Study:
    return make_study(
        parse_yaml(f"{{trial: {trial}, search: {search}{points}}}", "s.yaml"), "s.yaml", "s", {}
    )


def proposed(journal: Path, study: Study, count: int, flight: int = 1) -> list[Proposal]:
    """So many proposals of a new process, `flight` of them running at once."""
    trials = OptunaTrials(open_study(journal, study.search, study.space, 0), study.space)
    found: list[Proposal] = []
    for i in range(count):
        found.append(trials.propose(str(i)))
        if len(found) >= flight:
            trials.end(str(i - flight + 1), "finished", found[i - flight + 1].config.augment.rotate / 100)
    return found


ROTATIONS = "{augment: {rotate: {choice: [0, 1, 2, 3, 4, 5, 6, 7]}}}"


def test_a_branch_without_anything_to_search_is_tried_once_in_an_infinite_space(tmp_path: Path) -> None:
    trial = "{optimizer: {one_of: [{name: sgd, lr: 0.1}, {name: adamw, lr: {uniform: [0.001, 0.01]}}]}}"
    study = finite(trial, "{startup_trials: 2}")
    found = [p.config for p in proposed(tmp_path / "j", study, 10)]
    assert [c.optimizer.name for c in found].count("sgd") == 1
    assert len({c.optimizer.lr for c in found}) == 10


def test_a_start_point_that_is_the_baseline_is_tried_once(tmp_path: Path) -> None:
    study = finite(
        ROTATIONS, points=", baseline: {augment.rotate: 3}, start: [{augment.rotate: 3}, {augment.rotate: 6}]"
    )
    found = proposed(tmp_path / "j", study, 3)
    assert [p.config.augment.rotate for p in found[:2]] == [3, 6]
    assert [p.role for p in found] == ["baseline", "start", "search"]


def test_equal_configurations_of_two_branches_are_one(tmp_path: Path) -> None:
    study = finite("{optimizer: {one_of: [{name: sgd, lr: 0.1}, {name: sgd, lr: {choice: [0.1, 0.2]}}]}}")
    assert sorted(p.config.optimizer.lr for p in proposed(tmp_path / "j", study, 2)) == [0.1, 0.2]


def test_the_grid_goes_through_all_points_in_order_and_on_after_a_stop(tmp_path: Path) -> None:
    study = finite(
        "{augment: {rotate: {choice: [0, 10, 20]}}, optimizer: {one_of: [{name: sgd}, "
        "{name: adamw, lr: {choice: [0.1, 0.2, 0.3, 0.4, 0.5]}}]}}",
        "{sampler: grid}",
        ", baseline: {augment.rotate: 20, optimizer.name: sgd}, start: [{augment.rotate: 10, optimizer.name: sgd}]",
    )
    assert study.search.trials == 18
    found = proposed(tmp_path / "j", study, 11, flight=2) + proposed(tmp_path / "j", study, 7, flight=2)
    assert [p.number for p in found] == list(range(18))
    expected = [config for _, config in study.space.configurations()]
    assert [p.config for p in found] == expected
    assert [(c.augment.rotate, c.optimizer.name, c.optimizer.lr) for c in expected[:4]] == [
        (20, "sgd", 0.05), (10, "sgd", 0.05), (0, "sgd", 0.05), (0, "adamw", 0.1),
    ]  # fmt: skip
