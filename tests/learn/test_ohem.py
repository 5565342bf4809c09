"""Hard samples: of a batch as a whole, or of each head and each target of a mixed batch by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loss_samples import generator
from pydantic import ValidationError
from small_training import CPU, HEADS, IMAGES, PROBA, TARGETS, TEACHER, TRAIN, K, config_of, training
from torch import Tensor

from tune_digits.config.loss import CrossEntropy
from tune_digits.learn import mix
from tune_digits.learn.batch_loss import batch_loss, kept_fraction
from tune_digits.learn.batches import Batch, batches
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import start_training
from tune_digits.learn.losses import distillation, jsd_consistency
from tune_digits.learn.seeds import derive_seed

B, OWN = 32, 0.7
SEPARATE: dict[str, Any] = {
    "reduction": "ohem",
    "ohem_form": "separate",
    "ohem_rate": 0.7,
    "ohem_decay": 0,
    "ohem_on": "mixed",
    "head_weights": [0.7, 0.3],
}
MIX = {"mix": {"mixup_alpha": 1.0}}


def some_batch(mixed: bool, teacher: bool = False) -> tuple[Tensor, Batch]:
    """Logits and a batch of B samples, of which the first and the second target sets are the rows' and others'."""
    rows, partners = torch.arange(B), torch.randperm(B, generator=generator())
    targets, given = torch.from_numpy(PROBA)[rows], torch.from_numpy(TEACHER)[rows] if teacher else None
    logits = 2 * torch.randn(B, K, generator=generator())
    if not mixed:
        return logits, Batch(torch.zeros(B), targets, given)
    blended = torch.lerp(targets[partners], targets, OWN)
    both = None if given is None else (given, given[partners])
    pair = mix.Mixed(OWN, (targets, targets[partners]), both)
    soft = None if given is None else torch.lerp(given[partners], given, OWN)
    return logits, Batch(torch.zeros(B), blended, soft, pair)


def hardest(values: Tensor, count: int) -> float:
    return float(np.sort(values.numpy())[::-1][:count].mean())


def published(logits: Tensor, first: Tensor, second: Tensor, count: int) -> float:
    """R3: own * ohem(loss of the first targets) + (1 - own) * ohem(that of the second), for each head."""
    total = 0.0
    for share, h in zip((0.7, 0.3), HEADS, strict=True):
        for weight, targets in ((OWN, first), (1 - OWN, second)):
            each = F.cross_entropy(logits[:, h], targets[:, h].argmax(1), reduction="none")
            total += share * weight * hardest(each, count)
    return total


def test_each_head_and_each_target_keeps_its_own_hardest() -> None:
    logits, batch = some_batch(mixed=True)
    assert batch.mixed is not None
    loss = batch_loss(logits, batch, config_of({"loss": SEPARATE, **MIX}), HEADS, 0)
    count = int(B * 0.7)
    assert count == 22 != round(B * 0.7 + 0.2)
    assert loss.item() == pytest.approx(published(logits, *batch.mixed.targets, count), rel=1e-5)
    joint = config_of({"loss": {**SEPARATE, "ohem_form": "joint"}, **MIX})
    assert loss.item() != pytest.approx(batch_loss(logits, batch, joint, HEADS, 0).item(), rel=1e-3)


def test_the_number_kept_is_truncated_and_at_least_one() -> None:
    logits, batch = some_batch(mixed=True)
    assert batch.mixed is not None
    for rate, count in [(0.49, 15), (0.03, 1), (0.01, 1)]:  # 15.68, 0.96, 0.32
        config = config_of({"loss": {**SEPARATE, "ohem_rate": rate}, **MIX})
        loss = batch_loss(logits, batch, config, HEADS, 0)
        assert loss.item() == pytest.approx(published(logits, *batch.mixed.targets, count), rel=1e-5)


@pytest.mark.parametrize("form", ["joint", "separate"])
def test_plain_batches_take_the_plain_mean_with_ohem_on_mixed(form: str) -> None:
    logits, batch = some_batch(mixed=False)
    config = config_of({"loss": {**SEPARATE, "ohem_form": form}, **MIX})
    plain = sum(
        share * F.cross_entropy(logits[:, h], batch.targets[:, h]).item()
        for share, h in zip((0.7, 0.3), HEADS, strict=True)
    )
    assert batch_loss(logits, batch, config, HEADS, 0).item() == pytest.approx(plain, rel=1e-5)
    everywhere = config_of({"loss": {**SEPARATE, "ohem_form": form, "ohem_on": "all"}})
    assert batch_loss(logits, batch, everywhere, HEADS, 0).item() > 1.1 * plain


def test_plain_batches_keep_the_hardest_of_each_head_with_ohem_on_all() -> None:
    logits, batch = some_batch(mixed=False)
    config = config_of({"loss": {**SEPARATE, "ohem_on": "all"}})
    expected = published(logits, batch.targets, batch.targets, 22)
    assert batch_loss(logits, batch, config, HEADS, 0).item() == pytest.approx(expected, rel=1e-5)


def test_a_teacher_is_told_apart_as_the_targets_are() -> None:
    logits, batch = some_batch(mixed=True, teacher=True)
    assert batch.mixed is not None and batch.mixed.teacher is not None
    loss = {**SEPARATE, "teacher": "t.npz", "teacher_weight": 0.4}
    expected = 0.0
    for share, h in zip((0.7, 0.3), HEADS, strict=True):
        for i, weight in enumerate((OWN, 1 - OWN)):
            hard = F.cross_entropy(logits[:, h], batch.mixed.targets[i][:, h], reduction="none")
            soft = distillation(logits[:, h], batch.mixed.teacher[i][:, h], 2.0)
            expected += share * weight * hardest(0.6 * hard + 0.4 * soft, 22)
    got = batch_loss(logits, batch, config_of({"loss": loss, **MIX}), HEADS, 0)
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_what_belongs_to_no_head_is_averaged_over_all_samples() -> None:
    logits, batch = some_batch(mixed=False)
    views = torch.cat([logits, torch.randn(2 * B, K, generator=generator())])
    added = torch.rand(B, generator=generator())
    config = config_of({"loss": {**SEPARATE, "ohem_on": "all"}, "augment": {"augmix_jsd": 3.0}})
    divergence = jsd_consistency(*views.split(B), HEADS).mean().item()
    expected = published(logits, batch.targets, batch.targets, 22) + 3 * divergence + added.mean().item()
    assert batch_loss(views, batch, config, HEADS, 0, added=added).item() == pytest.approx(expected, rel=1e-5)


def test_both_targets_of_a_mixed_batch_arrive() -> None:
    config = config_of(
        {"mix": {"mixup_alpha": 1.0, "cutmix_alpha": 1.0, "p": 0.5}, "train": {"batch_size": 10}}
    )
    data = to_device(IMAGES, PROBA, TARGETS, CPU, TEACHER)
    seen = list(batches(data, torch.arange(TRAIN), config, 3, mixes=True))
    plain = list(batches(data, torch.arange(TRAIN), config, 3, mixes=False))
    assert {batch.mixed is None for batch in seen} == {True, False}
    assert all(batch.mixed is None for batch in plain)
    for batch, same in zip(seen, plain, strict=True):
        if batch.mixed is None:
            assert torch.equal(batch.targets, same.targets)
            continue
        own, other = batch.mixed.targets
        torch.testing.assert_close(own, same.targets)
        torch.testing.assert_close(batch.mixed.own * own + (1 - batch.mixed.own) * other, batch.targets)
        assert batch.mixed.teacher is not None and batch.teacher is not None
        mine, theirs = batch.mixed.teacher
        torch.testing.assert_close(mine, same.teacher)
        torch.testing.assert_close(batch.mixed.own * mine + (1 - batch.mixed.own) * theirs, batch.teacher)
        # the partner of a sample is one sample, in targets and teacher alike
        rows = [int((torch.from_numpy(TEACHER) - t).abs().sum(1).argmin()) for t in theirs]
        assert torch.equal(torch.from_numpy(PROBA)[rows], other)


def test_a_training_minimises_it() -> None:
    change = {
        "loss": SEPARATE,
        "mix": {"mixup_alpha": 1.0},
        "train": {"epochs": 1, "batch_size": TRAIN},
    }
    config = config_of(change)
    _, epochs = training(change)
    (report,) = epochs
    model = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU).model.train()
    data = to_device(IMAGES, PROBA, TARGETS, CPU)
    (batch,) = batches(data, torch.arange(TRAIN), config, derive_seed(0, 0, 0, 1), mixes=True)
    expected = batch_loss(model(batch.images), batch, config, HEADS, 0).item()
    assert report.train_loss == pytest.approx(expected, rel=1e-5)


# ── how much is kept ─────────────────────────────────────────────────────────────────────────────────


def test_bengalis_rate_as_fractions_of_210_epochs_is_its_rate_in_epochs() -> None:
    by_epochs = CrossEntropy(reduction="ohem")
    by_fractions = CrossEntropy(
        reduction="ohem", ohem_unit="training", ohem_start=30 / 210, ohem_decay=60 / 210
    )
    for epoch in range(210):
        rate = max(0.65, math.exp(-(epoch - 30) / 60)) if epoch > 30 else 1.0
        assert by_epochs.ohem_rate_at(epoch, 210) == pytest.approx(rate)
        assert by_fractions.ohem_rate_at(epoch, 210) == pytest.approx(rate)
    # and a tenth of the training has the same rates at the same fractions of it
    assert by_fractions.ohem_rate_at(6, 21) == pytest.approx(by_epochs.ohem_rate_at(60, 210))


def test_the_kept_fraction_depends_on_epoch_and_mixing() -> None:
    config = CrossEntropy(reduction="ohem", ohem_rate=0.8, ohem_start=0, ohem_decay=10, ohem_on="mixed")
    assert kept_fraction(config, 0, 9, mixed=False) is None
    assert kept_fraction(config, 1, 9, mixed=True) == pytest.approx(0.8 * math.exp(-0.1))
    assert kept_fraction(CrossEntropy(), 1, 9, mixed=True) is None


@pytest.mark.parametrize("epochs", [1, 2, 6])
def test_fractions_are_not_refused_on_short_trainings(epochs: int) -> None:
    loss = {"reduction": "ohem", "ohem_unit": "training", "ohem_start": 30 / 210, "ohem_decay": 60 / 210}
    config_of({"loss": loss, "train": {"epochs": epochs}})
    with pytest.raises(ValidationError, match="ohem_unit: training"):
        config_of({"loss": {"reduction": "ohem"}, "train": {"epochs": epochs}})


def test_a_rate_that_could_never_fall_is_refused() -> None:
    with pytest.raises(ValidationError, match="ohem_start 30 with ohem_unit: training is 30 times"):
        CrossEntropy(reduction="ohem", ohem_unit="training")


@pytest.mark.parametrize("part", [{}, {"mix": {"mixup_alpha": 1.0, "p": 0}}])
def test_mixed_batches_alone_need_mixing(part: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="and mix is off"):
        config_of({"loss": SEPARATE, **part})
