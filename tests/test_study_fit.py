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


def test_whole_batches_follow_a_subset_of_a_flag() -> None:
    text = "trial: {train: {drop_last: true, batch_size: 1024}}"
    study = study_of(text, {"data.subset": 200})
    assert study.raw["trial"]["train"]["batch_size"] == 50
    assert study.notes == ("--set data.subset=200: train.batch_size is 50 instead of 1024",)
    for unchanged in (
        study_of(text, {"data.subset": 200, "train.batch_size": 150}),
        study_of(text, {"data.subset": 4096}),
        study_of(text.replace("drop_last: true, ", ""), {"data.subset": 200}),
        study_of(f"{{data: {{subset: 200}}, {text}}}", {"train.epochs": 9}),
    ):
        assert unchanged.raw["trial"]["train"]["batch_size"] in (150, 1024) and unchanged.notes == ()


def test_smoke_gives_way_to_flags() -> None:
    assert smoke_overrides({}) == SMOKE
    rest = smoke_overrides({"search.trials": 5, "trial.train.epochs": 2})
    assert rest == {k: v for k, v in SMOKE.items() if k not in ("search.trials", "train.epochs")}


# ── other samplers and schedulers than the file's ────────────────────────────────────────────────────

ASHA = "search: {startup_trials: 4, grace_period: 6, reduction_factor: 2}"


def test_what_has_no_effect_with_the_scheduler_of_a_flag_is_left_out() -> None:
    study = study_of(ASHA, {"search.scheduler": "none"})
    assert (study.search.grace_period, study.search.reduction_factor, study.search.startup_trials) == (
        1,
        3,
        4,
    )
    assert study.notes == (
        "--set search.scheduler=none: search.grace_period 6 has no effect and is left out",
        "--set search.scheduler=none: search.reduction_factor 2 has no effect and is left out",
    )
    assert study_of(ASHA, {"search.scheduler": "median"}).search.grace_period == 6
    assert study_of(ASHA, {"search.sampler": "random"}).notes == (
        "--set search.sampler=random: search.startup_trials 4 has no effect and is left out",
    )


def test_nsga2_by_a_flag_brings_its_scheduler_along() -> None:
    study = study_of(ASHA, {"search.sampler": "nsga2"})
    assert (study.search.scheduler, study.search.startup_trials, len(study.notes)) == ("none", 4, 2)
    assert study.notes[0].startswith("--set search.sampler=nsga2: search.grace_period 6")
    with pytest.raises(ConfigError, match="scheduler asha compares trials by the score alone"):
        study_of("search: {scheduler: asha}", {"search.sampler": "nsga2"})


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("search: {scheduler: none, grace_period: 6}", {}),
        ("search: {scheduler: none}", {"search.grace_period": 6}),
        ("{}", {"search.scheduler": "none", "search.grace_period": 6}),
        ("search: {scheduler: none, grace_period: 6}", {"search.sampler": "random"}),
    ],
)
def test_what_has_no_effect_by_one_source_is_refused(text: str, overrides: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="grace_period has no effect with scheduler none: leave it out"):
        study_of(text, overrides)


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median", "none"])
def test_a_study_loads_again_with_each_scheduler(scheduler: str) -> None:
    study = study_of(f"search: {{scheduler: {scheduler}}}", {})
    assert study_of(study.to_yaml(), {}).search == study.search
