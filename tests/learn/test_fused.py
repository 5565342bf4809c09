"""Trainings fused into one network learn what they learn alone."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn import batch_loss
from tune_digits.learn.device import DeviceData, to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.fused import CannotFuse, fit_fused, why_apart
from tune_digits.learn.loop import Training
from tune_digits.learn.state import TrainState, pack, unpack

CPU = torch.device("cpu")
CE = {"name": "cross_entropy"}
SGD = {"name": "sgd", "lr": 0.02}
PLAIN: dict[str, Any] = {
    "model": {"name": "lean_cnn", "width": 4, "depth": 1, "dropout": 0.3},
    "augment": {"rotate": 10, "shift": 0.1},
    "optimizer": SGD,
    "train": {"epochs": 2, "batch_size": 16, "ema_decay": 0.9},
}
# the folds' rows: the first two have a batch of another size, 60 and 61 samples in 4 steps
ROWS = (torch.arange(60), torch.arange(10, 71), torch.arange(10, 70))


def digits(classes: int = 3, teacher: bool = False) -> tuple[np.ndarray, DeviceData]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 1, 12, 12), dtype=np.uint8)
    proba = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, 80)]
    target = Target("digit", tuple(map(str, range(classes))))
    other = rng.dirichlet(np.ones(classes), 80).astype(np.float32) if teacher else None
    return images, to_device(images, proba, (target,), CPU, other)


def start(config: TrialConfig, images: np.ndarray, seed: int, fold: int) -> Training:
    rows = ROWS[fold]
    return Training(start_training(config, images, rows.numpy(), 3, seed, fold, CPU), rows, seed, fold)


def largest_difference(a: TrainState, b: TrainState) -> float:
    one, two = pack(a)[0], pack(b)[0]
    assert one.keys() == two.keys()
    return max((one[k].double() - two[k].double()).abs().max().item() for k in one)


def with_part(**parts: Any) -> dict[str, Any]:
    return {**PLAIN, **parts}


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "mixed and smoothed": with_part(
        mix={"mixup_alpha": 0.4, "cutmix_alpha": 1.0}, loss={**CE, "label_smoothing": 0.1}
    ),
    "clipped and centralized": with_part(optimizer={**SGD, "clip_norm": 0.5, "centralize": True}),
    "lookahead, layers' own rates": with_part(
        optimizer={**SGD, "lookahead_k": 3, "layer_decay": 0.8, "bias_lr": 2.0, "weight_decay": 1e-3}
    ),
    "class weights": with_part(loss={**CE, "class_weights": "inverse"}),
    "hardest samples": with_part(
        loss={**CE, "reduction": "ohem", "ohem_rate": 0.5, "ohem_min": 0.2, "ohem_start": 0}
    ),
    "AugMix": with_part(augment={"rotate": 10, "shift": 0.1, "augmix": 2, "augmix_jsd": 4.0}),
    "teacher": with_part(loss={**CE, "teacher_weight": 0.5, "teacher": "given.npz"}),
    "averaged epochs": with_part(train={**PLAIN["train"], "epochs": 3, "swa_start": 0.5}),
    "snapshots": with_part(
        schedule={"name": "cosine_restarts", "first": 2},
        train={**PLAIN["train"], "epochs": 4, "snapshots": True},
    ),
    "flat, GeM, blur, squeeze": with_part(
        model={"name": "lean_cnn", "width": 4, "depth": 1, "pooling": "gem", "blur_pool": True, "se_ratio": 4}
    ),
    # a small rate: where a maximum or a ReLU turns by rounding, deep networks go ways of their own
    "dropout of maps": with_part(
        model={"name": "keras8", "width": 4, "dropout": 0.2}, optimizer={**SGD, "lr": 1e-3}
    ),
    "dense": with_part(model={"name": "dense_cnn", "width": 4}),
    "squeeze, hidden layers": with_part(
        model={"name": "se_cnn", "width": 4, "bn_variance": "unbiased"}, optimizer={**SGD, "lr": 1e-3}
    ),
    "each image's own mean": with_part(train={**PLAIN["train"], "normalize": "image"}),
    "whole batches": with_part(train={**PLAIN["train"], "drop_last": True}),
    "one rate in an epoch": with_part(
        schedule={"name": "exponential", "factor": 0.5, "change_every": "epoch"}
    ),
    "repeated channel": with_part(
        train={**PLAIN["train"], "channels": "repeat", "normalize": "imagenet"},
        model={"name": "lean_cnn", "width": 4, "depth": 1, "dropout": 0.2},
    ),
    "contiguous": with_part(train={**PLAIN["train"], "layout": "contiguous"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_fused_trainings_learn_what_they_learn_alone(variant: str) -> None:
    config = TrialConfig.model_validate(VARIANTS[variant])
    images, data = digits(teacher=variant == "teacher")
    seeds = [(5, 0), (5, 1), (6, 2)]
    alone = [start(config, images, *s) for s in seeds]
    fused = [start(config, images, *s) for s in seeds]
    reports = [list(fit(m.state, config, data, m.rows, seed=m.seed, fold=m.fold)) for m in alone]
    together = list(fit_fused(fused, config, data))
    assert len(together) == config.train.epochs
    for i, (one, two) in enumerate(zip(alone, fused, strict=True)):
        assert two.state.step == one.state.step > 0
        assert largest_difference(one.state, two.state) < 2e-5
        for epoch, report in enumerate(reports[i]):
            assert together[epoch][i].train_loss == pytest.approx(report.train_loss, rel=1e-4)
            assert (together[epoch][i].lr, together[epoch][i].epoch) == (report.lr, report.epoch)
    # and they learn three different things
    assert largest_difference(fused[0].state, fused[1].state) > 1e-2


def test_adam_too_and_both_ways_of_laying_down_the_state() -> None:
    """Stopped after an epoch, saved, and taken up again: fused, or each by itself."""
    config = TrialConfig.model_validate(
        with_part(optimizer={"name": "adamw", "lr": 1e-3, "eps": 1e-3}, train={**PLAIN["train"], "epochs": 3})
    )
    images, data = digits()
    seeds = [(5, 0), (6, 0)]
    whole = [start(config, images, *s) for s in seeds]
    list(fit_fused(whole, config, data))
    stopped = [start(config, images, *s) for s in seeds]
    next(fit_fused(stopped, config, data))
    saved = [pack(m.state) for m in stopped]
    assert saved[0][1]["step"] == 4
    again = [start(config, images, *s) for s in seeds]
    alone = [start(config, images, *s) for s in seeds]
    for kept, one, two in zip(saved, again, alone, strict=True):
        for training in (one, two):
            unpack(training.state, {k: v.clone() for k, v in kept[0].items()}, copy.deepcopy(kept[1]))
    list(fit_fused(again, config, data))
    for training in alone:
        list(fit(training.state, config, data, training.rows, seed=training.seed, fold=training.fold))
    for one, two, three in zip(whole, again, alone, strict=True):
        assert largest_difference(one.state, two.state) == 0
        assert largest_difference(one.state, three.state) < 2e-4
        assert [r.epoch for r in two.state.history] == [1, 2, 3]


def test_a_training_whose_loss_is_not_finite_does_not_disturb_the_others() -> None:
    config = TrialConfig.model_validate(PLAIN)
    images, data = digits()
    trainings = [start(config, images, 5, 0), start(config, images, 6, 0)]
    with torch.no_grad():
        next(trainings[0].state.model.parameters()).fill_(math.nan)
    reports = list(fit_fused(trainings, config, data))
    alone = start(config, images, 6, 0)
    list(fit(alone.state, config, data, alone.rows, seed=6))
    assert largest_difference(trainings[1].state, alone.state) < 2e-5
    assert math.isnan(reports[-1][0].train_loss)
    assert [len(t.state.history) for t in trainings] == [1, 2]


@pytest.mark.parametrize(
    "parts",
    [
        {"optimizer": {"name": "lamb", "lr": 1e-3}},
        {"schedule": {"name": "plateau"}},
        {"loss": {**CE, "center_weight": 0.1}},
        {"train": {"compile": True}},
        {"train": {"early_stopping": 2}},
        {"train": {"precision": "float16"}},
        {"optimizer": {"name": "over9000"}},
        {"loss": {**CE, "reduction": "ohem", "ohem_rate": 0.8, "ohem_form": "separate"}},
        {
            "loss": {**CE, "reduction": "ohem", "ohem_rate": 0.8, "ohem_on": "mixed"},
            "mix": {"mixup_alpha": 1.0},
        },
        {"model": {"name": "keras8", "width": 4, "bn_variance": "biased"}},
        {"model": {"name": "se_cnn", "width": 4}},
        {"model": {"name": "torchvision:resnet18"}},
    ],
)
def test_what_trainings_cannot_share_is_named(parts: dict[str, Any]) -> None:
    config = TrialConfig.model_validate({**PLAIN, **parts})
    assert why_apart(config)
    _, data = digits()
    with pytest.raises(CannotFuse, match=why_apart(config).split()[0]):
        next(fit_fused([], config, data))


def test_trainings_of_different_length_are_refused() -> None:
    config = TrialConfig.model_validate(PLAIN)
    images, data = digits()
    one, two = start(config, images, 5, 0), start(config, images, 5, 1)
    short = Training(two.state, two.rows[:30], 5, 1)
    with pytest.raises(CannotFuse, match="number of their steps"):
        next(fit_fused([one, short], config, data))


def test_trainings_at_different_epochs_are_refused() -> None:
    config = TrialConfig.model_validate(PLAIN)
    images, data = digits()
    one, two = start(config, images, 5, 0), start(config, images, 6, 0)
    next(fit(one.state, config, data, one.rows, seed=5))
    with pytest.raises(CannotFuse, match="already done"):
        next(fit_fused([one, two], config, data))


def test_a_mistake_in_the_fused_step_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> torch.Tensor:
        raise ValueError("a mistake")

    config = TrialConfig.model_validate(PLAIN)
    images, data = digits()
    monkeypatch.setattr(batch_loss, "reduce", broken)
    with pytest.raises(ValueError, match="a mistake") as caught:
        list(fit_fused([start(config, images, 5, 0), start(config, images, 6, 0)], config, data))
    assert not isinstance(caught.value, CannotFuse)


def test_fused_trainings_are_judged_on_their_own_rows() -> None:
    config = TrialConfig.model_validate(PLAIN)
    images, data = digits()
    pair = []
    for seed, fold in [(5, 0), (5, 1)]:
        one = start(config, images, seed, fold)
        valid = torch.arange(71 - fold, 80)
        pair.append(Training(one.state, one.rows, seed, fold, valid))
    *_, last = fit_fused(pair, config, data)
    for training, report in zip(pair, last, strict=True):
        alone = start(config, images, training.seed, training.fold)
        *_, expected = fit(
            alone.state,
            config,
            data,
            alone.rows,
            training.valid_rows,
            seed=training.seed,
            fold=training.fold,
        )
        assert report.valid_loss == pytest.approx(expected.valid_loss, rel=1e-4)
        assert report.score == expected.score


def test_afterwards_each_network_has_tensors_of_its_own_laid_out_for_prediction() -> None:
    config = TrialConfig.model_validate({**PLAIN, "model": {"name": "lean_cnn", "width": 4, "depth": 2}})
    images, data = digits()
    trainings = [start(config, images, 5, 0), start(config, images, 6, 0)]
    list(fit_fused(trainings, config, data))
    for training in trainings:
        for model in (training.state.model, training.state.ema):
            assert model is not None
            for tensor in model.parameters():
                assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
                assert tensor.ndim != 4 or tensor.is_contiguous(memory_format=torch.channels_last)
