"""Policies of a search, replayed on made curves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fidelity_modules import module
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_digits.config import Search
from tune_digits.tune.scheduler import make_scheduler


def made(curves, *, right=None, raw=None, loss=None):
    """What a search hears of made EMA scores (n, E): Ask, epoch -> Report."""
    policies = module("policies")
    epochs = len(curves[0])

    def heard(ask, epoch):
        c, at = ask.configuration, epoch - 1
        rows = np.zeros(100, bool)
        rows[: round(100 * curves[c][at])] = True
        return policies.Report(
            epoch,
            curves[c][at] if raw is None else raw[c][at],
            curves[c][at],
            1 - curves[c][at] if loss is None else loss[c][at],
            rows if right is None else right[c],
            epoch == epochs,
        )

    return heard


def act(start, curves, budget=10_000, lengths=None, order=None, **more):
    """(epochs that each configuration trained, outcome) of a policy on made curves."""
    counted = {}
    heard = made(curves, **more)

    def count(ask, epoch):
        counted[ask.configuration] = counted.get(ask.configuration, 0) + 1
        return heard(ask, epoch)

    lengths = lengths or [1, len(curves[0])]
    outcome = module("replay").replay(start, order or list(range(len(curves))), lengths, count, budget)
    assert outcome.cost == sum(counted.values()) <= budget
    return counted, outcome


curves_of = st.lists(
    st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=9, max_size=9), min_size=3, max_size=12
)


@settings(deadline=None, max_examples=30)
@given(curves_of, st.sampled_from(["asha", "median", "hyperband"]), st.sampled_from([1, 3]))
def test_replayed_stops_are_those_of_the_products_scheduler(curves, scheduler, grace):
    stopper = make_scheduler(Search(scheduler=scheduler, grace_period=grace), 9)
    expected = {}
    for number, row in enumerate(curves):
        for epoch, score in enumerate(row, 1):
            expected[number] = epoch
            if stopper.stops(number, {"epoch": epoch, "score": score}):
                break
    assert act(module("policies").stopping(scheduler, grace=grace), curves)[0] == expected


def test_trials_that_run_together_take_turns_and_make_room_for_the_next():
    """The second is behind at its first epoch and stopped; the third comes in its place."""
    policies, asked = module("policies"), []
    curves = [[0.9] * 9, [0.1] * 9, [0.95] * 9]
    heard = made(curves)

    def count(ask, epoch):
        asked.append(ask.configuration)
        return heard(ask, epoch)

    module("replay").replay(policies.stopping("asha", together=2), [0, 1, 2], [1, 9], count, 6)
    assert asked == [0, 1, 0, 2, 0, 2]


@pytest.mark.parametrize("judge, other", [("by_raw", "raw"), ("by_loss", "loss")])
def test_a_rung_is_judged_by_what_the_policy_says(judge, other):
    """All have the same EMA scores; what judges puts the second below the first."""
    policies = module("policies")
    sign = -1 if other == "loss" else 1
    values = [[0.6 * sign] * 9, [0.5 * sign] * 9]
    curves = [[0.5] * 9] * 2
    assert act(policies.stopping("asha", grace=3), curves, **{other: values})[0] == {0: 9, 1: 9}
    start = policies.stopping("asha", getattr(policies, judge), 3)
    assert act(start, curves, **{other: values})[0] == {0: 9, 1: 3}


def test_an_error_that_falls_as_a_power_is_extrapolated_exactly():
    policies = module("policies")
    curve = [1 - 0.5 * epoch**-0.5 for epoch in range(1, 28)]
    heard = made([curve])
    reports = [heard(policies.Ask(0), epoch) for epoch in range(1, 28)]
    for epoch in (3, 6, 9):
        assert policies.by_extrapolation(reports[:epoch], 27) == pytest.approx(curve[-1])
    assert policies.by_extrapolation(reports[:1], 27) == curve[0]
    # an error that rises is not thought to go on rising
    rising = [heard(policies.Ask(0), e) for e in (9, 4, 1)]
    rising = [dataclasses.replace(r, epoch=i) for i, r in enumerate(rising, 1)]
    assert policies.by_extrapolation(rising, 27) == pytest.approx(rising[-1].ema)


def test_a_paused_trial_goes_on_when_two_worse_ones_have_come():
    """Six trials in the order of their scores, the best first: at a rung of three the first goes on."""
    curves = [[0.9 - 0.1 * c] * 9 for c in range(6)]
    counted, _ = act(module("policies").pausing(3), curves, budget=6 * 3 + 2 * 6)
    assert counted == {0: 9, 1: 9, 2: 3, 3: 3, 4: 3, 5: 3}
    # with a budget for three starts and one promotion
    assert act(module("policies").pausing(3), curves, budget=3 * 3 + 6)[0] == {0: 9, 1: 3, 2: 3}


def test_what_asha_would_have_killed_is_thawed():
    """Three good trials come before four bad ones: ASHA stops the third at its rung, pausing brings it back."""
    curves = [[0.9] * 9, [0.8] * 9, [0.7] * 9] + [[0.1] * 9] * 6
    killed, _ = act(module("policies").stopping("asha", grace=3), curves)
    assert killed[1] == killed[2] == 3
    thawed, _ = act(module("policies").pausing(3), curves, budget=9 * 3 + 3 * 6)
    assert thawed[0] == thawed[1] == thawed[2] == 9


def test_pausing_with_budget_left_ends_with_all_trained():
    assert act(module("policies").pausing(1), [[0.1 * c] * 9 for c in range(5)])[0] == dict.fromkeys(
        range(5), 9
    )


def test_a_race_gives_up_only_what_is_clearly_behind():
    policies = module("policies")
    assert policies.clearly_behind(np.arange(100) >= 5, np.ones(100, bool))  # 5 lost, 0 won: 5 > 2 sqrt(5)
    assert not policies.clearly_behind(np.arange(100) >= 4, np.ones(100, bool))  # 4 = 2 sqrt(4)
    assert not policies.clearly_behind(np.ones(100, bool), np.arange(100) >= 50)
    curves = [[0.9] * 9, [0.89] * 9, [0.6] * 9]
    assert act(policies.race(3), curves)[0] == {0: 9, 1: 9, 2: 3}


def test_a_race_compares_with_the_best_so_far():
    curves = [[0.5] * 9, [0.9] * 9, [0.6] * 9]
    assert act(module("policies").race(3), curves)[0] == {0: 9, 1: 9, 2: 3}


def test_the_best_after_the_first_epochs_go_on():
    curves = [[0.1 * c] * 9 for c in (1, 3, 2)]
    assert act(module("policies").first_epochs(1), curves, budget=3 + 8)[0] == {0: 1, 1: 9, 2: 1}


def test_short_trainings_choose_and_full_ones_rank():
    """What has trained longer is ranked before what has a higher score after its short training, as in a search."""
    curves = [[0.5] * 9, [0.6] + [0.4] * 8, [0.55] + [0.45] * 8]
    counted, outcome = act(module("policies").shorter(0), curves, budget=3 + 9 + 9)
    assert counted == {0: 1, 1: 10, 2: 10}
    assert outcome.ranked == [2, 1, 0]


def test_without_stopping_every_epoch_is_trained_until_the_budget_ends():
    curves = [[0.5] * 9, [0.9] * 9, [0.6] * 9]
    counted, outcome = act(module("policies").no_stopping, curves, budget=20, order=[2, 0, 1])
    assert counted == {2: 9, 0: 9, 1: 2} and outcome.ranked == [2, 0, 1]


def test_of_those_that_were_stopped_the_longer_trained_are_ranked_first():
    curves = [[0.9] * 9, [0.8] * 9, [0.85, 0.85, 0.95] + [0.2] * 6, [0.5] * 9]
    counted, outcome = act(module("policies").stopping("asha"), curves)
    assert counted == {0: 9, 1: 1, 2: 1, 3: 1} and outcome.ranked == [0, 2, 1, 3]


def test_chance_trains_nothing():
    assert act(module("policies").by_chance, [[0.5] * 9] * 3, order=[2, 0, 1])[1] == module("replay").Outcome(
        [2, 0, 1], 0
    )


def test_every_policy_stays_within_its_budget_and_ends():
    rng = np.random.default_rng(0)
    curves = np.sort(rng.random((8, 27)), axis=1).round(2).tolist()
    for name, start in module("policies").POLICIES.items():
        spent = []
        for budget in (1, 40, 10_000):
            _, outcome = act(start, curves, budget, lengths=[27, 27, 27])
            spent.append(outcome.cost)
            assert len(set(outcome.ranked)) == len(outcome.ranked), name
        assert spent == sorted(spent) and (spent[0] == 1 or name == "by chance"), name
