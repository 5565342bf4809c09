"""R1: the Kannada-MNIST kernel with squeeze-and-excitation, against the figures that its author published."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import folds, records, search
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
    write_kannada,
)
from torch import nn

STUDY = study_of("kannada_se")
CONFIG = config_of(STUDY)
FIGURES = {
    # its net is what se_cnn is by default
    "model.name": "se_cnn",
    "augment.p": 0.5,
    "augment.rotate": 15.0,
    "augment.shift": 0.15,
    "augment.zoom": 0.2,
    "augment.zoom_axes": "both",
    "loss.name": "symmetric_cross_entropy",
    "loss.alpha": 1.0,
    "loss.clip": 1e-7,
    "optimizer.name": "rmsprop",
    "optimizer.lr": 3e-4,
    "optimizer.eps": 1e-7,
    "schedule.name": "plateau",
    "schedule.arithmetic": "keras",
    "schedule.patience": 3,
    "schedule.factor": 0.5,
    "schedule.min_lr": 1e-8,
    "train.epochs": 30,
    "train.batch_size": 1024,
    "train.keep": "best_loss",
    "train.valid_loss": "trained",
    "train.normalize": "none",
    "train.precision": "float32",
}


# figures that are defaults too
DEFAULTS = {
    "model.width": 64,
    "model.dropout": 0.2,
    "model.activation": "silu",
    "model.se_ratio": 2,
    "model.pooling": "flatten",
    "model.conv_bias": True,
    "model.init": "keras_he",
    "model.bn_momentum": 0.01,
    "model.bn_eps": 1e-3,
    "model.bn_variance": "biased",
    "augment.fill": "zero",
    "augment.zoom_of": "image",
    "loss.beta": 1.0,
    "optimizer.alpha": 0.9,
    "optimizer.momentum": 0.0,
    "optimizer.arithmetic": "torch",
    "schedule.monitor": "valid",
    "schedule.min_delta": 1e-4,
    "train.early_stopping": 0,  # defined by the author, and not used
}


def test_nothing_but_the_authors_figures_is_set() -> None:
    assert changed(CONFIG) == FIGURES
    assert values(CONFIG, DEFAULTS) == DEFAULTS


def test_one_configuration_is_trained_on_eight_folds_whose_weights_are_kept() -> None:
    assert STUDY.space.searched() == {} and STUDY.search.trials == 1
    assert says(STUDY, "search", grace_period=30)
    assert says(STUDY, "cv", kind="random", folds=8, groups=None)
    assert says(STUDY, "confirm", keep_weights=True, folds=None)
    assert says(STUDY, "ensemble", top=1, seeds=8, vote="soft", pseudo=None)


def test_the_network_has_as_many_weights_as_it_is_described_with() -> None:
    def conv(inputs: int, outputs: int) -> int:
        return 3 * 3 * inputs * outputs + outputs + 2 * outputs  # a bias, and BatchNorm's scale and shift

    def dense(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    stages = conv(1, 64) + 2 * conv(64, 64) + conv(64, 128) + 2 * conv(128, 128) + conv(128, 256)
    stages += dense(256, 128) + dense(128, 256) + conv(256, 256)
    # 28 -> 14 -> 7 pixels, and no third pool
    last = dense(7 * 7 * 256, 256) + 2 * 256 + dense(256, 128) + 2 * 128 + dense(128, 10)
    normalize, model = built(CONFIG, 1, 28, 10)
    assert weights_of(model) == stages + last == 4_643_338
    assert model.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert [(m.momentum, m.eps) for m in norms] == [(0.01, 1e-3)] * 10
    assert isinstance(normalize, nn.Identity)


def test_the_loss_is_symmetric_cross_entropy_clipped_at_1e_7() -> None:
    a = math.log(1e-7)
    assert a == pytest.approx(-16.118, abs=1e-3)
    even, right, wrong = (torch.zeros(1, 10) for _ in range(3))
    right[0, 3] = math.log(91)  # probability 91/100, and 1/100 for each other class
    wrong[0, 4] = 100.0  # all of it on another class, and the label's clipped
    target = one_hot([3], 10)
    expected = {
        "even": math.log(10) - 0.9 * a,
        "right": -math.log(0.91) - 0.09 * a,
        "wrong": -a - 1.0 * a,
    }
    for name, logits in (("even", even), ("right", right), ("wrong", wrong)):
        assert loss_of(CONFIG, logits, target, [10]) == pytest.approx(expected[name], rel=1e-5)
    batch = torch.cat([even, right, wrong])
    mean = sum(expected.values()) / 3
    assert loss_of(CONFIG, batch, target.repeat(3, 1), [10]) == pytest.approx(mean, rel=1e-5)


def test_the_learning_rate_stays_until_the_validation_loss_does_and_halves_then() -> None:
    steps = 52
    falling = [1 / (epoch + 1) for epoch in range(30)]
    assert rates(CONFIG, steps, falling) == pytest.approx([3e-4] * 30 * steps)
    # the best is epoch 4's; 5, 6 and 7 are not better by 1e-4, 8 is, and the others are not
    losses = [*falling[:5], 0.19995, 0.2, 0.5, 0.1, *[0.09995] * 21]
    # 0 to 7 as at the start, 8 to 11 after one fall, and then one every three epochs
    halvings = [0] * 8 + [1] * 4 + [n for n in range(2, 8) for _ in range(3)]
    expected = np.repeat([3e-4 * 0.5**n for n in halvings], steps)
    assert len(halvings) == 30
    assert rates(CONFIG, steps, losses) == pytest.approx(expected)
    # 3e-4 / 2^15 would be less than 1e-8
    assert rates(CONFIG, 1, [1.0] * 60, epochs=60)[-1] == pytest.approx(1e-8)


def test_rmsprop_has_the_formula_of_keras_of_2019() -> None:
    start, gradients = some_gradients()
    weights, square = start.numpy().astype(float), np.zeros(start.shape)
    for found, gradient in zip(updated(CONFIG, 3e-4, start, gradients), gradients, strict=True):
        square = 0.9 * square + 0.1 * gradient.numpy().astype(float) ** 2
        weights -= 3e-4 * gradient.numpy() / (np.sqrt(square) + 1e-7)
        np.testing.assert_allclose(found, weights, rtol=1e-5, atol=1e-6)


def test_half_of_the_images_are_shifted_scaled_and_rotated_by_one_coin() -> None:
    p = drawn(CONFIG, 28)
    assert p.chosen is not None and p.rotate is not None and p.zoom is not None and p.shift is not None
    assert float(p.chosen.float().mean()) == pytest.approx(0.5, abs=0.02)
    # of those, each one by all three; one scale for both axes
    assert all((v != 0).all() for v in (p.rotate, p.shift)) and (p.zoom != 1).float().mean() > 0.999
    assert torch.equal(p.zoom[:, 0], p.zoom[:, 1])
    assert ends(p.rotate) == pytest.approx((-15, 15), rel=1e-3)
    assert ends(p.shift) == pytest.approx((-0.15, 0.15), rel=1e-3)
    assert ends(p.zoom) == pytest.approx((0.8, 1.2), rel=1e-3)
    for drawn_values, half in ((p.rotate, 15), (p.shift, 0.15), (p.zoom, 0.2)):
        assert float(drawn_values.std()) == pytest.approx(half / math.sqrt(3), rel=0.02)
    assert abs(correlation(p.shift[:, 0], p.shift[:, 1])) < 0.03
    assert abs(correlation(p.rotate, p.zoom[:, 0])) < 0.03
    assert all(
        getattr(p, off) is None for off in ("hflip", "shear", "grid_distortion", "gamma", "brightness")
    )


def test_the_eight_folds_are_of_shuffled_rows_and_do_not_look_at_classes() -> None:
    labels = np.repeat(np.arange(10), 6_000)[:, None]
    parts = folds_of(STUDY, labels)
    assert [len(fold.valid_idx) for fold in parts] == [7_500] * 8
    assert np.array_equal(np.sort(np.concatenate([f.valid_idx for f in parts])), np.arange(60_000))
    counts = np.stack([np.bincount(labels[f.valid_idx, 0], minlength=10) for f in parts])
    # 750 of each class with a standard deviation of 24; stratified folds would have none
    assert 15 < counts.std() < 35
    for fold in parts:
        assert np.diff(fold.valid_idx).max() < 200


def test_a_small_run_of_it_keeps_the_weights_of_each_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_kannada(Path("kannada"), 120)
    space = ("--space", "recipes/kannada_se", "--data", "kannada", "--executor", "inline")
    assert search(*space, "--smoke", "--run-dir", "run") == 0
    (trial,) = records(Path("run"))
    assert (trial.state, trial.epochs) == ("finished", 1)
    assert changed(trial.config) == {**FIGURES, "train.epochs": 1}
    assert [result.fold for result in folds(Path("run"))] == [0, 1]
    assert len(list(Path("run/fold_weights").rglob("*.safetensors"))) == 2
