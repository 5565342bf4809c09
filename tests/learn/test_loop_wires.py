"""Each wire of the loop: what one part computes arrives where it is used. One test each, failing for its own reason."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small_training import (
    CPU,
    HEADS,
    IMAGES,
    PROBA,
    TARGETS,
    TRAIN,
    K,
    config_of,
    training,
)
from torch import Tensor, nn

from tune_digits.learn import batch_loss, loop, losses, seeds
from tune_digits.learn.batches import Batch
from tune_digits.learn.device import to_device
from tune_digits.learn.ema import ema_decay_at
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.optim import set_lr
from tune_digits.learn.predict import predict_logits
from tune_digits.learn.schedule import multiplier

AUGMENT = {"rotate": 20, "shift": 0.1}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[Batch]]:
    """The passes over data that trainings make while a test runs, each with its batches."""
    seen: list[list[Batch]] = []
    original = loop.batches

    def recording(*args: Any, **kwargs: Any) -> Iterator[Batch]:
        seen.append([])
        for batch in original(*args, **kwargs):
            seen[-1].append(batch)
            yield batch

    monkeypatch.setattr(loop, "batches", recording)
    return seen


def run(change: dict[str, Any], seed: int = 0, fold: int = 0) -> None:
    config = config_of(change)
    state = start_training(config, IMAGES, np.arange(TRAIN), K, seed, fold, CPU)
    data = to_device(IMAGES, PROBA, TARGETS, CPU)
    list(fit(state, config, data, torch.arange(TRAIN), seed=seed, fold=fold))


def pixels(batches: list[Batch]) -> Tensor:
    return torch.cat([batch.images for batch in batches])


# ── random numbers ───────────────────────────────────────────────────────────────────────────────────


def test_each_epoch_has_a_shuffle_and_augmentation_of_its_own_and_both_replay(passes) -> None:
    run({"train": {"epochs": 3}}, seed=5)
    plain = [pixels(batches) for batches in passes]
    # all samples, in three orders
    rows = torch.from_numpy(IMAGES[:TRAIN]).float().div(255).flatten(1).sum(1).sort().values
    for epoch in plain:
        torch.testing.assert_close(epoch.flatten(1).sum(1).sort().values, rows)
    assert not any(torch.equal(plain[i], plain[j]) for i, j in [(0, 1), (1, 2), (0, 2)])

    passes.clear()
    run({"train": {"epochs": 3}, "augment": AUGMENT}, seed=5)
    augmented = [pixels(batches) for batches in passes]
    # the same order, and other changes of the same images: sorted by the order that epoch 1 had
    assert [len(epoch) for epoch in augmented] == [TRAIN] * 3
    angles = [(a - b).abs().mean((1, 2, 3)) for a, b in zip(augmented, plain, strict=True)]
    assert all((change > 0).any() for change in angles)
    by_image = [
        change[epoch.flatten(1).sum(1).argsort()] for change, epoch in zip(angles, plain, strict=True)
    ]
    assert not any(torch.allclose(by_image[i], by_image[j]) for i, j in [(0, 1), (1, 2), (0, 2)])

    passes.clear()
    run({"train": {"epochs": 3}, "augment": AUGMENT}, seed=5)
    assert all(torch.equal(pixels(again), first) for again, first in zip(passes, augmented, strict=True))


def test_seed_and_fold_and_purpose_seed_each_for_themselves() -> None:
    state = start_training(config_of({}), IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    numbers = [
        loop.Training(state, torch.arange(3), seed, fold).seed_of(epoch, purpose)
        for seed in (0, 1)
        for fold in (0, 1)
        for epoch in (0, 1)
        for purpose in (seeds.TRAINING, seeds.SWA_ROWS, seeds.SWA_BATCHES)
    ]
    assert len(set(numbers)) == 24


def test_seed_and_fold_give_other_initial_weights() -> None:
    def first(seed: int, fold: int) -> Tensor:
        state = start_training(config_of({}), IMAGES, np.arange(TRAIN), K, seed, fold, CPU)
        return next(state.model.parameters())

    assert torch.equal(first(3, 1), first(3, 1))
    assert not torch.equal(first(3, 1), first(3, 2))
    assert not torch.equal(first(3, 1), first(4, 1))


def test_dropout_draws_other_numbers_in_each_epoch(monkeypatch) -> None:
    seen: list[int] = []
    forward = nn.Dropout.forward

    def recording(self: nn.Dropout, values: Tensor) -> Tensor:
        if self.training:
            seen.append(torch.initial_seed())
        return forward(self, values)

    monkeypatch.setattr(nn.Dropout, "forward", recording)
    run({"model": {"dropout": 0.5}, "train": {"epochs": 3}}, seed=5, fold=2)
    expected = [seeds.derive_seed(5, 2, epoch, seeds.TRAINING) for epoch in range(3)]
    assert seen == [seed for seed in expected for _ in range(3)]  # three batches each


def test_mixing_is_off_in_the_last_epochs(passes) -> None:
    run({"mix": {"mixup_alpha": 1.0, "off_last": 2}})
    hard = [
        set(torch.cat([b.targets for b in batches]).unique().tolist()) == {0.0, 1.0} for batches in passes
    ]
    assert hard == [False, False, True, True]


# ── the step ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_update_has_the_schedules_rate(monkeypatch) -> None:
    rates: list[float] = []

    def recording(optimizer: torch.optim.Optimizer, lr: float) -> None:
        rates.append(lr)
        set_lr(optimizer, lr)

    monkeypatch.setattr(loop, "set_lr", recording)
    state, epochs = training({"schedule": {"name": "one_cycle"}, "optimizer": {"lr": 0.2}})
    reports = list(epochs)
    config = config_of({"schedule": {"name": "one_cycle"}})
    expected = [0.2 * multiplier(config.schedule, step, 3, 12, []) for step in range(12)]
    assert rates == pytest.approx(expected)
    assert [r.lr for r in reports] == pytest.approx(expected[2::3])
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(expected[-1])
    assert state.step == 12


def test_plateau_sees_the_losses_so_far() -> None:
    plateau = {"name": "plateau", "patience": 0, "factor": 0.5, "min_delta": 0.9}
    _, epochs = training({"schedule": plateau, "optimizer": {"lr": 0.01}})
    # no epoch is ten times as good as the one before, so that the rate is halved after each but the first
    assert [r.lr for r in epochs] == pytest.approx([0.01, 0.01, 0.005, 0.0025])


def test_gradients_are_those_of_one_batch_alone() -> None:
    """Two updates of plain SGD, written out."""
    change = {"train": {"epochs": 1, "batch_size": 45}}
    state, epochs = training(change)
    list(epochs)
    twin = start_training(config_of(change), IMAGES, np.arange(TRAIN), K, 0, 0, CPU).model.train()
    order = torch.randperm(
        TRAIN, generator=torch.Generator().manual_seed(seeds.derive_seed(0, 0, 0, seeds.TRAINING))
    )
    for rows in order.split(45):
        logits = twin(torch.from_numpy(IMAGES)[rows].float() / 255)
        each = losses.loss_per_sample(logits, torch.from_numpy(PROBA)[rows], config_of(change).loss, HEADS)
        gradients = torch.autograd.grad(each.mean(), list(twin.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                parameter -= 0.05 * gradient
    for ours, theirs in zip(state.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_training_loss_is_a_mean_over_samples(monkeypatch) -> None:
    seen: list[tuple[float, int]] = []
    reduce = batch_loss.reduce

    def recording(each: Tensor, *args: Any) -> Tensor:
        value = reduce(each, *args)
        seen.append((value.item(), len(each)))
        return value

    monkeypatch.setattr(batch_loss, "reduce", recording)
    _, epochs = training({"train": {"epochs": 1, "batch_size": 26}})
    (report,) = epochs
    sizes = [size for _, size in seen]
    assert sizes == [23, 23, 22, 22]
    assert report.train_loss == pytest.approx(np.average([v for v, _ in seen], weights=sizes), rel=1e-6)
    assert report.train_loss != pytest.approx(np.mean([v for v, _ in seen]), rel=1e-6)


def test_ohem_counts_epochs_from_0(monkeypatch) -> None:
    kept: list[int] = []
    topk = Tensor.topk

    def recording(self: Tensor, k: int) -> Any:
        kept.append(k)
        return topk(self, k)

    monkeypatch.setattr(Tensor, "topk", recording)
    knobs = {"reduction": "ohem", "ohem_rate": 0.8, "ohem_start": 1, "ohem_decay": 2.0, "ohem_min": 0.1}
    training_state, epochs = training({"loss": knobs, "train": {"batch_size": TRAIN}})
    assert len(list(epochs)) == 4 == training_state.step
    falls = [0, 0, 1, 2]  # epochs after ohem_start
    assert kept == [round(0.8 * np.exp(-n / 2) * TRAIN) for n in falls]


# ── averages ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_moving_average_follows_judges_and_is_kept(monkeypatch) -> None:
    change = {"train": {"ema_decay": 0.6, "epochs": 2, "snapshots": True}, "optimizer": {"lr": 0.3}}
    change["schedule"] = {"name": "cosine_restarts", "first": 1}
    state, epochs = training(change)
    expected = copy.deepcopy(state.model)
    step = type(state.optimizer).step

    def recording(optimizer: torch.optim.Optimizer, closure: Any = None) -> Any:
        out = step(optimizer, closure)
        decay = ema_decay_at(state.step, 0.6)
        with torch.no_grad():
            for average, value in zip(expected.parameters(), state.model.parameters(), strict=True):
                average.lerp_(value, 1 - decay)
        return out

    monkeypatch.setattr(type(state.optimizer), "step", recording)
    first = next(epochs)
    assert first.epoch == 1
    at_first = copy.deepcopy(expected.state_dict())
    (second,) = epochs
    assert state.best_model is state.ema
    for ours, theirs in zip(state.ema.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    # a snapshot is of the average too
    for name, _ in expected.named_parameters():
        torch.testing.assert_close(state.snapshots[1][name], at_first[name])
    logits = predict_logits(state.ema, torch.from_numpy(IMAGES[TRAIN:]))
    targets = torch.from_numpy(PROBA[TRAIN:])
    valid = -sum((targets[:, h] * logits[:, h].log_softmax(1)).sum(1).mean() for h in HEADS) / 2
    assert second.valid_loss == pytest.approx(valid.item(), rel=1e-5)


def test_swa_averages_the_moving_average_where_there_is_one() -> None:
    state, epochs = training({"train": {"ema_decay": 0.9, "swa_start": 0.5}, "optimizer": {"lr": 0.3}})
    ends = []
    for report in epochs:
        if report.epoch >= 3:
            ends.append(copy.deepcopy(state.ema))
    for name, ours in state.swa.named_parameters():
        mean = torch.stack([end.get_parameter(name) for end in ends]).mean(0)
        torch.testing.assert_close(ours, mean)


def test_swas_statistics_are_of_many_rows_and_changed_as_in_training(passes) -> None:
    state, epochs = training({"train": {"swa_start": 0.5}, "augment": AUGMENT})
    list(epochs)
    # two epochs without, two with a pass for the statistics after them
    assert [len(pixels(batches)) for batches in passes] == [TRAIN] * 6
    last = passes[-1]
    assert len(last) == 3
    with torch.no_grad():
        first_norm = next(m for m in state.swa.modules() if isinstance(m, nn.BatchNorm2d))
        seen: list[Tensor] = []
        handle = first_norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        for batch in last:
            state.swa(batch.images)
        handle.remove()
    means = torch.stack([maps.mean((0, 2, 3)) for maps in seen]).mean(0)
    torch.testing.assert_close(first_norm.running_mean, means)
    # not the images of training: random numbers of their own
    assert not torch.equal(pixels(passes[-1]), pixels(passes[-2]))


# ── what is judged ───────────────────────────────────────────────────────────────────────────────────


def test_validation_is_of_the_rows_it_is_given() -> None:
    config = config_of({"train": {"epochs": 1}})
    data = to_device(IMAGES, PROBA, TARGETS, CPU)
    rows = torch.arange(TRAIN, TRAIN + 11)
    state = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    (report,) = fit(state, config, data, torch.arange(TRAIN), rows, seed=0)
    logits = predict_logits(state.model, torch.from_numpy(IMAGES)[rows])
    right = [(logits[:, h].argmax(1) == data.targets[rows][:, h].argmax(1)).float().mean() for h in HEADS]
    assert report.score == pytest.approx(torch.stack(right).mean().item())
    assert report.images_per_second == pytest.approx(TRAIN / report.seconds)


def test_without_validation_nothing_is_judged() -> None:
    config = config_of({"train": {"epochs": 1}})
    state = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    (report,) = fit(state, config, to_device(IMAGES, PROBA, TARGETS, CPU), torch.arange(TRAIN), seed=0)
    assert report.score is report.valid_loss is None


def test_after_a_validation_the_network_is_in_training_mode_again() -> None:
    state, epochs = training({"train": {"epochs": 2}})
    modes: list[bool] = []
    state.model.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    list(epochs)
    assert modes == [True, True, True, False] * 2  # three batches, then the validation
