"""The study file and its space: what is accepted, what is refused and in which words."""

from __future__ import annotations

import optuna
import pytest

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.space.domains import Range
from tune_digits.space.space import make_space
from tune_digits.space.tree import OneOf, flatten, parameters
from tune_digits.study import make_study, parse_yaml

EXAMPLE = """
trial:
  model: {name: lean_cnn, bn_momentum: {loguniform: [1e-2, 0.5]}, width: {qrandint: [8, 64, 8]}}
  augment: {rotate: {uniform: [0, 30]}, shift: {quniform: [0, 0.2, 0.05]}}
  loss: {name: {choice: [cross_entropy, focal]}}
  optimizer:
    one_of:
      - {name: sgd, lr: {loguniform: [0.01, 1.0]}, momentum: {uniform: [0.8, 0.99]}, nesterov: true}
      - {name: rmsprop, lr: {loguniform: [1e-4, 1e-2]}, alpha: 0.9}
baseline: {optimizer.name: rmsprop, augment.rotate: 5}
start: [{optimizer: {name: sgd, lr: 0.3}}]
"""


def study_of(text: str, **overrides):
    return make_study(parse_yaml(text, "my.yaml"), "my.yaml", "my", overrides)


def test_every_suggestion_is_a_valid_config_inside_its_domain() -> None:
    space = study_of(EXAMPLE).space
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(60):
        trial = study.ask()
        config = TrialConfig.model_validate(space.suggest(trial))
        study.tell(trial, 0.0)
        seen.add((config.optimizer.name, config.loss.name))
        assert 0.01 <= config.model.bn_momentum <= 0.5
        assert config.model.width % 8 == 0
        assert config.augment.shift / 0.05 == pytest.approx(round(config.augment.shift / 0.05))
        low, high = (0.01, 1.0) if config.optimizer.name == "sgd" else (1e-4, 1e-2)
        assert low <= config.optimizer.lr <= high
    assert len(seen) == 4


def test_the_rates_of_two_optimizers_are_two_parameters() -> None:
    names = study_of(EXAMPLE).space.parameters()
    assert {"optimizer.sgd.lr", "optimizer.rmsprop.lr", "optimizer.name"} <= set(names)
    assert "optimizer.lr" in study_of(EXAMPLE).space.searched()


def test_the_baseline_takes_defaults_where_it_says_nothing() -> None:
    space = study_of(EXAMPLE).space
    params, tree = space.point(space.baseline)
    assert params == {
        "model.bn_momentum": 0.1,
        "model.width": 32,
        "augment.rotate": 5.0,
        "augment.shift": 0.0,
        "loss.name": "cross_entropy",
        "optimizer.name": "rmsprop",
        "optimizer.rmsprop.lr": 0.001,
    }
    assert TrialConfig.model_validate(tree).optimizer.alpha == 0.9


def test_a_default_outside_the_domain_becomes_the_nearest_allowed_value() -> None:
    space = study_of("trial: {optimizer: {name: adamw, lr: {loguniform: [0.01, 0.1]}}}").space
    assert space.point({})[0] == {"optimizer.lr": 0.01}


def test_an_enqueued_point_is_what_optuna_hands_out_first() -> None:
    space = study_of(EXAMPLE).space
    study = optuna.create_study()
    for point in (space.baseline, *space.start):
        study.enqueue_trial(space.point(point)[0])
    assert space.suggest(study.ask()) == space.point(space.baseline)[1]
    second = space.suggest(study.ask())
    assert second["optimizer"]["name"] == "sgd"
    assert second["optimizer"]["lr"] == 0.3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "trial: {optimizer: {name: sdg}}",
            ["my.yaml: trial.optimizer.name", "'sdg'", "did you mean 'sgd'", "rmsprop"],
        ),
        (
            "trial: {optimizer: {name: sgd, momentm: 0.9}}",
            ["trial.optimizer.momentm", "did you mean 'momentum'", "lr"],
        ),
        (
            "trial: {augment: {rotate: {unifrom: [0, 30]}}}",
            ["trial.augment.rotate", "did you mean 'uniform'"],
        ),
        (
            "trial: {augment: {rotate: {uniform: [0, 300]}}}",
            ["trial.augment.rotate", "180", "uniform 0 .. 300"],
        ),
        ("trial: {augment: {rotate: {uniform: [30, 0]}}}", ["low < high"]),
        ("trial: {augment: {rotate: {uniform: [0]}}}", ["[low, high]"]),
        ("trial: {augment: {rotate: {uniform: [a, b]}}}", ["needs numbers"]),
        ("trial: {optimizer: {lr: {loguniform: [0, 1]}}}", ["low > 0"]),
        ("trial: {model: {width: {randint: [8.5, 20]}}}", ["whole numbers"]),
        ("trial: {model: {width: {randint: [2, 64]}}}", ["trial.model.width", "greater than or equal to 4"]),
        ("trial: {loss: {name: {choice: []}}}", ["choice needs a list"]),
        ("trial: {loss: {name: {choice: [focal, fokal]}}}", ["'fokal'", "did you mean 'focal'"]),
        ("trial: {optimizer: {lr: {grid_search: [1, 2]}}}", ["grid_search", "choice"]),
        ("trial: {optimizer: {one_of: [sgd, adam]}}", ["one_of needs a list of mappings"]),
        (
            "trial: {optimizer: {one_of: [{name: sgd, momentum: {uniform: [0.5, 1.5]}}, {name: adam}]}}",
            ["trial.optimizer.momentum", "less than 1"],
        ),
        (
            "trial: {optimizer: {one_of: [{name: sgd}, {name: adam, lr: {uniform: [-1, 1]}}]}}",
            ["trial.optimizer.lr", "greater than 0"],
        ),
        ("trial: {train: {epochs: {randint: [1, 5]}}}", ["trial.train.epochs", "cannot be searched"]),
        ("trial: {augment: {pipeline: {transform: 1}}}", ["backend: albumentations"]),
        ("trial: 3", ["must be a mapping"]),
        ("trail: {}", ["trail", "did you mean 'trial'"]),
        ("search: {trails: 3}", ["search.trails", "did you mean 'trials'"]),
        ("search: {fold: 7}", ["search.fold is 7", "0..4"]),
        ("search: {grace_period: 50}", ["grace_period is 50"]),
        ("cv: {score: acuracy}", ["cv.score", "did you mean 'accuracy'"]),
        ("cv: {groups: {rows_per_group: 0}}", ["cv.groups.rows_per_group", "greater than or equal to 1"]),
        ("baseline: {optimizer.lr: 1}", ["baseline", "optimizer.lr is not searched"]),
        (EXAMPLE.replace("augment.rotate: 5", "augment.rotate: 50"), ["baseline", "outside its domain"]),
        (EXAMPLE.replace("lr: 0.3", "lr: 3.0"), ["start[0]", "optimizer.lr", "outside its domain"]),
        ("trial: {one_of: [{train: {epochs: 3}}]}", ["my.yaml: trial", "not all of it at once by one_of"]),
        ("trial: {optimizer: {one_of: []}}", ["one_of needs a list of mappings"]),
        ("trial: {optimizer: {one_of: 3}}", ["one_of needs a list of mappings"]),
        ("trial: {optimizer: {one_of: [{one_of: [{name: sgd}]}]}}", ["one_of[0]: a branch is a mapping"]),
        (
            "trial: {optimizer: {one_of: [{choice: [1, 2]}]}}",
            ["one_of[0]: a branch is a mapping of keys, not choice"],
        ),
        (
            "trial: {model: {one_of: [{name: keras8}, {name: {choice: [simple_m3, simple_m5]}}]}}",
            ["my.yaml: trial.model.one_of[1].name", "one fixed name"],
        ),
        (
            "trial: {optimizer: {one_of: [{name: sgd, lr: {uniform: [1, 0]}}]}}",
            ["my.yaml: trial.optimizer.one_of[0].lr: uniform needs low < high"],
        ),
        (
            "trial: {augment: {shift: {quniform: [0.02, 0.2, 0.05]}}}",
            ["trial.augment.shift", "nearest are 0 and 0.2"],
        ),
        ("trial: {train: {one_of: [{epochs: 5}, {epochs: 9}]}}", ["trial.train.epochs cannot be searched"]),
        ("trial: {train: {choice: [{epochs: 5}, {epochs: 5}]}}", ["one value twice"]),
        ("trial: {train: {choice: [{epochs: 5}, {epochs: 6}]}}", ["trial.train.epochs cannot be searched"]),
    ],
)
def test_mistakes_are_named_with_their_place_and_the_way_out(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        study_of(text)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (
            {"mix": {"mixup_alpha": {"uniform": [0, 1]}}, "augment": {"augmix_jsd": {"choice": [0, 12]}}},
            r"use one of them, with mix\.mixup_alpha 1\.0 and augment\.augmix_jsd 12",
        ),
        # neither alone: the rest stands at its first end, where nothing is mixed
        (
            {"mix": {"fmix_alpha": {"uniform": [0, 1]}, "off_last": {"randint": [0, 9]}}},
            r"off_last 8 leaves none of the 8 epochs .*with mix\.fmix_alpha 1\.0 and mix\.off_last 8",
        ),
        # only while a third one stands at its last end
        (
            {
                "mix": {
                    "p": {"uniform": [0, 1]},
                    "fmix_alpha": {"uniform": [0, 1]},
                    "off_last": {"randint": [0, 9]},
                }
            },
            r"off_last 8 leaves none of the 8 epochs",
        ),
    ],
    ids=["two parts", "one part", "three"],
)
def test_two_ends_that_forbid_each_other_are_refused(trial: dict, words: str) -> None:
    for key, part in trial.items():
        for leaf in part:
            alone = {k: {n: v for n, v in p.items() if (k, n) == (key, leaf)} for k, p in trial.items()}
            make_space(alone, {}, [], "a.yaml")
    with pytest.raises(ConfigError, match=words):
        make_space(trial, {}, [], "a.yaml")


def test_ends_in_branches_that_exclude_each_other_are_not_paired() -> None:
    branches = [
        {"name": "sgd", "momentum": {"uniform": [0.5, 0.9]}},
        {"name": "adamw", "beta1": {"uniform": [0.8, 0.9]}},
    ]
    make_space({"optimizer": {"one_of": branches}, "mix": {"p": {"uniform": [0, 1]}}}, {}, [], "a.yaml")


def test_the_epochs_may_stand_in_every_branch_if_they_are_the_same() -> None:
    branches = "trial: {train: {one_of: [{epochs: 5, batch_size: 32}, {epochs: 5, batch_size: 64}]}}"
    assert study_of(branches).epochs == 5
    assert study_of("trial: {train: {one_of: [{batch_size: 32}, {epochs: 8, batch_size: 64}]}}").epochs == 8
    assert study_of("trial: {train: {batch_size: 32}}").epochs == study_of("trial: {}").epochs == 8


def test_what_the_file_does_not_say_is_fixed_at_the_default() -> None:
    space = study_of("trial: {loss: {name: focal, gamma: 1.0}}").space
    assert space.fixed("optimizer.lr") == TrialConfig().optimizer.lr
    assert (space.fixed("loss.name"), space.fixed("loss.gamma")) == ("focal", 1.0)


def test_a_parameter_is_inside_its_branches_whatever_their_names_begin_with() -> None:
    """One label is the beginning of the other, up to a dot: timm has such names."""
    dropout = Range("uniform", 0.0, 0.1, None, whole=False, log=False)
    tree = {"model": OneOf(("timm:a", "timm:a.b"), ({"dropout": dropout}, {"dropout": dropout}))}
    assert {p.name: p.inside for p in parameters(tree)} == {
        "model.name": {},
        "model.timm:a.dropout": {"model.name": "timm:a"},
        "model.timm:a.b.dropout": {"model.name": "timm:a.b"},
    }


def test_branches_inside_branches_are_checked_and_searched() -> None:
    trial = {
        "augment": {
            "one_of": [
                {"rotate": {"uniform": [0, 30]}},
                {
                    "ps": {"one_of": [{"rotate": {"uniform": [0, 0.5]}}, {"shift": {"uniform": [0, 1]}}]},
                    "shift": 0.1,
                },
            ]
        }
    }
    space = make_space(
        trial, {}, [{"augment.name": 1, "augment.ps.name": 1, "augment.ps.shift": 0.3}], "a.yaml"
    )
    assert list(space.parameters()) == [
        "augment.name", "augment.0.rotate", "augment.1.ps.name", "augment.1.ps.0.rotate", "augment.1.ps.1.shift",
    ]  # fmt: skip
    params, tree = space.point(space.start[0])
    assert params == {"augment.name": "1", "augment.1.ps.name": "1", "augment.1.ps.1.shift": 0.3}
    assert TrialConfig.model_validate(tree) == TrialConfig.model_validate(
        {"augment": {"ps": {"shift": 0.3}, "shift": 0.1}}
    )
    assert {config.augment.ps.shift for config in space.ends()} == {None, 0.0, 1.0}
    trial["augment"]["one_of"][1]["ps"]["one_of"][1]["shift"]["uniform"] = [0, 2]
    with pytest.raises(
        ConfigError, match=r"a\.yaml: trial\.augment\.ps\.shift: .* an end of uniform 0 \.\. 2"
    ):
        make_space(trial, {}, [], "a.yaml")


def test_flatten_keeps_values_that_are_mappings_and_other_libraries_trees() -> None:
    pipeline = {"transform": {"p": 1}}
    tree = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None, "augment": {"pipeline": pipeline}}
    rest = {"e": None, "augment.pipeline": pipeline}
    assert flatten(tree) == {"a.b": 1, "a.c.d": [1, 2], **rest}
    assert flatten(tree, ["a.c"]) == {"a.b": 1, "a.c": {"d": [1, 2]}, **rest}
