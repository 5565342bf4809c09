"""R0: Kannada-MNIST's third place, against the figures that its author published."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import ensemble, facts, records, search
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

STUDY = study_of("kannada_3rd")
CONFIG = config_of(STUDY)
FIGURES = {
    "model.name": "keras8",
    "model.conv_bias": True,
    "model.init": "keras",
    "model.bn_gamma_init": "uniform",
    "model.bn_variance": "biased",
    "model.dense_bn": "keras",
    "augment.rotate": 20.0,
    "augment.shift": 0.25,
    "augment.shear": 10.0,
    "augment.zoom": 0.4,
    "augment.zoom_of": "view",
    "augment.fill": "nearest",
    "loss.name": "cross_entropy",
    "loss.label_smoothing": 0.1,
    "optimizer.name": "rmsprop",
    "optimizer.lr": 0.0025,
    "optimizer.eps": 1e-7,
    "schedule.name": "step_epochs",
    "schedule.milestones": [35.0, 43.0, 48.0, 52.0],
    "schedule.factors": [0.25, 0.25, 0.25, 0.256],
    "train.epochs": 56,
    "train.batch_size": 1024,
    "train.drop_last": True,
    "train.normalize": "none",
    "train.precision": "float32",
}


# figures that are defaults too
DEFAULTS = {
    "model.width": 64,
    "model.dropout": 0.25,
    "model.activation": "leaky_relu",
    "model.pooling": "flatten",
    "model.bn_momentum": 0.1,
    "model.bn_eps": 1e-5,
    "augment.zoom_axes": "each",
    "augment.p": 1.0,
    "optimizer.alpha": 0.9,
    "optimizer.momentum": 0.0,
    "optimizer.arithmetic": "torch",
    "train.keep": "last",
}


def test_nothing_but_the_authors_figures_is_set() -> None:
    assert changed(CONFIG) == FIGURES
    assert values(CONFIG, DEFAULTS) == DEFAULTS


def test_one_configuration_is_trained_and_five_networks_vote_twice() -> None:
    assert STUDY.space.searched() == {} and STUDY.search.trials == 1
    assert STUDY.search.grace_period == 56
    assert says(STUDY, "ensemble", top=1, seeds=5, vote="soft", tta=1, epochs=None)
    # less than 1/10, so that every test image has a pseudo-label
    assert STUDY.ensemble.pseudo is not None and STUDY.ensemble.pseudo < 1 / 10


def test_the_network_has_as_many_weights_as_it_is_described_with() -> None:
    def conv(inputs: int, outputs: int) -> int:
        return 3 * 3 * inputs * outputs + outputs + 2 * outputs  # a bias, and BatchNorm's scale and shift

    stages = conv(1, 64) + 2 * conv(64, 64) + conv(64, 128) + 2 * conv(128, 128)
    stages += conv(128, 256) + conv(256, 256)
    # 28 -> 14 -> 7 -> 3 pixels
    dense = 3 * 3 * 256 * 256 + 256 + 2 * 256 + 256 * 10 + 10
    normalize, model = built(CONFIG, 1, 28, 10)
    assert weights_of(model) == stages + dense == 1_924_106
    assert model.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert [(m.momentum, m.eps) for m in norms] == [(0.1, 1e-5)] * 8 + [(0.01, 1e-3)]
    assert all(0.04 < float(m.weight.detach().abs().max()) <= 0.05 for m in norms[:8])
    assert (norms[8].weight == 1).all()
    slopes = [m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.1] * 9
    # pixels / 255, and nothing else
    assert isinstance(normalize, nn.Identity)


def test_the_loss_is_cross_entropy_with_a_tenth_of_the_target_spread() -> None:
    # the target is 0.91 for the label and 0.01 for each other class
    even, right, wrong = (torch.zeros(1, 10) for _ in range(3))
    right[0, 3] = wrong[0, 4] = math.log(91)  # probability 91/100, and 1/100 for each other class
    target = one_hot([3], 10)
    expected = {
        "even": math.log(10),
        "right": -0.91 * math.log(0.91) - 0.09 * math.log(0.01),
        "wrong": -0.99 * math.log(0.01) - 0.01 * math.log(0.91),
    }
    for name, logits in (("even", even), ("right", right), ("wrong", wrong)):
        assert loss_of(CONFIG, logits, target, [10]) == pytest.approx(expected[name], rel=1e-5)
    assert loss_of(CONFIG, torch.cat([even, right, wrong]), target.repeat(3, 1), [10]) == pytest.approx(
        sum(expected.values()) / 3, rel=1e-5
    )


def test_the_learning_rate_of_each_epoch_is_the_authors() -> None:
    published = (
        [0.0025] * 35 + [0.0025 * 0.25] * 8 + [0.0025 * 0.25**2] * 5 + [0.0025 * 0.25**3] * 4 + [1e-5] * 4
    )
    assert len(published) == 56
    steps = 48_000 // 1024
    assert rates(CONFIG, steps) == pytest.approx(np.repeat(published, steps), rel=1e-9)


def test_rmsprop_has_the_formula_of_keras_of_2019() -> None:
    start, gradients = some_gradients()
    weights, square = start.numpy().astype(float), np.zeros(start.shape)
    for found, gradient in zip(updated(CONFIG, 0.0025, start, gradients), gradients, strict=True):
        square = 0.9 * square + 0.1 * gradient.numpy().astype(float) ** 2
        weights -= 0.0025 * gradient.numpy() / (np.sqrt(square) + 1e-7)
        np.testing.assert_allclose(found, weights, rtol=1e-5, atol=1e-6)


def test_the_augmentation_draws_what_kerass_generator_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    from keras.src.legacy.preprocessing.image import (  # type: ignore[import-untyped]  # keras has no types
        ImageDataGenerator,
    )

    np.random.seed(0)
    generator = ImageDataGenerator(
        rotation_range=20,
        width_shift_range=0.25,
        height_shift_range=0.25,
        shear_range=10,
        zoom_range=[0.6, 1.4],
    )
    keras = pd.DataFrame([generator.get_random_transform((28, 28, 1)) for _ in range(20_000)])
    p = drawn(CONFIG, 28)
    assert p.rotate is not None and p.shear is not None and p.shift is not None and p.zoom is not None
    ours = {
        "theta": p.rotate,
        "tx": 28 * p.shift[:, 1],
        "ty": 28 * p.shift[:, 0],
        "shear": p.shear,
        # the area that is shown grows with Keras's factors, the image with ours
        "zx": 1 / p.zoom[:, 1],
        "zy": 1 / p.zoom[:, 0],
    }
    figures = {"theta": 20, "tx": 7, "ty": 7, "shear": 10, "zx": 0.4, "zy": 0.4}
    for name, own in ours.items():
        centre, half = (1 if name.startswith("z") else 0), figures[name]
        for numbers in (own.numpy(), keras[name].to_numpy()):
            low, high = numbers.min() - centre, numbers.max() - centre
            assert -half <= low + 1e-5 and low < -0.999 * half and 0.999 * half < high <= half + 1e-5, name
            assert numbers.std() == pytest.approx(half / math.sqrt(3), rel=0.02), name
    assert generator.fill_mode == CONFIG.augment.fill
    # each axis by itself, and every image
    assert abs(correlation(p.zoom[:, 0], p.zoom[:, 1])) < 0.03
    assert abs(correlation(p.shift[:, 0], p.shift[:, 1])) < 0.03
    assert p.chosen is None and all((v != 0).all() for v in (p.rotate, p.shear, p.shift))
    assert p.hflip is None and p.vflip is None
    assert ends(p.zoom) == pytest.approx((1 / 1.4, 1 / 0.6), rel=1e-3)


@pytest.mark.parametrize("order", ["as in the file", "sorted by class"])
def test_a_fold_validates_on_a_block_of_12000_rows(order: str) -> None:
    labels = np.arange(60_000)[:, None] % 10
    folds = folds_of(
        STUDY, labels if order == "as in the file" else np.random.default_rng(0).permutation(labels)
    )
    blocks = sorted((int(fold.valid_idx[0]), int(fold.valid_idx[-1]), len(fold.valid_idx)) for fold in folds)
    assert blocks == [(12_000 * k, 12_000 * k + 11_999, 12_000) for k in range(5)]


def test_a_small_run_of_it_with_five_networks_and_pseudo_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_kannada(Path("kannada"), 50)
    small = ("--epochs", 1, "--groups", 10, "--set", "train.batch_size=16", "--confirm-folds", 1)
    space = ("--space", "recipes/kannada_3rd", "--data", "kannada", "--executor", "inline")
    assert search(*space, *small, "--run-dir", "run") == 0
    run = Path("run")
    (trial,) = records(run)
    assert (trial.state, trial.epochs) == ("finished", 1)
    assert changed(trial.config) == {**FIGURES, "train.epochs": 1, "train.batch_size": 16}
    assert facts(run)["command"]
    assert ensemble("--run", run) == 0
    report = json.loads((run / "ensemble/report.json").read_text())
    assert [(m["trial"], m["seed"]) for m in report["members"]] == [(0, seed) for seed in range(5)]
    assert [r["pseudo_labels"] for r in report["rounds"]] == [0, 6]
    answers = pd.read_csv(run / "ensemble/submission.csv")
    assert list(answers.columns) == ["id", "label"] and answers["id"].tolist() == list(range(6))
    assert answers["label"].isin(range(10)).all()
    assert len(list((run / "ensemble").rglob("*.safetensors"))) >= 5
