"""The batched augmentation: the contract of every operation, and what is drawn. Single operations stand in
test_augment_operations.py."""

from __future__ import annotations

import math

import pytest
import torch
from augment_samples import ALL_KNOBS, KNOBS, ONE_KNOB_EACH, generator, noise
from scipy import stats

from tune_digits.config import Augment
from tune_digits.config.chances import Chances
from tune_digits.learn import augment
from tune_digits.learn.augment import AugmentParams
from tune_digits.learn.augment.magnitudes import COLOURS, RANDAUGMENT

# ── the contract of every knob ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (20, 33)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("knobs", [*ONE_KNOB_EACH, ALL_KNOBS])
def test_keeps_shape_dtype_range_and_its_input(knobs, channels, size):
    images = noise(16, channels, *size).round(decimals=1)  # with exact zeros and ones
    before = images.clone()
    out = augment.augment(images, Augment(**knobs), generator())
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.is_contiguous()
    assert 0 <= out.min() <= out.max() <= 1  # a NaN fails too
    assert torch.equal(images, before)
    grey = channels == 1 and set(knobs) <= set(COLOURS)
    assert torch.equal(out, images) is grey


@pytest.mark.parametrize(
    "config",
    [Augment(), Augment(**KNOBS, p=0), Augment(**KNOBS, strength=0)],
    ids=["nothing", "p=0", "strength=0"],
)
def test_identity_returns_the_images_themselves(config):
    images, g = noise(4, 1, 8, 8), generator()
    before = g.get_state()
    assert augment.is_identity(config)
    assert augment.augment(images, config, g) is images
    assert torch.equal(g.get_state(), before)


@pytest.mark.parametrize("knobs", [*ONE_KNOB_EACH, ALL_KNOBS])
def test_same_seed_same_images(knobs):
    images, config = noise(16, 3, 12, 12), Augment(**knobs, p=0.7, each_p=0.9)
    first, again, other = (augment.augment(images, config, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_takes_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    masks = {"masks": {"take": "one", "p": 0.5, "of": ["cutout", "grid_mask"]}}
    for config in (Augment(**KNOBS, p=0.5, each_p=0.5, groups=masks, augmix=2), Augment(autoaugment="svhn")):
        augment.augment(noise(8, 3, 12, 12), config, generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_every_magnitude_of_the_config_is_used():
    others = {
        "backend",
        "strength",
        "p",
        "each_p",
        "ps",
        "groups",
        "pipeline",
        "fill",
        "zoom_axes",
        "grid_steps",
    }
    others |= {"zoom_axes", "zoom_of", "cutout_holes", "cutout_fixed", "grid_mask_cells", "grid_mask_fixed"}
    others |= {"autoaugment", "randaugment_n", "randaugment_magnitude", "augmix", "augmix_jsd"}
    assert set(augment.MAGNITUDES) == set(Augment.model_fields) - others == set(KNOBS)
    assert set(Chances.model_fields) == set(KNOBS)
    assert set(AugmentParams.__slots__) == set(KNOBS) | {"chosen", "augmix", "autoaugment"}
    assert set(RANDAUGMENT) < set(KNOBS)


def test_autocast_does_not_coarsen_the_geometry():
    images, params = noise(4, 3, 28, 28), augment.draw(Augment(**KNOBS), 4, 28, 28, generator(), 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = augment.apply(images, params)
    assert torch.equal(inside, augment.apply(images, params))


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────────

DRAWS = 4000


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("rotate", -20, 20),
        ("shift", -0.1, 0.1),
        ("zoom", 0.8, 1.2),
        ("shear", -15, 15),
        ("brightness", -0.2, 0.2),
        ("contrast", 0.7, 1.3),
        ("optical_distortion", -0.3, 0.3),
        ("perspective", -0.1, 0.1),
        ("saturation", 0.5, 1.5),
        ("hue", -0.2, 0.2),
        ("blur", 0, 0.05),
    ],
)
def test_draws_are_uniform_over_the_configured_range(name, low, high):
    values = (
        getattr(augment.draw(Augment(**{name: KNOBS[name]}), DRAWS, 28, 28, generator(), 3), name)
        .flatten()
        .numpy()
    )
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.001
    assert low <= values.min() <= values.max() <= high


def test_gamma_cutout_and_elastic_are_drawn_as_described():
    params = augment.draw(Augment(**KNOBS), DRAWS, 20, 30, generator())
    assert stats.kstest(params.gamma.log().numpy(), stats.uniform(-0.5, 1).cdf).pvalue > 0.001
    for column, high in enumerate((30, 20, 0.5 * 20)):
        values = params.cutout[:, 0, column].numpy()
        assert stats.kstest(values, stats.uniform(0, high).cdf).pvalue > 0.001
    assert stats.kstest(params.elastic[:, 0, 7].numpy(), stats.norm(0, 0.03).cdf).pvalue > 0.001


def test_grid_distortion_draws_even_widths_and_keeps_its_borders():
    lines = augment.draw(
        Augment(grid_distortion=0.3, grid_steps=4), DRAWS, 20, 30, generator()
    ).grid_distortion
    assert lines.shape == (DRAWS, 2, 5)
    assert lines[:, :, [0, -1]].abs().max() < 1e-6
    widths = lines.diff(dim=2) + 0.25
    assert widths.min() > 0
    drawn = widths / widths[:, :, :1]  # ratios of two uniform variables: as Monte Carlo has them
    numbers = torch.rand(2, 100_000, generator=generator(1)) * 0.6 + 0.7
    assert stats.ks_2samp(drawn[:, 0, 2].numpy(), (numbers[0] / numbers[1]).numpy()).pvalue > 0.001


def test_crops_are_whole_pixels_and_flips_and_noise_are_drawn_as_described():
    config = Augment(crop=0.1, hflip=0.3, vflip=0.5, noise=0.2)
    params = augment.draw(config, DRAWS, 20, 30, generator(), 3)
    for moves, margin in zip(params.crop.T, (3, 2), strict=True):
        assert moves.unique().tolist() == list(range(-margin, margin + 1))
        counts = torch.unique(moves, return_counts=True)[1]
        assert stats.chisquare(counts.numpy()).pvalue > 0.001
    for flips, p in ((params.hflip, 0.3), (params.vflip, 0.5)):
        assert flips.unique().tolist() == [-1, 1]
        assert abs((flips < 0).float().mean() - p) < 4 * math.sqrt(p * (1 - p) / DRAWS)
    assert params.noise.shape == (DRAWS, 3, 20, 30)
    sigmas = params.noise.flatten(1).std(1)
    assert stats.kstest(sigmas.numpy(), stats.uniform(0, 0.2).cdf).statistic < 0.03
    assert abs(torch.corrcoef(params.noise[:, :2].transpose(0, 1).flatten(1))[0, 1]) < 0.01


def test_grid_mask_is_drawn_as_described():
    unit, x, y, side = augment.draw(Augment(grid_mask=0.4), DRAWS, 20, 30, generator()).grid_mask.T
    drawn = [(unit, 5, 10), (x / unit, 0, 1), (y / unit, 0, 1), (side / unit, 0, 0.4)]
    for values, low, width in drawn:
        assert stats.kstest(values.numpy(), stats.uniform(low, width).cdf).pvalue > 0.001


def test_axes_and_knobs_are_drawn_independently():
    params = augment.draw(Augment(**KNOBS | {"noise": 0.0}), DRAWS, 28, 28, generator(), 3)
    columns = [params.rotate, *params.shift.T, *params.zoom.T, params.shear, params.brightness]
    columns += [
        params.contrast,
        params.gamma,
        *params.cutout[:, 0].T,
        params.hflip,
        params.vflip,
        *params.crop.T,
    ]
    columns += [*params.perspective.flatten(1).T, params.optical_distortion, params.saturation, params.hue]
    columns += [
        *params.grid_distortion[:, :, 2].T,
        params.blur,
        *(params.grid_mask[:, 1:].T / params.grid_mask[:, 0]),
    ]
    correlations = torch.corrcoef(torch.stack(columns)).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("knobs", ONE_KNOB_EACH)
def test_what_is_off_is_not_drawn(knobs):
    params = augment.draw(Augment(**knobs), 4, 28, 28, generator(), 3)
    drawn = {name for name in AugmentParams.__slots__ if getattr(params, name) is not None}
    assert drawn == set(knobs)


def test_strength_scales_every_magnitude_up_to_what_the_config_allows():
    one, half, four = (augment.magnitudes(Augment(**KNOBS, strength=s)) for s in (1, 0.5, 4))
    assert one == KNOBS
    assert half == {name: 0.5 * value for name, value in KNOBS.items()}
    limits = {
        "shear": 60,
        "brightness": 0.8,
        "zoom": 0.8,
        "contrast": 1,
        "gamma": 2,
        "cutout": 1,
        "hflip": 0.5,
    }
    assert {name: four[name] for name in limits} == limits
    Augment(**four)  # all are allowed
    angle = augment.draw(Augment(rotate=20, strength=0.5), DRAWS, 8, 8, generator()).rotate.abs().max()
    assert 9.9 < angle <= 10


def test_p_is_the_share_of_samples_that_change_and_the_rest_stay_bitwise():
    images = noise(DRAWS, 3, 8, 8)
    out = augment.augment(images, Augment(**KNOBS, p=0.3), generator())
    same = (out == images).flatten(1).all(1)
    assert abs((~same).float().mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / DRAWS)
