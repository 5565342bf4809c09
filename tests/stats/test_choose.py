"""What is sent in, and which rule decided."""

import numpy as np
import pytest

from tune_digits.stats.choose import Facts, choose
from tune_digits.stats.noise import Noise
from tune_digits.stats.outcomes import Training

QUIET = Noise(0.0, 0.0, 1e9, 1.0)
GROUPS = np.repeat(np.arange(20), 100)


def outcomes(**errors):
    """Each configuration is wrong in the given rows of 2,000."""
    return {
        name: [Training(0, 0, np.arange(2000), np.isin(np.arange(2000), wrong, invert=True) / 2000)]
        for name, wrong in errors.items()
    }


def facts(**roles):
    return {name: Facts(role, 1.0) for name, role in roles.items()}


def chosen(made, known, groups=None):
    return choose(made, known, groups, QUIET, np.random.default_rng(0))


FEW, OTHERS, MANY = range(0, 20), range(30, 51), range(200, 400)


def test_a_score_that_is_told_from_all_others_decides():
    choice = chosen(outcomes(a=FEW, b=MANY), facts(a="search", b="baseline"))
    assert (choice.name, choice.rule, choice.tied) == ("a", "score", ("a",))


def test_the_baseline_first_where_nothing_is_told():
    choice = chosen(outcomes(a=FEW, s=FEW, b=OTHERS), facts(a="search", s="start", b="baseline"))
    assert (choice.name, choice.rule) == ("b", "prior") and set(choice.tied) == {"a", "s", "b"}
    assert "3 configurations cannot be told" in choice.words and "prior" in choice.words
    choice = chosen(outcomes(a=FEW, s=OTHERS, b=MANY), facts(a="search", s="start", b="baseline"))
    assert (choice.name, choice.rule) == ("s", "prior")


NEAR, AHEAD = range(30, 60), range(30, 62)  # 1.4 and 1.65 standard errors behind FEW


def test_another_must_be_ahead_of_the_baseline_by_one_and_a_half_standard_errors():
    known = facts(a="search", b="baseline")
    choice = chosen(outcomes(a=FEW, b=NEAR), known)
    assert (choice.name, choice.rule, len(choice.tied)) == ("b", "prior", 2)
    choice = chosen(outcomes(a=FEW, b=AHEAD), known)
    assert (choice.name, choice.rule, len(choice.tied)) == ("a", "prior", 2)


def test_a_searched_configuration_must_be_as_far_ahead_of_a_start_point():
    known = facts(a="search", s="start", b="baseline")
    assert chosen(outcomes(a=FEW, s=NEAR, b=MANY), known).name == "s"
    assert chosen(outcomes(a=FEW, s=AHEAD, b=MANY), known).name == "a"
    # both are ahead of the baseline, and the better start point stands for all
    two = facts(a="search", s="start", t="start", b="baseline")
    assert chosen(outcomes(a=FEW, s=AHEAD, t=range(100, 121), b=range(130, 163)), two).name == "t"


def test_where_all_of_the_spread_is_noise_the_better_start_point_is_the_one_seen_to_be_better():
    choice = chosen(outcomes(s=range(30, 52), t=FEW), facts(s="start", t="start"))
    assert (choice.name, choice.rule) == ("t", "prior")


def test_the_best_mean_decides_where_the_prior_is_the_same_and_of_equals_the_cheapest():
    known = {"a": Facts("search", 9.0), "c": Facts("search", 2.0), "b": Facts("baseline", 1.0)}
    choice = chosen(outcomes(a=FEW, c=range(300, 400), b=range(500, 700)), known)
    assert (choice.name, choice.rule) == ("a", "score")
    choice = chosen(outcomes(a=FEW, c=range(30, 50), b=MANY), known)
    assert (choice.name, choice.rule) == ("c", "cost")


def test_the_worst_groups_decide_before_the_rest():
    # as many errors: spread over all groups, or all of them in five
    spread, heaped = range(0, 2000, 50), [row for row in range(500) if row % 100 < 8]
    known = facts(a="search", b="baseline")
    choice = chosen(outcomes(a=spread, b=heaped), known, GROUPS)
    assert (choice.name, choice.rule) == ("a", "worst groups") and "worst tenth" in choice.words
    assert chosen(outcomes(a=spread, b=heaped), known).rule == "prior"


def test_the_out_of_domain_score_decides_before_the_prior():
    high, low = np.array([0.90, 0.91, 0.90]), np.array([0.80, 0.80, 0.81])
    known = {"a": Facts("search", 1.0, high), "b": Facts("baseline", 1.0, low)}
    choice = chosen(outcomes(a=FEW, b=OTHERS), known)
    assert (choice.name, choice.rule) == ("a", "out of domain")
    known["b"] = Facts("baseline", 1.0, high + [0.001, -0.002, 0.0])
    assert chosen(outcomes(a=FEW, b=OTHERS), known).name == "b"


def test_what_is_not_told_from_a_baseline_that_lost_is_not_chosen():
    """c is tied with the best and with the baseline, which is told to be worse than the best."""
    known = {"a": Facts("search", 9.0), "c": Facts("start", 1.0), "b": Facts("baseline", 1.0)}
    made = outcomes(a=range(0, 40), c=range(0, 52), b=range(0, 70))
    # nested errors: a-c differ in 12 rows, c-b in 18, a-b in 30; with noise only a-b is told
    choice = choose(made, known, None, Noise(1.2e-5, 0.0, 1e9, 1.0), np.random.default_rng(0))
    assert (choice.name, choice.rule, choice.tied) == ("a", "score", ("a",))


@pytest.mark.parametrize("order", [("a", "s", "b"), ("b", "a", "s"), ("s", "b", "a")])
def test_the_order_of_the_candidates_does_not_matter(order):
    made = outcomes(a=FEW, s=FEW, b=OTHERS)
    known = facts(a="search", s="start", b="baseline")
    assert chosen({name: made[name] for name in order}, known, GROUPS).name == "b"
