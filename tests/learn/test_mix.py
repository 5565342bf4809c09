"""MixUp, CutMix and FMix against their formulas, by hand-made and by drawn parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from tune_digits.config import Mix
from tune_digits.learn import mix
from tune_digits.learn.mix import MixParams

MIXUP, CUTMIX, BOTH = Mix(mixup_alpha=0.4), Mix(cutmix_alpha=1.0), Mix(mixup_alpha=0.4, cutmix_alpha=1.0)
FMIX = Mix(fmix_alpha=1.0)
DRAWS = 2000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(size: int = 6, height: int = 9, width: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(size, 2, height, width, generator=generator())
    return images, torch.rand(size, 4, generator=generator(1)).softmax(1)


def draws(config: Mix, height: int = 28, width: int = 20, count: int = DRAWS) -> list[MixParams | None]:
    g = generator()
    return [mix.draw(config, 8, height, width, g) for _ in range(count)]


def kind_of(params: MixParams | None) -> str:
    if params is None:
        return "none"
    return "cutmix" if params.box is not None else "mixup" if params.mask is None else "fmix"


def test_mixup_is_its_formula():
    images, targets = batch()
    partner = torch.tensor([1, 2, 3, 4, 5, 0])
    x, y = mix.apply(images, targets, MixParams(partner, 0.3))
    torch.testing.assert_close(x, 0.3 * images + 0.7 * images[partner])
    torch.testing.assert_close(y, 0.3 * targets + 0.7 * targets[partner])


def test_cutmix_is_its_formula():
    images, targets = batch()
    partner = torch.tensor([5, 4, 3, 2, 1, 0])
    x, y = mix.apply(images, targets, MixParams(partner, 1 - 12 / 63, (2, 6, 0, 3)))
    expected = images.clone()
    for i, j in enumerate(partner):
        expected[i, :, 2:6, 0:3] = images[j, :, 2:6, 0:3]
    assert torch.equal(x, expected)
    torch.testing.assert_close(y, (51 * targets + 12 * targets[partner]) / 63)


@pytest.mark.parametrize("config", [MIXUP, CUTMIX, BOTH, FMIX], ids=["mixup", "cutmix", "both", "fmix"])
def test_targets_stay_probabilities_and_inputs_stay_as_they_are(config):
    images, targets = batch()
    before = images.clone(), targets.clone()
    g = generator()
    for _ in range(50):
        x, y = mix.apply(images, targets, mix.draw(config, *images.shape[:1], *images.shape[2:], g))
        assert x.shape == images.shape
        assert x.dtype == y.dtype == torch.float32
        assert 0 <= x.min() <= x.max() <= 1
        assert y.min() >= 0
        torch.testing.assert_close(y.sum(1), torch.ones(6))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])


@pytest.mark.parametrize("size", [(8, 8), (28, 20)], ids=str)
@pytest.mark.parametrize("config", [CUTMIX, FMIX], ids=["cutmix", "fmix"])
def test_share_is_the_real_share_of_pixels(size, config):
    own = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, *size)  # sample 0 is black, sample 1 white
    swap = torch.tensor([1, 0])
    for params in draws(config, *size, count=200):
        x, _ = mix.apply(own, torch.eye(2), MixParams(swap, params.own, params.box, params.mask))
        assert 1 - x[0].mean().item() == pytest.approx(params.own, abs=1e-6)
        assert x[1].mean().item() == pytest.approx(params.own, abs=1e-6)


def test_cut_box_has_the_asked_area_inside_and_is_clipped_outside():
    assert mix.cut_box(0.75, 10, 20, 20, 40) == (5, 15, 10, 30)
    assert mix.cut_box(0.75, 0, 39, 20, 40) == (0, 5, 29, 40)
    assert mix.cut_box(1.0, 3, 3, 20, 40) == (3, 3, 3, 3)
    assert mix.cut_box(0.0, 10, 20, 20, 40) == (0, 20, 0, 40)


def test_mixup_share_is_beta_distributed():
    shares = [params.own for params in draws(MIXUP)]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.001


def test_alpha_is_drawn_between_its_fraction_and_itself():
    """R3: lambda from Beta(a, a) with a even in 0.8..1; here a wider range, which the test can tell from its ends."""
    shares = [params.own for params in draws(Mix(mixup_alpha=2.0, alpha_low=0.1), count=4000)]
    alphas = np.linspace(0.2, 2.0, 200)

    def mixture(x):
        return np.mean([stats.beta(a, a).cdf(x) for a in alphas], axis=0)

    assert stats.kstest(shares, mixture).pvalue > 0.001
    for alpha in (0.2, 2.0, 1.1):
        assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue < 0.001


def test_alpha_low_of_1_draws_nothing_more():
    assert [p.own for p in draws(MIXUP, count=20)] == [
        p.own for p in draws(Mix(mixup_alpha=0.4, alpha_low=1.0), count=20)
    ]


def test_bengalis_choice_of_mixing():
    """R3: none 0.2, MixUp 0.3, CutMix 0.5."""
    config = Mix(p=0.8, mixup_alpha=1, cutmix_alpha=1, mixup_weight=3, cutmix_weight=5, alpha_low=0.8)
    kinds = [kind_of(params) for params in draws(config)]
    counts = [kinds.count(kind) for kind in ("none", "mixup", "cutmix")]
    assert stats.chisquare(counts, [0.2 * DRAWS, 0.3 * DRAWS, 0.5 * DRAWS]).pvalue > 0.001


@pytest.mark.parametrize("bad", [0, 1.5])
def test_an_alpha_range_without_an_alpha_is_refused(bad):
    with pytest.raises(ValidationError, match="alpha_low"):
        Mix(mixup_alpha=1, alpha_low=bad)


def test_partners_are_permutations_of_every_kind():
    partners = torch.stack([params.partner for params in draws(MIXUP)])
    assert torch.equal(partners.sort(1).values, torch.arange(8).expand(DRAWS, 8))
    assert stats.chisquare(partners[:, 3].bincount(minlength=8).numpy()).pvalue > 0.001


def test_both_alphas_choose_one_of_the_two_evenly():
    cut = sum(params.box is not None for params in draws(BOTH))
    assert stats.binomtest(cut, DRAWS, 0.5).pvalue > 0.001
    assert all(params.box is None for params in draws(MIXUP))
    assert all(params.box is not None for params in draws(CUTMIX))


def test_p_is_the_share_of_batches_that_are_mixed():
    mixed = sum(params is not None for params in draws(Mix(p=0.3, mixup_alpha=1, cutmix_alpha=1)))
    assert stats.binomtest(mixed, DRAWS, 0.3).pvalue > 0.001


@pytest.mark.parametrize("config", [Mix(), Mix(p=0, mixup_alpha=1, cutmix_alpha=1)], ids=["off", "p=0"])
def test_off_draws_nothing_and_returns_the_batch_itself(config):
    g, (images, targets) = generator(), batch()
    before = g.get_state()
    params = mix.draw(config, 6, 9, 7, g)
    assert params is None
    assert torch.equal(g.get_state(), before)
    x, y = mix.apply(images, targets, params)
    assert x is images
    assert y is targets


def test_same_seed_same_mix():
    first, again, other = (mix.draw(BOTH, 64, 28, 28, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.partner, again.partner)
    assert (first.own, first.box) == (again.own, again.box)
    assert first.own != other.own


# ── FMix ─────────────────────────────────────────────────────────────────────────────────────────────


def test_fmix_is_its_formula():
    images, targets = batch()
    partner, mask = torch.tensor([5, 4, 3, 2, 1, 0]), torch.rand(9, 7, generator=generator(2)) < 0.4
    share = mask.float().mean().item()
    x, y = mix.apply(images, targets, MixParams(partner, share, mask=mask))
    torch.testing.assert_close(x, images * mask + images[partner] * ~mask)
    torch.testing.assert_close(y, share * targets + (1 - share) * targets[partner])


@pytest.mark.parametrize("size", [(8, 8), (28, 20), (9, 7), (1, 5)], ids=str)
def test_fmix_masks_have_the_asked_area_within_a_pixel(size):
    rng = np.random.default_rng(0)
    for share in [0.0, 1.0, 0.5, *rng.random(50)]:
        mask = mix.fmix_mask(share, *size, 3.0, rng)
        assert mask.shape == size
        assert mask.dtype == bool
        assert mask.sum() in (math.floor(share * mask.size), math.ceil(share * mask.size))


def test_fmix_shares_are_beta_distributed():
    shares = [params.own for params in draws(Mix(fmix_alpha=0.7), 64, 64, count=500)]
    assert stats.kstest(shares, stats.beta(0.7, 0.7).cdf).pvalue > 0.001


def borders(decay: float) -> float:
    """Mean part of neighbouring pixels on different sides of a mask of half the image."""
    rng = np.random.default_rng(0)
    masks = np.stack([mix.fmix_mask(0.5, 32, 32, decay, rng) for _ in range(100)])
    return float((masks[:, 1:] != masks[:, :-1]).mean())


def test_fmix_masks_are_of_low_frequencies_and_decay_makes_them_rounder():
    noise, default, round_ = borders(0.0), borders(3.0), borders(6.0)
    assert noise == pytest.approx(0.5, abs=0.02)  # no decay is white noise
    assert round_ < default < 0.2 * noise


def test_fmix_spectrum_falls_with_the_power_decay():
    """The grey image behind the masks, seen through many thresholds: power ~ frequency^(-2 decay)."""
    rng = np.random.default_rng(0)
    power = np.zeros((64, 64))
    for _ in range(300):
        mask = mix.fmix_mask(rng.uniform(0.2, 0.8), 64, 64, 1.0, rng)
        power += np.abs(np.fft.fft2(mask - mask.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    middle = (frequency > 2 / 64) & (frequency < 8 / 64)
    slope = np.polyfit(np.log(frequency[middle]), np.log(power[middle]), 1)[0]
    # cutting at a threshold makes edges, whose own spectrum is flatter
    assert -2.3 < slope < -1.3


# ── the choice among them ────────────────────────────────────────────────────────────────────────────


def test_kinds_are_chosen_by_their_weights():
    # the Bengali recipe: nothing, MixUp and CutMix as 0.2, 0.3, 0.5
    bengali = Mix(p=0.8, mixup_alpha=0.4, cutmix_alpha=1.0, mixup_weight=0.3, cutmix_weight=0.5)
    three = Mix(mixup_alpha=1, cutmix_alpha=1, fmix_alpha=1, mixup_weight=1, cutmix_weight=2, fmix_weight=5)
    for config, expected in [
        (bengali, {"none": 0.2, "mixup": 0.3, "cutmix": 0.5}),
        (three, {"mixup": 1 / 8, "cutmix": 2 / 8, "fmix": 5 / 8}),
    ]:
        kinds = [kind_of(params) for params in draws(config, 8, 8)]
        counts = [kinds.count(kind) for kind in expected]
        assert sum(counts) == DRAWS
        assert stats.chisquare(counts, [DRAWS * share for share in expected.values()]).pvalue > 0.001


def test_a_kind_of_weight_zero_is_never_chosen_and_not_all_may_be():
    config = Mix(mixup_alpha=1, cutmix_alpha=1, fmix_alpha=1, mixup_weight=0, fmix_weight=0)
    assert {kind_of(params) for params in draws(config, 8, 8, count=100)} == {"cutmix"}
    with pytest.raises(ValidationError, match="mixup_weight and fmix_weight: all that are on weigh 0"):
        Mix(mixup_alpha=1, fmix_alpha=1, mixup_weight=0, fmix_weight=0)


def test_mixing_ends_before_the_last_epochs():
    config = Mix(mixup_alpha=1, off_last=3)
    assert [mix.is_active(config, epoch, 8) for epoch in range(8)] == [True] * 5 + [False] * 3
    assert all(mix.is_active(MIXUP, epoch, 8) for epoch in range(8))
    assert not mix.is_active(Mix(), 0, 8)
    assert not mix.is_active(Mix(mixup_alpha=1, p=0), 0, 8)


def test_draws_of_mixup_and_cutmix_stay_what_they_were():
    """Golden: a search of an earlier version replays."""
    drawn = draws(BOTH, count=6)
    assert [kind_of(p) for p in drawn] == ["cutmix", "mixup", "cutmix", "cutmix", "cutmix", "cutmix"]
    assert [round(p.own, 6) for p in drawn] == [0.839286, 0.915017, 0.607143, 0.985714, 0.803571, 0.675]
