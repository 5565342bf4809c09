"""The loop: each option does what its formula says."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from small_training import (
    CPU,
    HEADS,
    IMAGES,
    PROBA,
    TARGETS,
    TEACHER,
    TRAIN,
    K,
    config_of,
    scores,
    training,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from tune_digits.config import TrialConfig
from tune_digits.learn import augment, losses
from tune_digits.learn.batches import batches
from tune_digits.learn.centers import classifier_inputs, move_centers
from tune_digits.learn.device import to_device
from tune_digits.learn.ema import refresh_batchnorm, swa_begins
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.models.normalize import NormalizeEach
from tune_digits.learn.predict import predict_logits
from tune_digits.learn.seeds import derive_seed
from tune_digits.learn.state import TrainState

# ── what is minimised ────────────────────────────────────────────────────────────────────────────────


def first_batch(config: TrialConfig, teacher: bool = False):
    """The network as it starts, in training mode, and the one batch of all training rows in its first epoch."""
    state = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    data = to_device(IMAGES, PROBA, TARGETS, CPU, TEACHER if teacher else None)
    (batch,) = batches(data, torch.arange(TRAIN), config, derive_seed(0, 0, 0, 1), mixes=False)
    return state.model.train(), batch


def one_update(change: dict[str, Any]) -> tuple[TrainState, float, TrialConfig]:
    """A training of a single update on all rows: its state and its loss."""
    change = {**change, "train": {"epochs": 1, "batch_size": TRAIN, **change.get("train", {})}}
    state, epochs = training(change)
    (report,) = epochs
    return state, report.train_loss, config_of(change)


def soft_ce(logits: Tensor, targets: Tensor) -> Tensor:
    each = [F.cross_entropy(logits[:, h], targets[:, h], reduction="none") for h in HEADS]
    return torch.stack(each).mean(0)


def test_class_weights_come_from_the_training_rows() -> None:
    _, loss, config = one_update({"loss": {"class_weights": "inverse"}})
    model, batch = first_batch(config)
    logits = model(batch.images)
    counts = torch.from_numpy(PROBA[:TRAIN]).sum(0)
    each = [
        F.cross_entropy(
            logits[:, h], batch.targets[:, h].argmax(1), counts[h].sum() / (len(counts[h]) * counts[h])
        )
        for h in HEADS
    ]
    # with these weights a training row weighs 1 on average, so dividing by the weights' sum changes nothing here
    assert loss == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


def test_ohem_takes_the_epochs_rate() -> None:
    knobs = {"reduction": "ohem", "ohem_rate": 0.5, "ohem_decay": 0}
    _, loss, config = one_update({"loss": knobs})
    model, batch = first_batch(config)
    hardest = soft_ce(model(batch.images), batch.targets).sort(descending=True).values[: TRAIN // 2]
    assert loss == pytest.approx(hardest.mean().item(), rel=1e-5)


def test_center_loss_draws_features_to_centers_that_move() -> None:
    state, loss, config = one_update({"loss": {"center_weight": 0.1, "center_rate": 0.3}})
    model, batch = first_batch(config)
    with classifier_inputs(model) as inputs:
        logits = model(batch.images)
    (features,) = inputs
    # all centers begin at 0; both heads' classes draw
    expected = soft_ce(logits, batch.targets) + 0.1 * 2 * features.square().sum(1) / 2
    assert loss == pytest.approx(expected.mean().item(), rel=1e-5)
    for k in range(K):
        own = features[batch.targets[:, k] == 1]
        torch.testing.assert_close(state.centers[k], 0.3 * own.sum(0) / (1 + len(own)))


def test_centers_move_by_the_papers_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(3, 4, generator=generator)
    features = torch.randn(7, 4, generator=generator)
    labels = torch.tensor([0, 2, 2, 0, 2, 2, 2])
    expected = centers.clone()
    for k in range(3):
        own = features[labels == k]
        expected[k] -= 0.5 * (centers[k] - own).sum(0) / (1 + len(own))
    move_centers(centers, features, F.one_hot(labels, 3).float(), 0.5)
    torch.testing.assert_close(centers, expected)


def test_jsd_compares_the_plain_image_with_two_views() -> None:
    _, loss, config = one_update({"augment": {"augmix_jsd": 3.0, "rotate": 30}})
    model, batch = first_batch(config)
    clean, one, two = batch.images.split(TRAIN)
    generator = torch.Generator().manual_seed(derive_seed(0, 0, 0, 1))
    order = torch.randperm(TRAIN, generator=generator)
    plain = torch.from_numpy(IMAGES)[order].float() / 255
    assert torch.equal(clean, plain)
    for view in (one, two):
        assert torch.equal(view, augment.augment(plain, config.augment, generator))
    assert not torch.equal(one, two)
    parts = model(batch.images).split(TRAIN)
    expected = soft_ce(parts[0], batch.targets) + 3 * losses.jsd_consistency(*parts, HEADS)
    assert loss == pytest.approx(expected.mean().item(), rel=1e-5)


def test_center_loss_pulls_the_plain_images_of_three_views() -> None:
    change = {
        "augment": {"augmix_jsd": 3.0, "rotate": 30},
        "loss": {"center_weight": 0.1, "center_rate": 0.3},
    }
    state, loss, config = one_update(change)
    model, batch = first_batch(config)
    with classifier_inputs(model) as inputs:
        parts = model(batch.images).split(TRAIN)
    plain = inputs[0][:TRAIN]
    expected = soft_ce(parts[0], batch.targets) + 3 * losses.jsd_consistency(*parts, HEADS)
    expected = expected + 0.1 * 2 * plain.square().sum(1) / 2  # all centers begin at 0, of two targets
    assert loss == pytest.approx(expected.mean().item(), rel=1e-5)
    own = plain[batch.targets[:, 0] == 1]
    torch.testing.assert_close(state.centers[0], 0.3 * own.sum(0) / (1 + len(own)))


def test_distillation_takes_each_rows_own_teacher() -> None:
    knobs = {"teacher": "teacher.npz", "teacher_weight": 1.0, "temperature": 1.0}
    _, loss, config = one_update({"loss": knobs})
    model, batch = first_batch(config, teacher=True)
    generator = torch.Generator().manual_seed(derive_seed(0, 0, 0, 1))
    teacher = torch.from_numpy(TEACHER)[torch.randperm(TRAIN, generator=generator)]
    assert torch.equal(batch.teacher, teacher)
    logits = model(batch.images)
    each = [F.kl_div(logits[:, h].log_softmax(1), teacher[:, h], reduction="none").sum(1) for h in HEADS]
    assert loss == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


def test_targets_and_teacher_are_mixed_alike() -> None:
    config = config_of({"mix": {"mixup_alpha": 1.0}, "loss": {"teacher": "t.npz", "teacher_weight": 0.5}})
    data = to_device(IMAGES, PROBA, TARGETS, CPU, 1 - PROBA)
    mixed = list(batches(data, torch.arange(TRAIN), config, 5, mixes=True))
    plain = list(batches(data, torch.arange(TRAIN), config, 5, mixes=False))
    for batch in (*mixed, *plain):
        torch.testing.assert_close(batch.teacher, 1 - batch.targets)
    assert any(not set(b.targets.unique().tolist()) <= {0, 1} for b in mixed)
    assert all(set(b.targets.unique().tolist()) == {0, 1} for b in plain)


def test_clip_norm_bounds_the_gradient_of_all_weights_together() -> None:
    def length(clip: float) -> float:
        state, _, config = one_update({"optimizer": {"lr": 1.0, "clip_norm": clip}})
        before = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU).model
        steps = [a - b for a, b in zip(state.model.parameters(), before.parameters(), strict=True)]
        return torch.cat([s.flatten() for s in steps]).norm().item()

    free = length(0)
    assert length(free / 4) == pytest.approx(free / 4, rel=1e-3)
    assert length(free * 4) == pytest.approx(free, rel=1e-6)


# ── averages ─────────────────────────────────────────────────────────────────────────────────────────


def test_swa_equals_pytorchs_averaged_model() -> None:
    state, epochs = training({"train": {"swa_start": 0.5}, "optimizer": {"lr": 0.3}})
    reference = AveragedModel(state.model)
    for report in epochs:
        if report.epoch >= 3:
            reference.update_parameters(state.model)
        assert (state.best_model is state.model) == (report.epoch < 3)
    assert state.averaged == 2
    for ours, theirs in zip(state.swa.parameters(), reference.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    # the report judged the average
    logits = predict_logits(state.swa, torch.from_numpy(IMAGES[TRAIN:]))
    valid = soft_ce(logits, torch.from_numpy(PROBA[TRAIN:])).mean().item()
    assert report.valid_loss == pytest.approx(valid, rel=1e-5)


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
def test_refreshed_statistics_equal_pytorchs(variance: str) -> None:
    if variance == "biased":
        from tune_digits.learn.models.norm import BiasedBatchNorm2d as Norm
    else:
        Norm = nn.BatchNorm2d
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), Norm(3, momentum=0.3), nn.ReLU(), nn.Dropout(0.5), Norm(3))
    stream = [torch.rand(6, 1, 8, 8) for _ in range(5)]
    refresh_batchnorm(model, stream)
    assert not any(module.training for module in model.modules())
    assert model[1].momentum == 0.3
    if variance == "unbiased":
        twin = copy.deepcopy(model)
        twin[3].p = 0.0
        update_bn(stream, twin)
        for ours, theirs in zip(model.buffers(), twin.buffers(), strict=True):
            if ours.is_floating_point():
                torch.testing.assert_close(ours, theirs)
    else:
        maps = [model[0](x) for x in stream]
        mean = torch.stack([m.var((0, 2, 3), correction=0) for m in maps]).mean(0)
        torch.testing.assert_close(model[1].running_var, mean)


@pytest.mark.parametrize(
    ("epochs", "start", "first"), [(8, 0.75, 7), (4, 0.01, 1), (4, 0.99, 4), (4, 1.0, 5)]
)
def test_swa_begins_after_its_part_of_the_training(epochs: int, start: float, first: int) -> None:
    assert swa_begins(epochs, start) == first


def test_snapshots_are_the_weights_at_the_ends_of_cycles() -> None:
    state, epochs = training(
        {"train": {"snapshots": True}, "schedule": {"name": "cosine_restarts", "first": 2}}
    )
    seen = {r.epoch: copy.deepcopy(state.model.state_dict()) for r in epochs}
    assert list(state.snapshots) == [2]  # the second cycle's end is the training's
    assert all(torch.equal(value, seen[2][name]) for name, value in state.snapshots[2].items())
    assert not torch.equal(seen[2]["network.0.weight"], seen[4]["network.0.weight"])


def test_snapshots_need_cycles() -> None:
    with pytest.raises(ValidationError, match="schedule constant"):
        config_of({"train": {"snapshots": True}})


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────


def test_fit_stops_early_and_does_not_train_otherwise() -> None:
    knobs = {"optimizer": {"lr": 1e-12}}
    whole = scores(training({**knobs, "train": {"epochs": 12}})[1])
    stopped = scores(training({**knobs, "train": {"epochs": 12, "early_stopping": 2}})[1])
    valid = [score for *_, score in whole]
    waited = [n - 1 - valid[:n].index(max(valid[:n])) for n in range(1, 13)]
    assert stopped == whole[: waited.index(2) + 1]
    assert len(stopped) < 12


# ── normalisation, layout, compiler ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("normalize", ["none", "dataset", "image"])
def test_saved_weights_bring_their_normalisation(normalize: str) -> None:
    state, _ = training({"train": {"normalize": normalize}})
    stats = {k: v for k, v in state.model.state_dict().items() if k.startswith("normalize.")}
    assert bool(stats) == (normalize == "dataset")
    scaled = torch.from_numpy(IMAGES[:4]).float() / 255
    expected = {
        "none": scaled,
        "dataset": (scaled - (IMAGES[:TRAIN] / 255).mean()) / (IMAGES[:TRAIN] / 255).std(),
        "image": NormalizeEach()(scaled),
    }[normalize]
    torch.testing.assert_close(state.model.normalize(scaled), expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalize", ["dataset", {"mean": 0.3, "std": 0.2}, "image"])
def test_a_repeated_channel_trains_as_three_equal_ones(normalize: object) -> None:
    repeated = training({"train": {"normalize": normalize, "channels": "repeat"}})
    config = config_of({"train": {"normalize": normalize}})
    images = IMAGES.repeat(3, axis=1)
    state = start_training(config, images, np.arange(TRAIN), K, 0, 0, CPU)
    data = to_device(images, PROBA, TARGETS, CPU)
    three = fit(state, config, data, torch.arange(TRAIN), torch.arange(TRAIN, len(IMAGES)), seed=0)
    np.testing.assert_allclose(scores(repeated[1]), scores(three), rtol=1e-3)
    assert repeated[0].model.network[0].in_channels == 3


def test_layout_changes_results_by_rounding_alone() -> None:
    one, two = (scores(training({"train": {"layout": name}})[1]) for name in ("channels_last", "contiguous"))
    np.testing.assert_allclose(one, two, rtol=1e-3)


def test_compile_trains_through_the_compiled_network(monkeypatch) -> None:
    calls = []

    def compiled(model: nn.Module):
        def forward(images: Tensor) -> Tensor:
            calls.append(len(images))
            return model(images)

        return forward

    expected = scores(training({})[1])
    monkeypatch.setattr(torch, "compile", compiled)
    assert scores(training({"train": {"compile": True}})[1]) == expected
    assert calls == [30] * 12
