"""When a schedule changes the learning rate: at every update, every so many, or between epochs; cycles in updates."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from small_training import config_of, training
from torch.optim import lr_scheduler

from tune_digits.config import Train, variants
from tune_digits.config.schedule import (
    Cosine,
    CosineRestarts,
    Exponential,
    OneCycle,
    Schedule,
    StepEpochs,
    Triangular,
)
from tune_digits.learn.schedule import SCHEDULES, ends_within_cycle, multiplier, snapshot_epochs

GRADUAL = sorted(name for name, cls in variants(Schedule).items() if "change_every" in cls.model_fields)


def curve(config: Any, steps: int, per_epoch: int) -> list[float]:
    return [multiplier(config, step, per_epoch, steps, []) for step in range(steps)]


def stepped(make: Any, lr: float, updates: int, every: int) -> list[float]:
    """The rate of each update where a scheduler of PyTorch is stepped after every so many updates."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimizer)
    rates = []
    for update in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (update + 1) % every == 0:
            scheduler.step()
    return rates


def test_classify_leaves_restarts_after_20_updates_then_40_then_80() -> None:
    """R4: CosineAnnealingWarmRestarts(T_0=10, T_mult=2), stepped every second batch, SGD at 0.01."""
    config = CosineRestarts(first=20, unit="updates", growth=2, change_every=2)
    theirs = stepped(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2), 0.01, 400, every=2
    )
    for per_epoch in (7, 460):  # epochs do not matter
        ours = [0.01 * rate for rate in curve(config, 400, per_epoch)]
        assert ours == pytest.approx(theirs, abs=1e-12)
    assert [i for i, rate in enumerate(theirs) if rate == 0.01 and i % 2 == 0] == [0, 20, 60, 140, 300]


def test_digits_torchvision_falls_to_three_quarters_after_each_epoch() -> None:
    """R2: Adam at 1e-3, ExponentialLR(gamma=0.75) stepped once in an epoch."""
    per_epoch, epochs = 9, 12
    theirs = stepped(lambda o: lr_scheduler.ExponentialLR(o, 0.75), 1e-3, per_epoch * epochs, per_epoch)
    ours = curve(Exponential(factor=0.75, change_every="epoch"), per_epoch * epochs, per_epoch)
    assert [1e-3 * rate for rate in ours] == pytest.approx(theirs, rel=1e-12)
    assert ours == [0.75 ** (step // per_epoch) for step in range(per_epoch * epochs)]


def test_the_third_of_kannada_has_five_rates() -> None:
    """R0: RMSprop at 0.0025; 0.25 times as much from epoch 35, again from 43 and 48, 1e-5 from 52, of 56."""
    config = StepEpochs(milestones=(35, 43, 48, 52), factors=(0.25, 0.25, 0.25, 0.256))
    steps = 58  # 60,000 // 1024
    rates = [0.0025 * rate for rate in curve(config, 56 * steps, steps)]
    by_epoch = [0.0025] * 35 + [0.0025 / 4] * 8 + [0.0025 / 16] * 5 + [0.0025 / 64] * 4 + [1e-5] * 4
    assert rates == pytest.approx([rate for rate in by_epoch for _ in range(steps)])


@pytest.mark.parametrize("every", [3, "epoch"])
@pytest.mark.parametrize("name", GRADUAL)
def test_a_rate_changes_only_where_it_may_and_begins_and_ends_alike(name: str, every: int | str) -> None:
    per_epoch, steps, warmup = 5, 45, 5
    period = per_epoch if every == "epoch" else every
    plain = variants(Schedule)[name](warmup_epochs=1)
    config = plain.model_copy(update={"change_every": every})
    rates, gradual = curve(config, steps, per_epoch), curve(plain, steps, per_epoch)
    rest = rates[warmup:]
    assert all(rate == rest[i - i % period] for i, rate in enumerate(rest))
    assert len(set(rest)) > 2
    assert rates[: warmup + 1] == pytest.approx(gradual[: warmup + 1], rel=0.35)
    if name == "cosine":
        assert rest[-1] == pytest.approx(gradual[-1], abs=1e-9)  # the last change reaches the schedule's end


def test_cosine_between_epochs_reaches_its_end_in_the_last_epoch() -> None:
    rates = curve(Cosine(final=0.1, change_every="epoch"), 20, 5)
    halves = [0.1 + 0.9 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in range(4)]
    assert rates == pytest.approx([rate for rate in halves for _ in range(5)])


def test_one_cycle_in_one_epoch_has_one_rate() -> None:
    assert len(set(curve(OneCycle(change_every="epoch"), 5, 5))) == 1


def test_triangular_counts_updates() -> None:
    by_epochs = curve(Triangular(cycle=2), 60, 10)
    assert curve(Triangular(cycle=20, unit="updates"), 60, 7) == pytest.approx(by_epochs)


def test_the_rate_arrives_at_the_optimizer() -> None:
    schedule = {"name": "cosine_restarts", "first": 4, "unit": "updates", "change_every": 2}
    _, epochs = training({"schedule": schedule, "optimizer": {"lr": 0.1}})  # three updates in an epoch
    assert [r.lr for r in epochs] == pytest.approx([0.05, 0.1, 0.1, 0.05])
    assert SCHEDULES.keys() >= set(GRADUAL)


@pytest.mark.parametrize("bad", [0, 1.5, "update"])
def test_other_steps_are_refused(bad: Any) -> None:
    with pytest.raises(ValidationError, match="change_every"):
        Cosine(change_every=bad)


# ── snapshots ────────────────────────────────────────────────────────────────────────────────────────


def test_snapshots_need_cycles_of_epochs() -> None:
    with pytest.raises(ValidationError, match="cycles that are counted in updates"):
        config_of({"train": {"snapshots": True}, "schedule": {"name": "cosine_restarts", "unit": "updates"}})


@pytest.mark.parametrize(
    ("config", "epochs", "snapshots", "within"),
    [
        (CosineRestarts(first=10, growth=2), 34, (10, 30), True),
        (CosineRestarts(first=10, growth=2), 30, (10,), False),
        (CosineRestarts(first=10, growth=2), 8, (), False),
        (Triangular(cycle=3), 10, (3, 6, 9), True),
        (Cosine(), 10, (), False),
    ],
)
def test_a_training_may_end_within_a_cycle(
    config: Any, epochs: int, snapshots: tuple[int, ...], within: bool
) -> None:
    train = Train(epochs=epochs, snapshots=True)
    assert snapshot_epochs(config, train) == snapshots
    assert ends_within_cycle(config, train) is within
    assert not ends_within_cycle(config, Train(epochs=epochs))
