"""Who may vote, by which rule, and when a declared class balance is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_votes import made
from run_samples import record

from tune_digits.config import Ensemble, TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.ensemble.decide import (
    add_offsets,
    choose_balance,
    choose_rule,
    families_of,
    left_out,
    matched,
    priors_of,
    trainings_of,
)
from tune_digits.ensemble.out_of_fold import gain, soft_votes, votes_by
from tune_digits.ensemble.vote import Ballot, cast
from tune_digits.errors import ConfigError, RunError
from tune_digits.learn.metrics import ACCURACY, Metric

SAME = (0, 0, 0)


# ── who may vote ─────────────────────────────────────────────────────────────────────────────────────


def test_who_makes_the_vote_worse_is_left_out_the_worst_first() -> None:
    seen = made([1.5, 0.2, 1.5, -0.5])
    gone = left_out(seen)
    assert list(gone) == [3, 1]
    assert gone[3].difference > 0.02 and gone[3].verdict == "better"


def test_members_that_are_alike_all_stay_and_one_always_does() -> None:
    assert left_out(made([1.0, 1.0, 1.0])) == {}
    assert left_out(made([1.0])) == {}
    hopeless = left_out(made([-1.0, -1.5, -2.0]))
    assert len(hopeless) <= 2 and 0 not in hopeless


def test_a_gain_within_one_standard_error_costs_no_member_its_vote() -> None:
    within = 0
    for seed in range(40):
        seen = made([1.3, 0.5], rows=100, seed=seed)
        found = [gain(seen, soft_votes(seen.only([place])), soft_votes(seen)) for place in (1, 0)]
        best = max(found, key=lambda own: own.difference)
        within += 0 < best.difference <= best.standard_error
        assert bool(left_out(seen)) == (best.difference > best.standard_error)
    assert within > 0, "no case lies between"


def test_a_weaker_member_that_helps_stays() -> None:
    """Its errors are its own: the vote of three is better than that of the better two."""
    assert left_out(made([1.5, 1.5, 1.2], rows=600)) == {}


def test_every_place_is_used() -> None:
    assert trainings_of(5, 5, 1) == [1] * 5
    assert trainings_of(3, 5, 1) == [2, 2, 1]
    assert trainings_of(1, 5, 2) == [10]
    assert trainings_of(2, 3, 3) == [5, 4]


# ── by which rule ────────────────────────────────────────────────────────────────────────────────────


def test_auto_takes_greedy_where_it_is_told_to_be_better() -> None:
    seen = made([2.0, 0.3, 0.3], rows=400)
    chosen = choose_rule(Ensemble(), seen, 3, SAME)
    assert chosen.ballot.rule == "greedy" and chosen.ballot.weights[0][0] > 0.5
    soft, greedy = chosen.figures
    assert (soft["rule"], greedy["rule"], greedy["verdict"]) == ("soft", "greedy", "better")
    assert greedy["score"] == pytest.approx(soft["score"] + greedy["gain"])
    assert "better" in chosen.why and f"{greedy['gain']:+.4f}" in chosen.why
    np.testing.assert_array_equal(chosen.votes[0], votes_by("greedy", seen, SAME)[0])


def test_auto_is_soft_where_greedy_is_not_told_to_be_better() -> None:
    seen = made([1.0, 1.0, 1.0])
    chosen = choose_rule(Ensemble(), seen, 3, SAME)
    assert chosen.ballot == Ballot("soft", (), (0, 1, 2), SAME)
    assert "cannot tell" in chosen.why or "worse" in chosen.why
    np.testing.assert_array_equal(chosen.votes[0], soft_votes(seen)[0])


def test_a_rule_that_is_named_is_taken_with_its_figures() -> None:
    seen = made([1.0, 1.0, 1.0])
    for rule in ("hard", "rank", "mixed", "weighted", "stacked", "greedy"):
        chosen = choose_rule(Ensemble(vote=rule), seen, 3, (0, 1, 1))
        assert chosen.ballot.rule == rule and chosen.why.startswith("as it was asked for; out of fold")
        assert [f["rule"] for f in chosen.figures] == ["soft", rule]
        assert bool(chosen.ballot.weights) == (rule in ("weighted", "greedy"))
        assert bool(chosen.ballot.stacks) == (rule == "stacked")
    assert choose_rule(Ensemble(vote="soft"), seen, 3, SAME).why == "as it was asked for"


def test_what_cannot_be_learnt_is_said_or_refused() -> None:
    assert choose_rule(Ensemble(), None, 3, SAME).ballot.rule == "soft"
    assert "share no confirmed fold" in choose_rule(Ensemble(), None, 3, SAME).why
    assert choose_rule(Ensemble(vote="hard"), None, 3, SAME).ballot.rule == "hard"
    with pytest.raises(RunError, match="--vote stacked learns from out-of-fold predictions"):
        choose_rule(Ensemble(vote="stacked"), None, 3, SAME)
    one = choose_rule(Ensemble(vote="greedy"), made([1.0]), 1, (0,))
    assert one.ballot.rule == "soft" and "nothing to weigh" in one.why and one.votes is not None
    single = choose_rule(Ensemble(), made([2.0, 0.0], folds=1), 2, (0, 0))
    assert single.ballot.rule == "soft" and "single fold" in single.why
    assert choose_rule(Ensemble(vote="greedy"), made([2.0, 0.0], folds=1), 2, (0, 0)).ballot.rule == "greedy"


def test_families_are_networks_of_one_name() -> None:
    names = ["keras8", "lean_cnn", "keras8"]
    configs = [(n, TrialConfig.model_validate({"model": {"name": name}})) for n, name in enumerate(names)]
    assert families_of(configs) == (0, 1, 0)
    assert families_of([(0, record(0, 0.5).config)]) == (0,)


# ── offsets ──────────────────────────────────────────────────────────────────────────────────────────


def test_offsets_are_used_where_they_are_told_to_help() -> None:
    seen = made([1.0, 1.0], classes=2, rows=600, metric=Metric("macro_recall"))
    rng = np.random.default_rng(0)
    labels = (rng.random((2400, 1)) < 0.1).astype(np.int64)
    cells = []
    for cell in seen.cells:
        logit = 2 * (2 * labels[cell.rows, 0] - 1 + rng.normal(size=(2, 600))) + np.log(0.1 / 0.9)
        one = 1 / (1 + np.exp(-logit[[0, 0]]))  # two that are alike, and calibrated
        cells.append(replace(cell, proba=np.stack([1 - one, one], axis=2)))
    seen = replace(seen, cells=tuple(cells), labels=labels)
    chosen = choose_rule(Ensemble(vote="soft"), seen, 2, (0, 0))
    better, figures = add_offsets(chosen, seen, (0, 0))
    assert figures["used"] and figures["verdict"] == "better" and figures["gain"] > 0.05
    assert better.ballot.offsets[1] > better.ballot.offsets[0]
    by_accuracy = replace(seen, metric=ACCURACY)
    same, figures = add_offsets(chosen, by_accuracy, (0, 0))
    assert same is chosen and not figures["used"]
    assert add_offsets(chosen, None, (0, 0))[1]["used"] is False


# ── a declared class balance ─────────────────────────────────────────────────────────────────────────

ABC = (Target("y", ("a", "b", "c")),)


def test_priors_are_of_every_class_and_sum_to_1() -> None:
    assert priors_of("equal", ABC).tolist() == pytest.approx([1 / 3] * 3)
    assert priors_of({"c": 2, "a": 1, "b": 1}, ABC).tolist() == [0.25, 0.25, 0.5]
    with pytest.raises(ConfigError, match="'d' no such class; it must name every class: a, b, c"):
        priors_of({"a": 1, "b": 1, "c": 1, "d": 1}, ABC)
    with pytest.raises(ConfigError, match="'b' has no prior"):
        priors_of({"a": 1, "c": 1}, ABC)
    with pytest.raises(ConfigError, match="for one target, and there are 2: y, y"):
        priors_of("equal", ABC * 2)


def biased(seed: int = 0):
    """Members that take class 0 for likelier than it is, on rows of which the classes are equally frequent."""
    seen = made([1.0, 1.0], rows=600, seed=seed)
    bias = np.exp(np.array([1.0, 0.0, 0.0], np.float32))
    cells = tuple(
        replace(c, proba=c.proba * bias / (c.proba * bias).sum(2, keepdims=True)) for c in seen.cells
    )
    return replace(seen, cells=cells)


def test_a_balance_is_used_where_it_is_told_to_help() -> None:
    seen, equal = biased(), np.full(3, 1 / 3)
    used, figures = choose_balance(seen, soft_votes(seen), equal, equal, False)
    assert used == "sinkhorn" and figures["figures"]["sinkhorn"]["verdict"] == "better"
    # trained on as many of each class: Bayes' rule changes nothing
    assert figures["figures"]["prior"]["gain"] == pytest.approx(0)
    # trained on more of class 0: it does
    used, _ = choose_balance(seen, soft_votes(seen), equal, np.array([0.576, 0.212, 0.212]), False)
    assert used in ("prior", "sinkhorn")


def test_a_balance_that_does_not_help_is_off_unless_forced() -> None:
    seen, equal = made([1.0, 1.0], rows=600), np.full(3, 1 / 3)
    used, figures = choose_balance(seen, soft_votes(seen), equal, equal, False)
    assert used is None and figures["figures"]["sinkhorn"]["verdict"] == "cannot tell"
    assert choose_balance(seen, soft_votes(seen), equal, equal, True)[0] in ("prior", "sinkhorn")
    # nothing to judge it on
    assert choose_balance(None, None, equal, equal, False)[0] is None
    assert choose_balance(None, None, equal, equal, True)[0] == "sinkhorn"
    lone = replace(seen, labels=np.zeros_like(seen.labels))
    assert choose_balance(lone, soft_votes(lone), equal, equal, False)[0] is None


def test_it_is_judged_on_rows_with_the_declared_distribution() -> None:
    """Members that know the frequencies of the rows are worse once those are taken away, and better where they are not
    those of the test images."""
    seen = made([1.0, 1.0], rows=600, classes=2)
    rng = np.random.default_rng(1)
    labels = (rng.random((2400, 1)) < 0.2).astype(np.int64)
    cells = []
    for cell in seen.cells:
        logit = 2 * (2 * labels[cell.rows, 0] - 1 + rng.normal(size=(2, 600))) + np.log(0.2 / 0.8)
        one = 1 / (1 + np.exp(-logit[[0, 0]]))  # two that are alike, and calibrated
        cells.append(replace(cell, proba=np.stack([1 - one, one], axis=2)))
    seen = replace(seen, cells=tuple(cells), labels=labels)
    trained = np.array([0.8, 0.2])
    used, _ = choose_balance(seen, soft_votes(seen), np.array([0.5, 0.5]), trained, False)
    assert used is not None
    assert choose_balance(seen, soft_votes(seen), trained, trained, False)[0] is None


def test_a_matched_ballot_answers_as_often_as_declared() -> None:
    proba = biased().cells[0].proba
    heads, equal = (slice(0, 3),), np.full(3, 1 / 3)
    ballot = matched(Ballot(offsets=(0.1, 0.0, 0.0)), heads, proba, "sinkhorn", equal, equal)
    assert cast(proba, heads, ballot).mean(0) == pytest.approx(equal, abs=1e-5)
    by_prior = matched(
        Ballot(offsets=(0.1, 0.0, 0.0)), heads, proba, "prior", equal, np.array([0.5, 0.25, 0.25])
    )
    assert by_prior.offsets == pytest.approx((0.1 + np.log(2 / 3), np.log(4 / 3), np.log(4 / 3)))
