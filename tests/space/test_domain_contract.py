"""One contract for every domain: what is suggested, given, printed, stored and taken up again is one and the same.

A new row in DOMAINS needs an example here; everything else follows.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from statistics import mean

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from tune_digits.config import TrialConfig
from tune_digits.space.domains import DOMAINS, Choice, Range, parse_domain
from tune_digits.space.space import make_space
from tune_digits.space.tree import OneOf, flatten
from tune_digits.study import make_study, parse_yaml

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Case:
    """A domain where a trial can have it: `args` at `key`, with what has to stand beside it."""

    name: str
    key: str
    args: list
    ends: tuple
    allowed: tuple = ()
    outside: tuple = ()
    beside: dict = field(default_factory=dict)

    def domain(self):
        return parse_domain(self.name, self.args)

    def tree(self, value) -> dict:
        """A trial with `value` at the key."""
        part, *inner, leaf = self.key.split(".")
        default = getattr(getattr(TrialConfig(), part), "name", None)
        named = {} if default is None else {"name": default}
        below = {leaf: value}
        for name in reversed(inner):
            below = {name: below}
        return {part: {**named, **self.beside, **below}}

    def trial(self) -> dict:
        return self.tree({self.name: self.args})

    def space(self, *start):
        return make_space(self.trial(), {}, [{self.key: value} for value in start], "a.yaml")

    def __str__(self) -> str:
        return f"{self.name}-{self.key}"


CASES = [
    Case("uniform", "augment.rotate", [0, 30], (0.0, 30.0), (0.1, 12, 29.999), (-1, 31, "x", None, True)),
    Case(
        "uniform", "loss.log_zero", ["-1e1", -0.5], (-10.0, -0.5), (-4, "-2e0"), (0, -11),
        beside={"name": "symmetric_cross_entropy"},
    ),
    Case("uniform", "augment.p", [0.1234567, 0.987654321], (0.1234567, 0.987654321), (0.5,), (0.1234566, 0.98765433)),
    Case("quniform", "augment.shift", [0, 0.2, 0.05], (0.0, 0.2), (0.05, 0.1, 0.15, 3 * 0.05), (0.16, 0.21, -0.05)),
    Case("quniform", "augment.gamma", [0.1, 1.9, 0.1], (0.1, 1.9), (0.3, 0.7, 1.1), (0.0, 0.35, 2.0)),
    Case("quniform", "augment.rotate", [0, 30, 1], (0.0, 30.0), (7,), (7.5, float("nan"), -1)),
    Case("loguniform", "optimizer.lr", ["1e-4", 1], (0.0001, 1.0), ("1e-3", 0.01, 0.5), (0, 0.00009, 2, float("nan"))),
    Case("qloguniform", "optimizer.lr", [0.05, 1, 0.05], (0.05, 1.0), (0.05, 0.1, 0.35), (0.053, 0.0, 1.05)),
    Case("randint", "model.width", [4, 9], (4, 8), (4, 5.0, "6", 8), (9, 3, 4.5, 6 + 1e-10, True)),
    Case("randint", "mix.off_last", [0, 1], (0, 0), (0,), (1,)),
    Case("qrandint", "model.width", [8, 64, 8], (8, 64), (16, 24.0), (12, 60, 72, 0)),
    Case("lograndint", "train.batch_size", [16, 257], (16, 256), (17, 32), (15, 257)),
    Case("qlograndint", "train.batch_size", [32, 256, 16], (32, 256), (96, 112.0), (40, 272, 0)),
    Case("choice", "loss.name", ["cross_entropy", "focal"], ("cross_entropy", "focal"), (), ("fokal", None, 1)),
    Case("choice", "optimizer.weight_decay", [0.0, "1e-2", 1], (0.0, "1e-2", 1), (0, 1.0), (0.5, "0")),
    Case("choice", "optimizer.centralize", [True, False], (True, False), (1, 0.0), ("true", None)),
    Case("choice", "train.batch_size", [16, 32], (16, 32), (16.0,), (64, True)),
    Case("choice", "augment.ps.rotate", [None, 0.5], (None, 0.5), (), (0, "none")),
    Case("choice", "loss.head_weights", [[], [0.5, 0.5], [1, 2]], ([], [0.5, 0.5], [1, 2]), ([1.0, 2],), ([1], 1)),
    Case("choice", "augment.ps", [{}, {"rotate": 0.5}], ({}, {"rotate": 0.5}), (), ({"rotate": 0.4},)),
]  # fmt: skip
each = pytest.mark.parametrize("case", CASES, ids=str)
RANGES = [case for case in CASES if case.name != "choice"]


def draw(case: Case, count: int) -> list:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    values = []
    for _ in range(count):
        values.append(case.domain().suggest(study.ask(), "x"))
    return values


def same(value, other) -> bool:
    """Equal, and of one type: True is not 1 here, and 1.0 is not 1."""
    return type(value) is type(other) and value == other


def test_every_domain_has_its_examples() -> None:
    assert {case.name for case in CASES} == set(DOMAINS)


@each
def test_what_random_search_suggests_is_allowed_and_spelled_as_the_domain_spells_it(case: Case) -> None:
    domain = case.domain()
    for value in draw(case, 200):
        assert domain.allows(value)
        assert same(domain.nearest(value), value)


@each
def test_both_ends_are_allowed_reached_and_valid_in_a_trial(case: Case) -> None:
    domain = case.domain()
    assert len(domain.ends()) == len(case.ends) and all(map(same, domain.ends(), case.ends))
    for end in case.ends:
        assert domain.allows(end) and same(domain.nearest(end), end)
        assert same(domain.suggest(FixedTrial({"x": domain.label(end)}), "x"), end)
    configs = list(case.space().ends())
    for end in case.ends:
        assert TrialConfig.model_validate(case.tree(end)) in configs
    if not isinstance(domain, Range) or (domain.step or domain.whole):
        drawn = draw(case, 400)
        assert all(any(same(end, value) for value in drawn) for end in case.ends)


@each
def test_given_values_are_fixed_and_others_go_to_the_nearest(case: Case) -> None:
    domain = case.domain()
    for value in (*case.ends, *case.allowed):
        assert domain.allows(value)
        fixed = domain.nearest(value)
        assert math.isclose(float(value), fixed) if isinstance(domain, Range) else value == fixed
        assert any(same(fixed, v) for v in case.ends) or isinstance(domain, Range)
    for value in case.outside:
        assert not domain.allows(value)
        assert domain.allows(domain.nearest(value))
        assert same(domain.nearest(domain.nearest(value)), domain.nearest(value))


@each
def test_labels_are_what_optuna_can_store_and_lead_back(case: Case) -> None:
    domain = case.domain()
    for value in case.ends:
        label = domain.label(value)
        assert label is None or isinstance(label, (str, int, float, bool))
        assert same(domain.unlabel(label), value)
        assert same(json.loads(json.dumps(label)), label)


@each
def test_a_point_that_is_given_comes_back_from_optuna_exactly(case: Case, tmp_path) -> None:
    domain = case.domain()
    given_values = (*case.ends, *case.allowed)
    space = case.space(*given_values)
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna.journal"))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(journal))
    for point in (space.baseline, *space.start):
        study.enqueue_trial(space.point(point)[0])
    assert space.suggest(study.ask()) == space.point(space.baseline)[1]
    for value, point in zip(given_values, space.start, strict=True):
        trial = study.ask()
        tree = space.suggest(trial)
        assert tree == space.point(point)[1]
        wanted = TrialConfig.model_validate(case.tree(domain.nearest(value)))
        assert TrialConfig.model_validate(tree) == wanted
        assert same(flatten(tree, [case.key])[case.key], domain.nearest(value))
        assert trial.params == space.point(point)[0] == {case.key: domain.label(domain.nearest(value))}


@each
def test_a_domain_written_back_is_the_same_domain(case: Case) -> None:
    domain = case.domain()
    ((name, args),) = domain.written().items()
    assert parse_domain(name, json.loads(json.dumps(args))) == domain


@each
def test_the_values_of_a_finite_domain_are_counted_and_gone_through(case: Case) -> None:
    domain = case.domain()
    if domain.size is None:
        assert isinstance(domain, Range) and not domain.whole and domain.step is None
        return
    indices = range(domain.size) if domain.size < 1000 else (0, domain.size - 1)
    values = [domain.at(i) for i in indices]
    assert all(domain.allows(v) and same(domain.nearest(v), v) for v in values)
    assert (values[0], values[-1]) == (domain.ends()[0], domain.ends()[-1])
    assert len({json.dumps(v) for v in values}) == len(values)
    if isinstance(domain, Range) and len(values) == domain.size:
        assert values == sorted(values)
        step = domain.step or 1
        assert all(math.isclose(b - a, step) for a, b in pairwise(values))


@each
def test_a_value_outside_is_refused_in_words(case: Case) -> None:
    for value in case.outside:
        words = case.domain().refusal(value)
        assert repr(value) in words and str(case.domain()) in words
        if isinstance(case.domain(), Range) and isinstance(value, float):
            assert float(words.rpartition("the nearest allowed value is ")[2]) == case.domain().nearest(value)


@each
def test_a_printed_domain_shows_its_name_and_ends(case: Case) -> None:
    domain = case.domain()
    shown = str(domain)
    assert shown.startswith(case.name)
    if isinstance(domain, Range):
        name, low, dots, high, *step = shown.split()
        assert (name, dots) == (domain.kind, "..")
        assert (float(low), float(high)) == domain.ends()
        assert ([float(step[1])] if step else [None]) == [domain.step]
    else:
        assert shown == "choice " + " | ".join(map(str, case.ends))


@each
def test_a_study_writes_the_domain_that_it_read(case: Case) -> None:
    study = make_study({"trial": case.trial()}, "a.yaml", "a")
    text = study.to_yaml()
    again = make_study(parse_yaml(text, "b.yaml"), "b.yaml", "b")
    assert again.raw == study.raw
    assert again.space == study.space
    assert same(again.space.parameters()[case.key].ends(), case.domain().ends())
    assert again.to_yaml() == text


@each
def test_optuna_knows_the_domain_as_what_it_is(case: Case) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    domain = case.domain()
    domain.suggest(trial, "x")
    known = trial.distributions["x"]
    if isinstance(domain, Choice):
        assert known == CategoricalDistribution(domain.labels)
    elif domain.whole:
        step = 1 if domain.log or domain.step is None else domain.step
        assert known == IntDistribution(*domain.ends(), log="log" in case.name, step=step)
    else:
        step = None if domain.log else domain.step
        assert known == FloatDistribution(*domain.ends(), log="log" in case.name, step=step)


@pytest.mark.parametrize("case", RANGES, ids=str)
def test_logarithmic_domains_are_drawn_evenly_on_a_logarithmic_scale(case: Case) -> None:
    low, high = case.domain().ends()
    if low == high:
        return
    middle = math.sqrt(low * high) if "log" in case.name else (low + high) / 2
    values = draw(case, 1000)
    # half of what lies in the middle itself belongs to each side; the seed is fixed
    below = mean((value < middle) + (value == middle) / 2 for value in values)
    assert 0.44 < below < 0.56


@pytest.mark.parametrize("case", RANGES, ids=str)
def test_types_are_those_of_the_name(case: Case) -> None:
    domain = case.domain()
    kind = int if "int" in case.name else float
    for value in (*domain.ends(), *draw(case, 20), *map(domain.nearest, (*case.allowed, *case.outside))):
        assert type(value) is kind


@pytest.mark.parametrize("case", RANGES, ids=str)
def test_ray_tune_means_the_same_by_the_name(case: Case) -> None:
    sample = pytest.importorskip("ray.tune.search.sample")
    numpy = pytest.importorskip("numpy")
    args = [float(a) if isinstance(a, str) else a for a in case.args]
    theirs = getattr(sample, case.name)(*args)
    ours = case.domain()
    drawn = numpy.asarray(theirs.sample(size=4000, random_state=numpy.random.RandomState(0))).tolist()
    assert all(ours.allows(value) for value in drawn)
    if ours.whole or ours.step:
        assert {ours.nearest(value) for value in drawn} >= set(ours.ends())


# ── what cannot be a domain ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("uniform", [0], r"uniform needs \[low, high\], got \[0\]"),
        ("uniform", [0, 1, 2], r"uniform needs \[low, high\]"),
        ("uniform", {"low": 0, "high": 1}, r"uniform needs \[low, high\]"),
        ("quniform", [0, 1], r"quniform needs \[low, high, step\]"),
        ("uniform", ["a", 1], "needs numbers"),
        ("uniform", [False, True], "needs numbers"),
        ("uniform", [0, None], "needs numbers"),
        ("uniform", [0, float("inf")], "finite"),
        ("uniform", [float("nan"), 1], "finite"),
        ("uniform", [1, 1], "low < high"),
        ("randint", [3, 2], "low < high"),
        ("randint", [3, 8.5], "whole numbers"),
        ("qrandint", [0, 8, 0.5], "whole numbers"),
        ("loguniform", [0, 1], "low > 0"),
        ("lograndint", [0, 8], "low > 0"),
        ("qloguniform", [-0.1, 1, 0.1], "low > 0"),
        ("quniform", [0, 1, 0], "more than 0"),
        ("quniform", [0, 1, 2], "at most high - low"),
        ("quniform", [0.02, 0.19, 0.05], r"multiples of its step 0\.05, got .*; the nearest are 0 and 0\.2"),
        ("qloguniform", [0.01, 1, 0.05], r"the nearest are 0\.05 and 1"),
        ("qloguniform", [0.12, 1, 0.05], r"the nearest are 0\.1 and 1"),
        ("qrandint", [10, 64, 8], "the nearest are 8 and 64"),
        ("qlograndint", [8, 60, 8], "the nearest are 8 and 64"),
        ("qrandint", [4, 8, 1], r"write randint: \[4, 9\] to include it, or \[4, 8\]"),
        ("qlograndint", [4, 8, 1], r"write lograndint: \[4, 9\]"),
        ("choice", [], "needs a list of values"),
        ("choice", "ab", "needs a list of values"),
        ("choice", [1, 2, 1.0], r"one value twice: 1 and 1\.0"),
        ("choice", [True, 1], "one value twice: True and 1"),
        ("choice", [[1], [1.0]], "one value twice"),
        ("choice", ["[1, 2]", [1, 2]], r"one value twice: '\[1, 2\]' and \[1, 2\]"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_domain_are_refused_in_words(name, args, words) -> None:
    with pytest.raises(ValueError, match=words):
        parse_domain(name, args)


# ── any numbers ──────────────────────────────────────────────────────────────────────────────────────

steps = st.integers(1, 5000).map(lambda n: Decimal(n) / 1000)


@st.composite
def ranges(draw) -> Range:
    name = draw(st.sampled_from([name for name in DOMAINS if name != "choice"]))
    low = draw(st.integers(1 if "log" in name else -500, 500))
    high = low + draw(st.integers(1, 500))
    if "int" in name:
        step = draw(st.integers(2, 20)) if name.startswith("q") else 1
        args = [low * step, high * step]
        return parse_domain(name, [*args, step] if name.startswith("q") else args)
    step = draw(steps)
    args = [float(low * step), float(high * step)]
    return parse_domain(name, [*args, float(step)] if name.startswith("q") else args)


@settings(max_examples=200, deadline=None)
@given(ranges(), st.floats(-3e4, 3e4), st.integers(0, 2**31))
def test_any_range_keeps_the_contract(domain: Range, anything: float, seed: int) -> None:
    value = domain.nearest(anything)
    assert domain.allows(value) and same(domain.nearest(value), value)
    assert domain.low <= value <= domain.high
    step = 0 if not (domain.step or domain.whole) else domain.step or 1
    if domain.low <= anything <= domain.high:
        assert abs(value - anything) <= step / 2 * 1.000001
    if domain.step:
        assert value == float(Decimal(str(domain.step)) * round(value / domain.step))
    assert same(domain.suggest(FixedTrial({"x": value}), "x"), value)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    suggested = domain.suggest(trial, "x")
    assert domain.allows(suggested) and same(domain.nearest(suggested), suggested)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text("ab1", max_size=2)
)
values = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(st.text("ab", max_size=2), scalars)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(values, min_size=1, max_size=5))
def test_any_choice_keeps_the_contract_or_is_refused_for_a_value_given_twice(args: list) -> None:
    twice = any(a == b for i, a in enumerate(args) for b in args[:i])
    try:
        domain = parse_domain("choice", args)
    except ValueError as error:
        assert twice or any(isinstance(a, str) for a in args), error
        return
    assert not twice
    for value in args:
        assert same(domain.unlabel(domain.label(value)), value)
        assert same(domain.suggest(FixedTrial({"x": domain.label(value)}), "x"), value)


def test_a_branching_keeps_the_contract_too() -> None:
    """suggest, label and both ends of a OneOf are its labels."""
    branches = [{"name": "sgd", "lr": 0.1}, {"name": "adam"}, {"name": "sgd", "lr": 0.2}]
    space = make_space({"optimizer": {"one_of": branches}}, {}, [{"optimizer.name": "sgd#2"}], "a.yaml")
    node = space.parameters()["optimizer.name"]
    assert isinstance(node, OneOf) and node.labels == ("sgd#0", "adam", "sgd#2")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {space.suggest(study.ask())["optimizer"].get("lr") for _ in range(40)}
    assert seen == {0.1, 0.002, 0.2}
    for label, branch in zip(node.labels, branches, strict=True):
        assert space.suggest(FixedTrial({"optimizer.name": label}))["optimizer"].items() >= branch.items()
