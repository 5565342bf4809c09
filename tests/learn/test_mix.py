"""MixUp and CutMix against their formulas, by hand-made and by drawn parameters."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from tune_digits.config import Mix
from tune_digits.learn import mix
from tune_digits.learn.mix import MixParams

MIXUP, CUTMIX, BOTH = Mix(mixup_alpha=0.4), Mix(cutmix_alpha=1.0), Mix(mixup_alpha=0.4, cutmix_alpha=1.0)
DRAWS = 2000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(size: int = 6, height: int = 9, width: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(size, 2, height, width, generator=generator())
    return images, torch.rand(size, 4, generator=generator(1)).softmax(1)


def draws(config: Mix, height: int = 28, width: int = 20) -> list[MixParams | None]:
    g = generator()
    return [mix.draw(config, 8, height, width, g) for _ in range(DRAWS)]


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


@pytest.mark.parametrize("config", [MIXUP, CUTMIX, BOTH], ids=["mixup", "cutmix", "both"])
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
def test_cutmix_share_is_the_real_share_of_pixels(size):
    own = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, *size)  # sample 0 is black, sample 1 white
    swap = torch.tensor([1, 0])
    for params in draws(CUTMIX, *size)[:200]:
        x, _ = mix.apply(own, torch.eye(2), MixParams(swap, params.share, params.box))
        assert 1 - x[0].mean().item() == pytest.approx(params.share, abs=1e-6)
        assert x[1].mean().item() == pytest.approx(params.share, abs=1e-6)


def test_cut_box_has_the_asked_area_inside_and_is_clipped_outside():
    assert mix.cut_box(0.75, 10, 20, 20, 40) == (5, 15, 10, 30)
    assert mix.cut_box(0.75, 0, 39, 20, 40) == (0, 5, 29, 40)
    assert mix.cut_box(1.0, 3, 3, 20, 40) == (3, 3, 3, 3)
    assert mix.cut_box(0.0, 10, 20, 20, 40) == (0, 20, 0, 40)


def test_mixup_share_is_beta_distributed():
    shares = [params.share for params in draws(MIXUP)]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.001


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
    assert (first.share, first.box) == (again.share, again.box)
    assert first.share != other.share
