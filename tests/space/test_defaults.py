"""A space holds every default, and is written as a study file from which the same space loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tune_digits.config import TrialConfig
from tune_digits.space.space import make_space
from tune_digits.study import load_study

SPACES = sorted((Path(__file__).parent.parent.parent / "search_spaces").glob("**/*.yaml"))


def written(trial: dict[str, Any]) -> dict[str, Any]:
    return make_space(trial, {}, [], "a.yaml").written()


def test_what_is_left_out_is_written_with_its_default() -> None:
    assert written({}) == TrialConfig().model_dump(mode="json")


def test_searched_keys_stay_domains_and_texts_become_numbers() -> None:
    tree = written({"optimizer": {"name": "sgd", "lr": {"loguniform": ["1e-2", 1]}, "momentum": "9e-1"}})
    assert tree["optimizer"]["lr"] == {"loguniform": [0.01, 1.0]}
    assert tree["optimizer"]["momentum"] == 0.9
    assert tree["optimizer"]["nesterov"] is True
    assert list(tree["optimizer"])[:3] == ["name", "lr", "momentum"]


def test_every_branch_has_the_defaults_of_its_own_name() -> None:
    tree = written(
        {"optimizer": {"one_of": [{"name": "sgd"}, {"name": "adamw", "lr": {"choice": [0.1, 0.2]}}]}}
    )
    sgd, adamw = tree["optimizer"]["one_of"]
    assert "momentum" in sgd and "momentum" not in adamw
    assert (sgd["lr"], adamw["lr"]) == (0.05, {"choice": [0.1, 0.2]})


def test_where_the_name_is_searched_only_what_all_names_share_is_written() -> None:
    part = written({"optimizer": {"name": {"choice": ["sgd", "adamw"]}}})["optimizer"]
    assert part["name"] == {"choice": ["sgd", "adamw"]}
    assert "clip_norm" in part and "lr" not in part and "momentum" not in part


@pytest.mark.parametrize("file", SPACES, ids=lambda path: path.stem)
def test_a_shipped_space_written_and_read_again_is_the_same(file: Path) -> None:
    space = load_study(file).space
    again = make_space(space.written(), space.baseline, list(space.start), "again.yaml")
    assert again == space
    assert again.written() == space.written()
