"""What no flag has set follows what one has; what somebody has set is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from tune_digits.errors import ConfigError
from tune_digits.study import Study, make_study, parse_yaml
from tune_digits.study_fit import SMOKE, smoke_overrides


def study_of(text: str, overrides: dict[str, Any]) -> Study:
    origins = {"train.epochs": "--epochs", "cv.folds": "--folds"}
    return make_study(parse_yaml(text, "my.yaml"), "my.yaml", "my", overrides, origins)


def test_the_grace_period_follows_epochs_of_a_flag() -> None:
    study = study_of("search: {grace_period: 6}", {"train.epochs": 2})
    assert study.search.grace_period == 2 == study.raw["search"]["grace_period"]
    assert study.notes == ("--epochs 2: search.grace_period is 2 instead of 6",)
    assert study_of("search: {grace_period: 6}", {"train.epochs": 7}).search.grace_period == 6
    assert study_of("{}", {"train.epochs": 3}).notes == ()


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("{}", {"train.epochs": 2, "search.grace_period": 4}),
        ("{}", {"search.grace_period": 9}),
        ("{search: {grace_period: 6}, trial: {train: {epochs: 2}}}", {}),
        ("{search: {grace_period: 6}, trial: {train: {epochs: 2}}}", {"cv.folds": 3}),
    ],
)
def test_what_one_source_says_must_agree(text: str, overrides: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"search\.grace_period is \d, more than train\.epochs \d"):
        study_of(text, overrides)


def test_folds_follow_the_number_of_folds_of_a_flag() -> None:
    text = "{search: {fold: 4}, confirm: {folds: 5}}"
    study = study_of(text, {"cv.folds": 3})
    assert (study.search.fold, study.confirm.folds) == (2, 3)
    assert study.notes == (
        "--folds 3: search.fold is 2 instead of 4",
        "--folds 3: confirm.folds is 3 instead of 5",
    )
    assert study_of(text, {"cv.holdout": 0.2}).confirm.folds == 1
    with pytest.raises(ConfigError, match=r"--set confirm\.folds=5"):
        study_of("{}", {"cv.folds": 3, "confirm.folds": 5})


@pytest.mark.parametrize(
    ("off_last", "epochs", "expected"),
    [
        ("3", 2, 1),
        ("1", 2, 1),
        ("{choice: [0, 2, 4]}", 1, {"choice": [0]}),
        ("{choice: [0, 2, 4]}", 4, {"choice": [0, 2, 3]}),
        ("{randint: [0, 6]}", 3, {"randint": [0, 3]}),
        ("{randint: [0, 3]}", 5, {"randint": [0, 3]}),
        ("{randint: [0, 3]}", 3, {"randint": [0, 3]}),
        ("{randint: [2, 6]}", 2, {"choice": [1]}),
    ],
)
def test_some_epoch_still_mixes(off_last: str, epochs: int, expected: Any) -> None:
    mix = f"{{mixup_alpha: 1, off_last: {off_last}}}"
    for trial in (f"{{mix: {mix}}}", f"{{mix: {{one_of: [{mix}, {{p: 0}}]}}}}"):
        raw = study_of(f"trial: {trial}", {"train.epochs": epochs}).raw["trial"]["mix"]
        assert raw.get("one_of", [raw])[0]["off_last"] == expected


def test_points_follow_too() -> None:
    text = """
        trial: {mix: {mixup_alpha: 1, off_last: {choice: [0, 2]}}}
        baseline: {mix.off_last: 2}
        start: [{mix: {off_last: 2}}]
    """
    space = study_of(text, {"train.epochs": 2}).space
    assert space.baseline == {"mix.off_last": 1} == space.start[0]


def test_smoke_gives_way_to_flags() -> None:
    assert smoke_overrides({}) == SMOKE
    rest = smoke_overrides({"search.trials": 5, "trial.train.epochs": 2})
    assert rest == {k: v for k, v in SMOKE.items() if k not in ("search.trials", "train.epochs")}
