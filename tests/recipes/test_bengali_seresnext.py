"""R3: about the 100th place of Bengali.AI, against the figures that its author published."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
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
    mixed_loss_of,
    rates,
    says,
    slices,
    study_of,
    values,
    weights_of,
    write_bengali,
)
from torch import Tensor, nn

from tune_digits.learn import mix
from tune_digits.learn.models.classifier import ImageClassifier, Network
from tune_digits.learn.optim import build_optimizer
from tune_digits.learn.optim.ralamb import Ralamb
from tune_digits.learn.optim.wrappers import Lookahead

STUDY = study_of("bengali_seresnext")
CONFIG = config_of(STUDY)
HEADS, SHARES = (168, 11, 7), (0.7, 0.2, 0.1)
FIGURES = {
    "model.name": "timm:seresnext50_32x4d",
    "model.stem": "as_is",
    "model.pooling": "gem",
    "model.activation": "mish",
    "augment.groups": {
        "affine": {"take": "all", "p": 0.9, "of": {"rotate": 1.0, "shift": 1.0, "zoom": 1.0}},
        "masks": {"take": "one", "p": 0.2, "of": {"cutout": 0.5, "grid_mask": 0.7}},
        "tone": {"take": "one", "p": 0.4, "of": {"noise": 1.0, "blur": 2.0, "gamma": 1.0}},
    },
    "augment.rotate": 45.0,
    "augment.shift": 0.0625,
    "augment.zoom": 0.25,
    "augment.zoom_axes": "both",
    "augment.fill": "nearest",
    "augment.cutout": 8 / 128,
    "augment.cutout_holes": 10,
    "augment.cutout_fixed": True,
    "augment.grid_mask": 0.5,
    "augment.grid_mask_cells": 7,
    "augment.grid_mask_fixed": True,
    # the author left these three at the defaults of albumentations
    "augment.noise": 0.028,
    "augment.blur": 0.0156,
    "augment.gamma": 0.2,
    "mix.p": 0.8,
    "mix.mixup_weight": 3.0,
    "mix.cutmix_weight": 5.0,
    "mix.mixup_alpha": 1.0,
    "mix.cutmix_alpha": 1.0,
    "mix.alpha_low": 0.8,
    "loss.name": "cross_entropy",
    "loss.head_weights": list(SHARES),
    "loss.reduction": "ohem",
    "loss.ohem_form": "separate",
    "loss.ohem_on": "mixed",
    "loss.ohem_unit": "training",
    "loss.ohem_start": 30 / 210,
    "loss.ohem_decay": 60 / 210,
    "optimizer.name": "over9000",
    "optimizer.lr": 1.25e-3,
    "schedule.name": "constant",
    "train.epochs": 210,
    "train.batch_size": 32,
    "train.keep": "best_loss",
    "train.valid_loss": "trained",
    "train.normalize": "none",
    "train.precision": "float16",
}


# figures that are defaults too
DEFAULTS = {
    "loss.ohem_rate": 1.0,
    "loss.ohem_min": 0.65,
    "optimizer.lookahead_k": 6,
    "optimizer.lookahead_alpha": 0.5,
    "train.early_stopping": 0,
    "mix.off_last": 0,
}


def test_nothing_but_the_authors_figures_is_set() -> None:
    assert changed(CONFIG) == FIGURES
    assert values(CONFIG, DEFAULTS) == DEFAULTS


def test_one_configuration_is_trained_on_images_of_128_pixels_and_scored_by_weighted_recall() -> None:
    assert STUDY.space.searched() == {} and STUDY.search.trials == 1
    assert says(STUDY, "data", size=[128, 128]) and says(STUDY, "search", grace_period=210)
    weights = {"grapheme_root": 2.0, "vowel_diacritic": 1.0, "consonant_diacritic": 1.0}
    assert says(STUDY, "cv", kind="multilabel", folds=5, score="macro_recall", score_weights=weights)
    assert says(STUDY, "ensemble", top=1, seeds=1, pseudo=None)


def test_the_network_is_timms_with_one_channel_three_heads_a_learned_power_and_mish() -> None:
    normalize, model = built(CONFIG, 1, 128, sum(HEADS))
    original: Any = timm.create_model("seresnext50_32x4d", pretrained=False, in_chans=1, num_classes=186)
    assert weights_of(model) == weights_of(original) + 1  # GeM's power
    assert original.conv1.weight.shape == (64, 1, 7, 7)
    assert isinstance(normalize, nn.Identity) and type(model) is type(original)
    powers = [p for p in model.parameters() if p.numel() == 1]
    assert [p.tolist() for p in powers] == [[3.0]] and powers[0].requires_grad
    kinds = Counter(type(m).__name__ for m in model.modules())
    assert kinds["ReLU"] == 0 and kinds["Mish"] == sum(isinstance(m, nn.ReLU) for m in original.modules())


# ── loss ─────────────────────────────────────────────────────────────────────────────────────────────


def losses(logits: Tensor, labels: np.ndarray) -> list[np.ndarray]:
    """Cross-entropy of each sample for each head, (B,), from labels int64 (B, 3)."""
    found = []
    for head, column in zip(slices(HEADS), labels.T, strict=True):
        own = logits[:, head].double().numpy()
        found.append(np.log(np.exp(own).sum(1)) - own[np.arange(len(own)), column])
    return found


def targets_of(labels: np.ndarray) -> Tensor:
    columns = [torch.eye(classes)[column] for classes, column in zip(HEADS, labels.T, strict=True)]
    return torch.cat(columns, 1)


def some_batch(size: int = 10) -> tuple[Tensor, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels, others = (np.stack([rng.integers(0, k, size) for k in HEADS], 1) for _ in range(2))
    return torch.from_numpy(3 * rng.standard_normal((size, 186))).float(), labels, others


def test_the_heads_weigh_seven_two_and_one_tenths() -> None:
    labels = np.array([[100, 5, 3]])
    even = torch.zeros(1, 186)
    roots = even.clone()
    roots[0, 100] = math.log(167)  # the root has the probability 1/2
    vowels = even.clone()
    vowels[0, 168 + 4] = math.log(30)  # another vowel 30 of 40 parts, the right one 1
    expected = {
        "even": 0.7 * math.log(168) + 0.2 * math.log(11) + 0.1 * math.log(7),
        "roots": 0.7 * math.log(2) + 0.2 * math.log(11) + 0.1 * math.log(7),
        "vowels": 0.7 * math.log(168) + 0.2 * math.log(40) + 0.1 * math.log(7),
    }
    for name, logits in (("even", even), ("roots", roots), ("vowels", vowels)):
        found = loss_of(CONFIG, logits, targets_of(labels), HEADS, epoch=200)
        assert found == pytest.approx(expected[name], rel=1e-5)


def test_a_plain_batch_keeps_every_sample_at_any_time() -> None:
    logits, labels, _ = some_batch()
    expected = sum(w * each.mean() for w, each in zip(SHARES, losses(logits, labels), strict=True))
    for epoch in (0, 31, 209):
        assert loss_of(CONFIG, logits, targets_of(labels), HEADS, epoch) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 1), (30, 1), (40, math.exp(-10 / 60)), (100, 0.65), (209, 0.65)]
)
def test_a_mixed_batch_keeps_the_hardest_of_each_head_and_of_each_target_set(epoch: int, rate: float) -> None:
    logits, labels, others = some_batch()
    own, expected = 0.6, 0.0
    for weight, set_of_labels in ((own, labels), (1 - own, others)):
        for share, each in zip(SHARES, losses(logits, set_of_labels), strict=True):
            expected += weight * share * np.sort(each)[::-1][: int(10 * rate)].mean()
    found = mixed_loss_of(CONFIG, logits, (targets_of(labels), targets_of(others)), own, HEADS, epoch)
    assert found == pytest.approx(expected, rel=1e-5)
    assert int(10 * rate) == {0: 10, 30: 10, 40: 8, 100: 6, 209: 6}[epoch]


def test_the_fraction_kept_falls_after_epoch_30() -> None:
    rate = {epoch: CONFIG.loss.ohem_rate_at(epoch, 210) for epoch in range(210)}
    assert all(rate[epoch] == 1 for epoch in range(31))
    assert all(
        rate[epoch] == pytest.approx(max(0.65, math.exp(-(epoch - 30) / 60))) for epoch in range(30, 210)
    )
    figures = {0: 1.0, 30: 1.0, 31: 0.983471, 55: 0.659241, 56: 0.65, 100: 0.65, 209: 0.65}
    assert {epoch: round(rate[epoch], 6) for epoch in figures} == figures
    # of a batch of 32
    assert [int(32 * rate[epoch]) for epoch in (30, 31, 40, 56)] == [32, 31, 27, 20]


def test_the_learning_rate_is_the_same_throughout() -> None:
    assert rates(CONFIG, 10) == [1.25e-3] * 2100


def test_the_optimizer_is_over9000_as_published() -> None:
    dense = nn.Linear(3, 2)
    lookahead = build_optimizer(ImageClassifier(nn.Identity(), Network(dense, (dense,))), CONFIG.optimizer)
    assert isinstance(lookahead, Lookahead) and isinstance(lookahead.base, Ralamb)
    assert (lookahead.k, lookahead.alpha) == (6, 0.5)
    (*groups,) = lookahead.param_groups
    assert {(g["betas"], g["eps"], g["weight_decay"]) for g in groups} == {((0.9, 0.999), 1e-8, 0.0)}


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_is_mixed_by_the_published_chances() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [mix.draw(CONFIG.mix, 4, 128, 128, generator) for _ in range(20_000)]
    kinds = Counter("none" if b is None else "mixup" if b.box is None else "cutmix" for b in batches)
    for kind, chance in (("none", 0.2), ("mixup", 0.3), ("cutmix", 0.5)):
        assert kinds[kind] / len(batches) == pytest.approx(chance, abs=0.012)
    # one lambda for a batch, from Beta(a, a) with a in 0.8..1.0: its variance is the mean of 1 / (4 (2 a + 1)),
    # (ln 3 - ln 2.6) / 1.6 = 0.0894; for a of 1 alone it is 0.0833, for 0.8 alone 0.0962
    own = np.array([b.own for b in batches if b is not None and b.box is None])
    assert own.mean() == pytest.approx(0.5, abs=0.015)
    assert own.var() == pytest.approx(math.log(3 / 2.6) / 1.6, abs=0.003)


def test_the_affine_changes_share_a_coin_and_the_axes_a_zoom() -> None:
    p = drawn(CONFIG, 16, 10_000)
    assert p.rotate is not None and p.shift is not None and p.zoom is not None
    moved = p.rotate != 0
    assert float(moved.float().mean()) == pytest.approx(0.9, abs=0.01)
    assert torch.equal(moved, p.shift[:, 0] != 0) and torch.equal(moved, p.shift[:, 1] != 0)
    assert ((p.zoom[:, 0] != 1) == moved).float().mean() > 0.999
    assert torch.equal(p.zoom[:, 0], p.zoom[:, 1])
    assert ends(p.rotate) == pytest.approx((-45, 45), rel=2e-3)
    assert ends(p.shift) == pytest.approx((-0.0625, 0.0625), rel=2e-3)
    assert ends(p.zoom) == pytest.approx((0.75, 1.25), rel=2e-3)
    assert p.chosen is None and p.hflip is None and p.shear is None
    assert abs(correlation(p.rotate[moved], p.zoom[moved, 0])) < 0.04


def test_one_image_in_five_is_masked_by_ten_holes_or_by_a_grid() -> None:
    p = drawn(CONFIG, 16, 10_000)
    assert p.cutout is not None and p.grid_mask is not None
    holes, grid = p.cutout[:, :, 2].amax(1) > 0, p.grid_mask[:, 3] > 0
    assert not (holes & grid).any()
    # chosen by their own probabilities, 0.5 and 0.7
    assert float(holes.float().mean()) == pytest.approx(0.2 * 0.5 / 1.2, abs=0.01)
    assert float(grid.float().mean()) == pytest.approx(0.2 * 0.7 / 1.2, abs=0.01)
    p = drawn(CONFIG, 128, 400)
    assert p.cutout is not None and p.grid_mask is not None
    assert p.cutout.shape == (400, 10, 3) and set(p.cutout[:, :, 2].flatten().tolist()) == {0.0, 8.0}
    unit, _, _, covered = p.grid_mask[p.grid_mask[:, 3] > 0].unbind(1)
    torch.testing.assert_close(unit, torch.full_like(unit, 128 / 7))
    torch.testing.assert_close(covered, unit / 2)


def test_two_images_in_five_have_one_change_of_tone_of_which_half_are_blurs() -> None:
    p = drawn(CONFIG, 16, 10_000)
    assert p.noise is not None and p.blur is not None and p.gamma is not None
    happens = [p.noise.flatten(1).abs().amax(1) > 0, p.blur > 0, p.gamma != 1]
    assert torch.stack(happens).sum(0).max() == 1
    for found, chance in zip(happens, (0.1, 0.2, 0.1), strict=True):
        assert float(found.float().mean()) == pytest.approx(chance, abs=0.012)
    assert ends(p.gamma) == pytest.approx((math.exp(-0.2), math.exp(0.2)), rel=5e-3)
    assert float(p.blur.max()) * 128 == pytest.approx(2, abs=0.01)


def test_the_five_folds_have_the_rarest_classes_evenly() -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([rng.permutation(np.arange(1_680) % k) for k in HEADS], 1)
    parts = folds_of(STUDY, labels)
    assert len(parts) == 5
    assert np.array_equal(np.sort(np.concatenate([f.valid_idx for f in parts])), np.arange(1_680))
    # the rarest classes are dealt first, two of ten rows to each fold; random folds would differ by three on average
    counts = np.stack([np.bincount(labels[f.valid_idx, 0], minlength=168) for f in parts])
    assert np.ptp(counts, axis=0).mean() < 0.2


def test_a_small_run_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_bengali(Path("bengali"), 24)
    space = ("--space", "recipes/bengali_seresnext", "--data", "bengali", "--executor", "inline")
    assert search(*space, "--smoke", "--set", "data.size=32", "--confirm-folds", 1, "--run-dir", "run") == 0
    (trial,) = records(Path("run"))
    assert (trial.state, trial.epochs) == ("finished", 1)
    assert changed(trial.config) == {**FIGURES, "train.epochs": 1}
    (result,) = folds(Path("run"))
    assert result.valid_proba.shape == (12, 4 + 3 + 2) and np.isfinite(result.valid_proba).all()
