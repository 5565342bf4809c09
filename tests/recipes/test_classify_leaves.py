"""R4: classify-leaves with ResNet50 and MobileNetV2, against the figures that its author published."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import records, search
from recipes import (
    built,
    changed,
    config_of,
    correlation,
    drawn,
    ends,
    folds_of,
    loss_of,
    one_hot,
    rates,
    says,
    some_gradients,
    study_of,
    updated,
    values,
    weights_of,
    write_leaves,
)
from torch import nn
from torchvision import models

STUDY = study_of("classify_leaves")
RESNET, MOBILENET = "torchvision:resnet50", "torchvision:mobilenet_v2"
CONFIG = config_of(STUDY, name=RESNET)
CLASSES = 176
FIGURES = {
    "model.name": RESNET,
    "model.stem": "as_is",
    "augment.hflip": 0.5,
    "augment.rotate": 5.0,
    "loss.name": "cross_entropy",
    "optimizer.name": "sgd",
    "optimizer.lr": 0.01,
    "optimizer.nesterov": False,
    "optimizer.weight_decay": 1e-4,
    "optimizer.decay_all": True,
    "schedule.name": "cosine_restarts",
    "schedule.first": 20,
    "schedule.unit": "updates",
    "schedule.growth": 2,
    "schedule.change_every": 2,
    "train.epochs": 34,
    "train.batch_size": 32,
    "train.keep": "best_score",
    "train.normalize": "none",
    "train.precision": "float32",
}
OF_MOBILENET = {**FIGURES, "model.name": MOBILENET, "model.bn_before_classifier": True}


# figures that are defaults too
DEFAULTS = {
    "optimizer.momentum": 0.9,  # in the notes it is 0.8
    "optimizer.arithmetic": "torch",
    "schedule.final": 0.0,
    "schedule.warmup_epochs": 0.0,
    "augment.vflip": 0.0,
}


def test_nothing_but_the_authors_figures_is_set_in_each_of_two_trials() -> None:
    assert [changed(config) for _, config in STUDY.space.configurations()] == [FIGURES, OF_MOBILENET]
    assert values(CONFIG, DEFAULTS) == DEFAULTS


def test_both_are_trained_on_five_folds_of_images_of_224_pixels_and_vote() -> None:
    assert (STUDY.search.sampler, STUDY.search.trials, STUDY.search.grace_period) == ("grid", 2, 34)
    assert says(STUDY, "data", size=[224, 224]) and says(STUDY, "cv", kind="stratified", folds=5)
    assert says(STUDY, "confirm", candidates=2) and says(
        STUDY, "ensemble", top=2, force_members=True, vote="soft", pseudo=None
    )


@pytest.mark.parametrize(("name", "added"), [(RESNET, 0), (MOBILENET, 2 * 1280)])
def test_a_network_is_torchvisions_with_another_head(name: str, added: int) -> None:
    config = config_of(STUDY, name=name)
    normalize, network = built(config, 3, 224, CLASSES)
    original = models.get_model(name.partition(":")[2], weights=None, num_classes=CLASSES)
    assert weights_of(network) == weights_of(original) + added  # BatchNorm's scale and shift of the features
    assert type(network) is type(original) and isinstance(normalize, nn.Identity)
    assert [type(m) for m in network.modules() if isinstance(m, nn.BatchNorm1d)] == [nn.BatchNorm1d] * (
        added > 0
    )
    norms = {(m.momentum, m.eps) for m in original.modules() if isinstance(m, nn.BatchNorm2d)}
    assert {(m.momentum, m.eps) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == norms


def test_the_loss_is_cross_entropy() -> None:
    even, right, wrong = (torch.zeros(1, CLASSES) for _ in range(3))
    right[0, 3] = wrong[0, 4] = math.log(175)  # probability 1/2, and 1/350 for each other class
    target = one_hot([3], CLASSES)
    expected = {"even": math.log(176), "right": math.log(2), "wrong": math.log(350)}
    for name, logits in (("even", even), ("right", right), ("wrong", wrong)):
        assert loss_of(CONFIG, logits, target, [CLASSES]) == pytest.approx(expected[name], rel=1e-5)
    batch = torch.cat([even, right, wrong])
    mean = sum(expected.values()) / 3
    assert loss_of(CONFIG, batch, target.repeat(3, 1), [CLASSES]) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("steps_per_epoch", [7, 60, 459])
def test_the_learning_rate_is_that_of_pytorchs_restarts_stepped_every_second_batch(
    steps_per_epoch: int,
) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    ours = rates(CONFIG, steps_per_epoch, epochs=34)
    theirs = []
    for batch in range(len(ours)):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if batch % 2 == 1:
            restarts.step()
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-12)
    # two cycles: 10 steps and 20 steps of two batches each
    assert [batch for batch in range(150) if ours[batch] == 0.01] == [0, 1, 20, 21, 60, 61, 140, 141]
    assert ours[10] == pytest.approx(0.005) and ours[40] == pytest.approx(0.005)


def test_sgd_is_pytorchs_own_with_every_weight_decayed() -> None:
    start, gradients = some_gradients()
    weights = nn.Parameter(start.clone())
    sgd = torch.optim.SGD([weights], lr=0.01, momentum=0.9, weight_decay=1e-4)
    for found, gradient in zip(updated(CONFIG, 0.01, start, gradients), gradients, strict=True):
        weights.grad = gradient
        sgd.step()
        torch.testing.assert_close(found, weights.detach())


def test_half_of_the_images_are_flipped_and_all_are_rotated_by_up_to_five_degrees() -> None:
    p = drawn(CONFIG, 224, channels=3)
    assert p.hflip is not None and p.rotate is not None
    assert set(p.hflip.tolist()) == {-1.0, 1.0}
    assert float((p.hflip == -1).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert ends(p.rotate) == pytest.approx((-5, 5), rel=1e-3)
    assert float(p.rotate.std()) == pytest.approx(5 / math.sqrt(3), rel=0.02)
    assert abs(correlation(p.hflip, p.rotate)) < 0.03
    others = set(type(p).__slots__) - {"hflip", "rotate"}
    assert all(getattr(p, name) is None for name in others)


def test_the_five_folds_have_each_class_evenly() -> None:
    labels = np.random.default_rng(0).permutation(np.arange(18_353) % CLASSES)[:, None]
    parts = folds_of(STUDY, labels)
    assert sorted(len(f.valid_idx) for f in parts) == [3_670, 3_670, 3_671, 3_671, 3_671]
    counts = np.stack([np.bincount(labels[f.valid_idx, 0], minlength=CLASSES) for f in parts])
    assert np.ptp(counts, axis=0).max() <= 1


def test_a_small_run_of_both_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_leaves(Path("leaves"), 24)
    space = ("--space", "recipes/classify_leaves", "--data", "leaves", "--executor", "inline")
    assert search(*space, "--smoke", "--set", "data.size=64", "--confirm-folds", 1, "--run-dir", "run") == 0
    found = records(Path("run"))
    assert [(r.state, r.epochs) for r in found] == [("finished", 1)] * 2
    assert [changed(r.config) for r in found] == [{**f, "train.epochs": 1} for f in (FIGURES, OF_MOBILENET)]
