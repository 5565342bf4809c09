"""Every point of a finite space once, in the order of the file, with the keys of its own branches only."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from tune_digits.errors import ConfigError
from tune_digits.space.grid import grid_points, grid_size
from tune_digits.space.parse import parse_tree
from tune_digits.space.space import Space, config_key, make_space

BRANCHES = {
    "optimizer": {
        "one_of": [
            {"name": "sgd", "lr": {"choice": [0.1, 0.2]}, "nesterov": {"choice": [False, True]}},
            {"name": "adamw"},
            {"name": "lamb", "lr": {"quniform": [0.01, 0.03, 0.01]}},
        ]
    },
    "augment": {"rotate": {"choice": [0, 10]}},
}


def space_of(trial: dict[str, Any], baseline: Any = None, start: Any = None) -> Space:
    return make_space(trial, baseline or {}, start or [], "a.yaml")


def test_points_are_those_of_nested_loops_in_the_order_of_the_file() -> None:
    expected = []
    for name, inner in (
        ("sgd", [{"lr": lr, "nesterov": n} for lr in (0.1, 0.2) for n in (False, True)]),
        ("adamw", [{}]),
        ("lamb", [{"lr": lr} for lr in (0.01, 0.02, 0.03)]),
    ):
        for own in inner:
            for rotate in (0, 10):
                keys = {f"optimizer.{name}.{key}": value for key, value in own.items()}
                expected.append({"optimizer.name": name, **keys, "augment.rotate": rotate})
    tree = space_of(BRANCHES).tree
    assert [params for params, _ in grid_points(tree)] == expected
    assert grid_size(tree) == len(expected) == 16


def test_a_space_without_anything_searched_is_one_point() -> None:
    space = space_of({})
    assert space.size == 1
    assert [params for params, _ in space.configurations()] == [{}]


def test_baseline_and_start_points_come_first_and_once() -> None:
    start = [{"optimizer.name": "lamb", "optimizer.lr": 0.02}, {"optimizer.name": "adamw"}]
    space = space_of(BRANCHES, {"optimizer.name": "adamw"}, start)
    found = list(space.configurations())
    assert found[0][0] == {"optimizer.name": "adamw", "augment.rotate": 0}
    # the second start point is the baseline
    assert found[1][0] == {"optimizer.name": "lamb", "optimizer.lamb.lr": 0.02, "augment.rotate": 0}
    assert found[2][0] == {
        "optimizer.name": "sgd",
        "optimizer.sgd.lr": 0.1,
        "optimizer.sgd.nesterov": False,
        "augment.rotate": 0,
    }
    assert len(found) == len({config_key(config) for _, config in found}) == 16


def test_branches_that_are_equal_are_one_configuration() -> None:
    twice = {
        "optimizer": {"one_of": [{"name": "sgd", "lr": 0.1}, {"name": "sgd", "lr": {"choice": [0.1, 0.2]}}]}
    }
    space = space_of(twice)
    assert space.size == 3
    assert [config.optimizer.lr for _, config in space.configurations()] == [0.1, 0.2]


def test_a_continuous_key_makes_a_space_infinite() -> None:
    space = space_of({"augment": {"rotate": {"uniform": [0, 30]}, "shift": {"quniform": [0, 0.2, 0.1]}}})
    assert space.size is None
    assert [(key, str(domain)) for key, domain in space.continuous().items()] == [
        ("augment.rotate", "uniform 0 .. 30")
    ]
    # also where it is in one branch only
    some = {"optimizer": {"one_of": [{"name": "sgd"}, {"name": "adamw", "lr": {"uniform": [0.1, 0.2]}}]}}
    assert space_of(some).size is None
    with pytest.raises(ValueError, match=r"augment\.rotate is continuous"):
        list(space.configurations())


def test_a_point_that_is_no_valid_configuration_is_refused_where_it_is_met() -> None:
    """Not all of them are seen when a space is loaded."""
    tree = parse_tree(
        {"optimizer": {"name": "sgd", "momentum": {"choice": [0.9, 0.0]}, "nesterov": True}}, "a.yaml", {}
    )
    found = Space(tree, {}, ()).configurations()
    assert next(found)[1].optimizer.momentum == 0.9
    with pytest.raises(ConfigError, match=r"nesterov.*, optimizer\.momentum 0\.0"):
        next(found)


def test_a_large_grid_is_not_written_out() -> None:
    space = space_of(
        {
            "train": {"batch_size": {"randint": [2, 60_000]}, "epochs": 3},
            "augment": {"rotate": {"randint": [0, 90]}},
        }
    )
    assert space.size == 59_998 * 90
    assert len(list(islice(space.configurations(), 5))) == 5
