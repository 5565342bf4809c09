"""Which trial a name means, and what a member is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from run_samples import record

from tune_digits.config import TrialConfig
from tune_digits.ensemble.names import member_names, names_of, trials_named
from tune_digits.ensemble.retrain import MemberJob, member_jobs
from tune_digits.errors import RunError
from tune_digits.runs import TrialRecord


def trial(number: int, score: float | None = 0.9, **searched: Any) -> TrialRecord:
    return replace(record(number, score), searched={k.replace("__", "."): v for k, v in searched.items()})


NETS = [
    trial(0, model__name="torchvision:resnet18", optimizer__lr=0.1),
    trial(1, model__name="torchvision:resnet34", optimizer__lr=0.1),
    trial(12, model__name="lean_cnn", optimizer__lr=0.2),
]


def test_a_trial_has_a_number_texts_and_pairs_as_names() -> None:
    assert names_of(NETS[0]) == [
        "0", "resnet18", "torchvision:resnet18", "model.name=torchvision:resnet18", "optimizer.lr=0.1",
    ]  # fmt: skip


def test_names_mean_trials_in_their_order() -> None:
    for names, numbers in (
        (["resnet34", "resnet18"], [1, 0]),
        (["12", "torchvision:resnet18"], [12, 0]),
        (["lean_cnn", "model.name=torchvision:resnet34"], [12, 1]),
        (["optimizer.lr=0.2"], [12]),
    ):
        assert [r.number for r in trials_named(names, NETS)] == numbers


def test_a_number_is_that_of_a_trial_before_it_is_a_value() -> None:
    records = [trial(0, data__kind="1"), trial(1, data__kind="0")]
    assert [r.number for r in trials_named(["1", "0"], records)] == [1, 0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["resnet35"], ["--members resnet35", "did you mean 'resnet34'?", "12, lean_cnn"]),
        (["2"], ["--members 2: no trial is called that", "resnet18"]),
        (["optimizer.lr=0.1"], ["means the trials 0, 1; name one of them by its number"]),
        (["resnet18", "0"], ["--members 0: trial 0 is named twice", "--seeds"]),
    ],
)
def test_a_name_that_means_no_single_trial_is_refused(names: list[str], words: list[str]) -> None:
    with pytest.raises(RunError) as error:
        trials_named(names, NETS)
    assert all(word in str(error.value) for word in words)


def test_a_trial_without_a_score_is_refused() -> None:
    with pytest.raises(RunError, match=r"trial 3 has no score \(it is failed\)"):
        trials_named(["3"], [replace(trial(3, None), state="failed")])


def test_members_are_called_by_what_tells_them_apart() -> None:
    def jobs(*numbers: int, seeds: int = 1, snapshots: tuple[int, ...] = ()) -> list[MemberJob]:
        return [
            MemberJob(n, TrialConfig(), seed, f"{n}-{seed}", {e: f"{n}-{seed}-{e}" for e in snapshots})
            for n in numbers
            for seed in range(seeds)
        ]

    assert member_names(jobs(1, 0, 12), NETS) == ["resnet34", "resnet18", "lean_cnn"]
    alike = [*NETS, trial(13, model__name="lean_cnn", augment__backend="albumentations backend")]
    assert member_names(jobs(12, 13), alike) == ["trial12", "albumentations-backend"]
    assert member_names(jobs(0, seeds=2), NETS) == ["resnet18-seed0", "resnet18-seed1"]
    two = jobs(0, 1, snapshots=(3, 5))
    names = member_names(two, NETS)
    assert names[:3] == ["resnet18-epoch3", "resnet18-epoch5", "resnet18"]
    assert len(names) == len(set(names)) == sum(len(job.files) for job in two)


def test_last_weights_that_are_no_member_have_no_name() -> None:
    """A training that ends within a cycle of its schedule gives its snapshots alone."""
    within = TrialConfig.model_validate(
        {
            "schedule": {"name": "cosine_restarts", "first": 2},
            "train": {"epochs": 5, "snapshots": True},
        }
    )
    jobs = member_jobs([(0, within), (1, TrialConfig())], 2, "data")
    names = [
        "resnet18-seed0-epoch2",
        "resnet18-seed0-epoch4",
        "resnet18-seed1-epoch2",
        "resnet18-seed1-epoch4",
    ]
    assert member_names(jobs, NETS) == [*names, "resnet34-seed0", "resnet34-seed1"]
    assert sum(len(job.files) for job in jobs) == 6
