"""The search's own keys: what has no effect with a sampler or a scheduler, or does not go with it, is refused."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from tune_digits.config import Search
from tune_digits.config.study import USED_WITH

OTHER = {"startup_trials": 5, "grace_period": 2, "reduction_factor": 4, "min_samples": 5}  # than the default


@pytest.mark.parametrize("key", USED_WITH)
def test_a_key_is_refused_with_each_name_with_which_it_has_no_effect(key: str) -> None:
    by, used = USED_WITH[key]
    for name in get_args(Search.model_fields[by].annotation):
        given: dict[str, Any] = {by: name, key: OTHER[key]}
        if name in used:
            assert getattr(Search(**given), key) == OTHER[key]
            assert key not in Search(**given).unused()
        else:
            with pytest.raises(ValidationError, match=f"{key} has no effect with {by} {name}"):
                Search(**given)
            # its default may be written down, as a resolved study does
            Search(**{by: name, key: Search.model_fields[key].default})


def test_two_objectives_stop_nothing() -> None:
    assert Search(sampler="nsga2").scheduler == "none"
    assert Search().scheduler == "asha"
    with pytest.raises(ValidationError, match="scheduler median compares trials by the score alone"):
        Search(sampler="nsga2", scheduler="median")
    with pytest.raises(ValidationError, match="needs 2 at least"):
        Search(sampler="nsga2", startup_trials=1)


def test_unknown_names_are_refused() -> None:
    for given in ({"sampler": "bayes"}, {"scheduler": "pbt"}, {"min_samples": 0}):
        with pytest.raises(ValidationError):
            Search.model_validate(given)
