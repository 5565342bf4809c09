"""The baseline and the start points: which branch they take, what the defaults fill in, and what is refused."""

from __future__ import annotations

import optuna
import pytest

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.space.domains import Choice
from tune_digits.space.points import complete
from tune_digits.space.space import make_space
from tune_digits.space.tree import OneOf

# two branches of one name, as for a search of small and large learning rates
TWICE = {
    "optimizer": {
        "one_of": [
            {"name": "sgd", "lr": {"loguniform": [0.1, 1]}, "momentum": 0.9},
            {"name": "adamw", "lr": {"loguniform": [1e-4, 1e-2]}},
            {"name": "sgd", "lr": {"loguniform": [0.001, 0.2]}, "momentum": {"uniform": [0.5, 0.99]}},
        ]
    },
    "augment": {"rotate": {"uniform": [0, 30]}},
}
UNNAMED = {
    "augment": {"one_of": [{"rotate": {"uniform": [5, 30]}}, {"shift": {"uniform": [0.1, 0.2]}, "rotate": 3}]}
}


def taken(trial: dict, point: dict) -> dict:
    """Optuna's parameters of a start point."""
    space = make_space(trial, {}, [point], "a.yaml")
    params, tree = space.point(space.start[0])
    TrialConfig.model_validate(tree)
    return params


def refused(trial: dict, point: dict) -> str:
    with pytest.raises(ConfigError) as error:
        make_space(trial, {}, [{}, point], "a.yaml")
    with pytest.raises(ConfigError):
        make_space(trial, point, [], "a.yaml")
    message = str(error.value)
    assert message.startswith("a.yaml: start[1]")
    return message.removeprefix("a.yaml: start[1]: ")


# ── which branch ─────────────────────────────────────────────────────────────────────────────────────


def test_branches_of_one_name_are_told_apart() -> None:
    node = make_space(TWICE, {}, [], "a.yaml").parameters()["optimizer.name"]
    assert isinstance(node, OneOf)
    assert node.labels == ("sgd#0", "adamw", "sgd#2")


@pytest.mark.parametrize(
    ("point", "label"),
    [
        ({"optimizer.name": "sgd#0"}, "sgd#0"),
        ({"optimizer.name": "sgd#2"}, "sgd#2"),
        ({"optimizer": {"name": "sgd#2", "lr": 0.1}}, "sgd#2"),
        ({"optimizer.name": "adamw"}, "adamw"),
        # a plain name: the first branch in which the other keys are allowed
        ({"optimizer.name": "sgd"}, "sgd#0"),
        ({"optimizer.name": "sgd", "optimizer.lr": 0.15}, "sgd#0"),
        ({"optimizer.name": "sgd", "optimizer.lr": 0.05}, "sgd#2"),
        ({"optimizer.name": "sgd", "optimizer.momentum": 0.6}, "sgd#2"),
        ({"optimizer.name": "sgd", "optimizer.lr": 0.15, "optimizer.momentum": 0.6}, "sgd#2"),
        # keys of other parts do not matter
        ({"optimizer.name": "sgd", "augment.rotate": 3}, "sgd#0"),
        # no name: TrialConfig's default
        ({}, "adamw"),
        ({"optimizer.lr": 0.001}, "adamw"),
    ],
    ids=str,
)
def test_a_point_takes_the_branch_that_it_means(point: dict, label: str) -> None:
    params = taken(TWICE, point)
    assert params["optimizer.name"] == label
    assert f"optimizer.{label}.lr" in params


def test_the_branch_that_is_meant_is_the_one_that_optuna_hands_out() -> None:
    points = [
        {"optimizer.name": "sgd#2", "optimizer.lr": 0.15},
        {"optimizer.name": "sgd", "optimizer.lr": 0.15},
    ]
    space = make_space(TWICE, points[0], points, "a.yaml")
    study = optuna.create_study()
    for point in (space.baseline, *space.start):
        study.enqueue_trial(space.point(point)[0])
    trees = [space.suggest(study.ask()) for _ in range(3)]
    assert [(t["optimizer"]["name"], t["optimizer"]["lr"], t["optimizer"]["momentum"]) for t in trees] == [
        ("sgd", 0.15, 0.9)
    ] * 3
    labels = [space.point(point)[0]["optimizer.name"] for point in (space.baseline, *space.start)]
    assert labels == ["sgd#2", "sgd#2", "sgd#0"]


@pytest.mark.parametrize(
    ("point", "label"),
    [({}, "0"), ({"augment.name": "1"}, "1"), ({"augment.name": 1, "augment.shift": 0.15}, "1")],
    ids=str,
)
def test_branches_without_names_have_numbers(point: dict, label: str) -> None:
    assert taken(UNNAMED, point)["augment.name"] == label


def test_a_branch_that_does_not_exist_is_refused_with_the_nearest() -> None:
    message = refused(TWICE, {"optimizer.name": "adam"})
    assert message == (
        "optimizer.name: no branch is named 'adam'; did you mean 'adamw'? Branches: sgd#0, adamw, sgd#2"
    )
    assert "no branch is named 'sgd#1'" in refused(TWICE, {"optimizer.name": "sgd#1"})
    assert "no branch is named '2'" in refused(UNNAMED, {"augment.name": "2"})


def test_where_no_branch_of_the_name_fits_each_says_what_it_allows() -> None:
    message = refused(TWICE, {"optimizer.name": "sgd", "optimizer.lr": 5})
    assert message == (
        "no branch named sgd allows optimizer.lr 5: sgd#0 has optimizer.lr loguniform 0.1 .. 1; "
        "sgd#2 has optimizer.lr loguniform 0.001 .. 0.2"
    )
    message = refused(TWICE, {"optimizer.name": "sgd", "optimizer.lr": 0.5, "optimizer.momentum": 0.6})
    assert message == (
        "no branch named sgd allows optimizer.momentum 0.6, optimizer.lr 0.5: "
        "sgd#0 has optimizer.momentum not searched; sgd#2 has optimizer.lr loguniform 0.001 .. 0.2"
    )


@pytest.mark.parametrize(
    ("trial", "point", "words"),
    [
        # a value of another branch's domain is not moved into this one's
        (TWICE, {"optimizer.lr": 0.5}, "lr with optimizer.name adamw: 0.5 lies outside its domain loguniform 0.0001"),
        (TWICE, {"optimizer.name": "sgd#2", "optimizer.lr": 0.5}, "the nearest allowed value is 0.2"),
        (TWICE, {"optimizer.name": "sgd#0", "optimizer.momentum": 0.6}, "optimizer.momentum is not searched with"),
        (TWICE, {"optimizer.momentum": 0.6}, "is not searched with optimizer.name adamw, which this point takes"),
        (UNNAMED, {"augment.shift": 0.15}, "augment.shift is not searched with augment.name 0"),
        (TWICE, {"augment.rotat": 3}, "did you mean 'augment.rotate'? Searched: optimizer.name, optimizer.lr, "),
        (TWICE, {"optimizer": {"name": "adamw", "beta1": 0.9}}, "optimizer.beta1 is not searched"),
        (TWICE, {"augment.rotate": 31}, "31 lies outside its domain uniform 0 .. 30; the nearest allowed value is 30"),
        (TWICE, {"augment.rotate": "x"}, "'x' is no number; the domain is uniform 0 .. 30"),
        ({"mix": {"p": {"quniform": [0, 1, 0.1]}}}, {"mix.p": 0.45}, "the nearest allowed value is 0.4"),
        ({"loss": {"name": {"choice": ["focal"]}}}, {"loss.name": "fokal"}, "did you mean 'focal'?"),
        ({}, {"loss.name": "focal"}, "loss.name is not searched. Searched: nothing"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_point_says_is_taken_as_it_stands_or_refused(trial: dict, point: dict, words: str) -> None:
    assert words in refused(trial, point)


def test_a_point_that_makes_no_valid_trial_is_refused() -> None:
    """The ends are checked one and two at a time; three that forbid each other are found where a point has them."""
    values = {"choice": [1, 0, 2]}
    trial = {"mix": {"mixup_alpha": 1, "mixup_weight": values, "cutmix_alpha": values, "fmix_alpha": values}}
    point = {"mix.mixup_weight": 0, "mix.cutmix_alpha": 0, "mix.fmix_alpha": 0}
    assert "mixup_weight: all that are on weigh 0" in refused(trial, point)


# ── what the defaults fill in ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("trial", "point", "params"),
    [
        # of the variant that is taken
        ({"optimizer": {"name": "sgd", "lr": {"loguniform": [0.01, 1]}}}, {}, {"optimizer.lr": 0.05}),
        ({"optimizer": {"name": "lamb", "lr": {"loguniform": [0.001, 1]}}}, {}, {"optimizer.lr": 0.01}),
        ({"optimizer": {"lr": {"loguniform": [0.001, 1]}}}, {}, {"optimizer.lr": 0.002}),
        # of the variant that is searched, in whatever order the keys stand
        (
            {"optimizer": {"lr": {"loguniform": [0.001, 1]}, "name": {"choice": ["adamw", "sgd"]}}},
            {"optimizer.name": "sgd"},
            {"optimizer.lr": 0.05, "optimizer.name": "sgd"},
        ),
        (
            {"optimizer": {"name": {"choice": ["sgd", "lamb"]}, "lr": {"loguniform": [0.001, 1]}}},
            {},
            {"optimizer.lr": 0.05, "optimizer.name": "sgd"},
        ),
        # next to the default where the domain leaves it out
        ({"optimizer": {"name": "adamw", "lr": {"loguniform": [0.01, 0.1]}}}, {}, {"optimizer.lr": 0.01}),
        ({"optimizer": {"name": "adamw", "lr": {"loguniform": [0.0001, 0.001]}}}, {}, {"optimizer.lr": 0.001}),
        ({"model": {"width": {"qrandint": [12, 60, 12]}}}, {}, {"model.width": 36}),
        ({"model": {"width": {"choice": [8, 16]}}}, {}, {"model.width": 8}),
        ({"model": {"width": {"choice": [8, 32]}}}, {}, {"model.width": 32}),
        ({"augment": {"ps": {"rotate": {"uniform": [0.25, 0.5]}}}}, {}, {"augment.ps.rotate": 0.25}),
        ({"loss": {"head_weights": {"choice": [[1, 2], []]}}}, {}, {"loss.head_weights": "[1, 2]"}),
        # what is given is not moved, and spelled as the domain spells it
        ({"model": {"width": {"qrandint": [12, 60, 12]}}}, {"model.width": 24.0}, {"model.width": 24}),
        ({"augment": {"rotate": {"uniform": [0, 30]}}}, {"augment.rotate": "1e1"}, {"augment.rotate": 10.0}),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_said_is_the_default_or_next_to_it(trial: dict, point: dict, params: dict) -> None:
    found = taken(trial, point)
    assert found == params
    assert all(type(found[name]) is type(value) for name, value in params.items())


def test_a_librarys_network_is_not_exchanged_for_the_default_one_of_that_library() -> None:
    # the tree alone: a space would import torchvision to check the names
    names = Choice(("torchvision:vgg11", "torchvision:resnet18"))
    tree = {"model": {"name": names, "dropout": Choice((0.1, 0.0))}}
    assert complete(tree, {})[0] == {"model.name": "torchvision:vgg11", "model.dropout": 0.0}


def test_a_mapping_among_the_choices_is_given_whole() -> None:
    trial = {"loss": {"choice": [{"name": "cross_entropy"}, {"name": "focal", "gamma": 3.0}]}}
    space = make_space(trial, {"loss": {"name": "focal", "gamma": 3.0}}, [], "a.yaml")
    params, tree = space.point(space.baseline)
    assert params == {"loss": '{"name": "focal", "gamma": 3.0}'}
    assert TrialConfig.model_validate(tree).loss.gamma == 3.0
    assert {config.loss.name for config in space.ends()} == {"cross_entropy", "focal"}
