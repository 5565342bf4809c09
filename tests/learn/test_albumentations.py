"""The albumentations backend: its contract, and that it draws from the same distribution as the batched one."""

from __future__ import annotations

import json
import math
import multiprocessing
from typing import Any

import pytest
import torch
from augment_samples import ALL_KNOBS, KNOBS, ONE_KNOB_EACH, centres_of_mass, generator, noise

from tune_digits.config import Augment
from tune_digits.errors import ConfigError
from tune_digits.learn import augment


def blob(height: int = 28, width: int = 28) -> torch.Tensor:
    """A smooth bright spot in the middle of a dark image (1, H, W): its moments tell what happened to it."""
    y, x = torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2
    return 0.7 * torch.exp(-(y[:, None] ** 2 + (x / 2) ** 2) / (2 * 2.0**2))[None]


def albumentations(images, batches, config, seed=0, workers=1):
    from tune_digits.learn.albumentations_backend import augment_batches

    return list(augment_batches(images, batches, config, seed, workers))


def many_of(image: torch.Tensor, knobs: dict[str, Any], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n augmented copies (n, C, H, W) of one image, by each backend."""
    batched = augment.augment(image.repeat(n, 1, 1, 1), Augment(**knobs), generator())
    one = image[None].mul(255).round().byte()
    (per_image,) = albumentations(one, [torch.zeros(n, dtype=torch.int64)], Augment(**knobs))
    return batched, per_image


@pytest.mark.parametrize("size", [(28, 28), (16, 24)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("knobs", [*ONE_KNOB_EACH, ALL_KNOBS])
def test_albumentations_keeps_the_contract(knobs, channels, size):
    images = noise(4, channels, *size).mul(255).byte()
    (out,) = albumentations(images, [torch.tensor([2, 0, 1])], Augment(**knobs))
    assert out.shape == (3, channels, *size)
    assert out.dtype == torch.float32
    assert out.is_contiguous()
    assert 0 <= out.min() <= out.max() <= 1


GEOMETRY = (
    "rotate",
    "shift",
    "zoom",
    "shear",
    "elastic",
    "grid_distortion",
    "optical_distortion",
    "perspective",
)
SEVERAL = {
    "affine": {k: KNOBS[k] for k in ("rotate", "shift", "zoom", "shear")},
    "geometry": {k: 0.5 * KNOBS[k] for k in GEOMETRY},
    "each_p": {k: KNOBS[k] for k in ("rotate", "shift", "zoom", "contrast", "cutout")} | {"each_p": 0.5},
    "ps": {k: KNOBS[k] for k in ("hflip", "crop", "gamma")}
    | {"ps": {"hflip": 0.4, "gamma": 0.7, "crop": 0.5}},
    "one of a group": {k: KNOBS[k] for k in ("brightness", "contrast", "gamma", "blur", "cutout")}
    | {"groups": {"tones": {"take": "one", "p": 0.8, "of": {"brightness": 1, "gamma": 9, "blur": 1}}}},
    "all of a group": {k: KNOBS[k] for k in ("rotate", "shift", "zoom")}
    | {"groups": {"affine": {"take": "all", "p": 0.5, "of": ["rotate", "shift", "zoom"]}}},
    "zoom of both axes": {"zoom": 0.4, "zoom_axes": "both"},
    "zoom of the view": {"zoom": 0.6, "zoom_of": "view"},
    "holes": {"cutout": 0.15, "cutout_holes": 8, "cutout_fixed": True},
    "cells": {"grid_mask": 0.5, "grid_mask_cells": 5, "grid_mask_fixed": True},
    "randaugment": {"randaugment_n": 2, "randaugment_magnitude": 12, "strength": 0.8},
    "augmix": {"augmix": 3, "randaugment_magnitude": 15, "p": 0.8},
    "augmix of a group": {"augmix": 1, "contrast": 0.8, "brightness": 0.4, "randaugment_magnitude": 0}
    | {"groups": {"tones": {"take": "one", "p": 0.7, "of": ["contrast", "brightness"]}}},
}
DISTRIBUTIONS = [*ONE_KNOB_EACH, *(pytest.param(knobs, id=name) for name, knobs in SEVERAL.items())]


@pytest.mark.parametrize("knobs", DISTRIBUTIONS)
def test_both_backends_mean_the_same(knobs):
    """Mean image; spread of each pixel, of the centre of mass and of the intensity; over 2000 draws."""
    n = 2000
    image = blob()
    if set(knobs) & {"saturation", "hue"}:
        image = image * torch.tensor([1.0, 0.6, 0.2])[:, None, None]  # orange
    elif set(knobs) & {"hflip", "vflip", "shear", "optical_distortion"} and "rotate" not in knobs:
        image = image.roll((5, 6), (1, 2))  # away from the centre, which they leave alone
    batched, per_image = many_of(image, knobs, n)
    rounding = 2 / 255  # uint8 between the steps; RandomGamma rounds down
    if "perspective" in knobs and len(knobs) > 1:
        rounding = 0.03  # albumentations samples the image five times in a row, which blurs it
    # Difference of two means of n: 5 standard errors.
    noise_floor = 5 * batched.std(0) * math.sqrt(2 / n)
    assert ((batched.mean(0) - per_image.mean(0)).abs() <= noise_floor + rounding).all()
    torch.testing.assert_close(batched.std(0), per_image.std(0), atol=0.02, rtol=0.12)
    spreads = torch.stack([centres_of_mass(images).std(0) for images in (batched, per_image)])
    torch.testing.assert_close(spreads[0], spreads[1], atol=0.03, rtol=0.08)
    intensity = torch.stack([images.mean((1, 2, 3)).std() for images in (batched, per_image)])
    torch.testing.assert_close(intensity[0], intensity[1], atol=0.001, rtol=0.08)
    # The test can fail: the draws vary, and by more than its tolerance.
    assert batched.std(0).max() > 0.02


@pytest.mark.parametrize("name", [*GEOMETRY, "crop"])
def test_both_backends_fill_alike(name):
    """A white image stays white only where the border is repeated."""
    white = torch.ones(1, 20, 24)
    knobs = {name: KNOBS[name]}
    for images in many_of(white, knobs | {"fill": "nearest"}, 50):
        assert images.min() > 0.99
    if name != "grid_distortion":  # it keeps its borders
        for images in many_of(white, knobs, 50):
            assert images.min() < 0.6


def test_operations_that_are_always_together_are_one_affine():
    from tune_digits.learn.albumentations_backend import build_pipeline

    affine = {k: KNOBS[k] for k in ("rotate", "shift", "zoom")}
    several = {"take": "all", "p": 0.5, "of": ["rotate", "shift"]}
    for groups, count in (
        ({}, 1),
        ({"a": several | {"of": list(affine)}}, 1),
        ({"a": several}, 3),
        ({"a": several | {"take": "one"}}, 3),
    ):
        pipeline = build_pipeline(Augment(**affine, groups=groups), 28, 28)
        chosen = pipeline.transforms[0].transforms if groups else pipeline.transforms
        assert len(chosen) == count, groups


def test_albumentations_does_not_depend_on_the_number_of_workers():
    images = noise(300, 1, 12, 12).mul(255).byte()
    batches = [
        torch.arange(0, 150),
        torch.arange(150, 300),
        torch.arange(7),
        torch.arange(100),
        torch.arange(3),
    ]
    config = Augment(**KNOBS, p=0.8)
    one, three, other = (albumentations(images, batches, config, *a) for a in ((5, 1), (5, 3), (6, 3)))
    assert [len(batch) for batch in one] == [150, 150, 7, 100, 3]
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    assert not torch.equal(one[0], other[0])


def test_albumentations_draws_each_transform_by_itself():
    # Compose.set_random_seed would give both transforms one stream: the sum of the two, twice the one.
    brightness = {
        "__class_fullname__": "RandomBrightnessContrast",
        "brightness_limit": [-0.2, 0.2],
        "contrast_limit": [0, 0],
        "p": 1,
    }
    pipeline = {
        "transform": {"__class_fullname__": "Compose", "p": 1, "transforms": [brightness, brightness]}
    }
    grey = torch.full((1, 1, 4, 4), 128, dtype=torch.uint8)
    config = Augment(backend="albumentations", pipeline=pipeline)
    (out,) = albumentations(grey, [torch.zeros(3000, dtype=torch.int64)], config)
    assert out[:, 0, 0, 0].std() == pytest.approx(
        0.2 * math.sqrt(2 / 3), rel=0.06
    )  # were they one: sqrt(4 / 3)


def test_albumentations_identity_and_p():
    images = noise(1000, 1, 8, 8).mul(255).byte()
    every = torch.arange(1000)
    (same,) = albumentations(images, [every], Augment())
    assert torch.equal(same, images.float() / 255)
    (half,) = albumentations(images, [every], Augment(cutout=1, brightness=0.5, p=0.5))
    changed = (half != same).flatten(1).any(1).float().mean()
    assert 0.4 < changed < 0.6


def test_albumentations_reader_may_stop_early():
    from tune_digits.learn.albumentations_backend import augment_batches

    images = noise(64, 1, 8, 8).mul(255).byte()
    endless = iter(lambda: torch.arange(64), None)
    batches = augment_batches(images, endless, Augment(rotate=10), 0, 2)
    assert next(batches).shape == (64, 1, 8, 8)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


SERIALIZED = {
    "all": KNOBS,
    "choices": KNOBS
    | {"randaugment_n": 3, "each_p": 0.5}
    | {"groups": {"masks": {"take": "one", "p": 0.6, "of": {"cutout": 1, "grid_mask": 3}}}},
    "augmix": KNOBS | {"augmix": 2, "randaugment_n": 2},
}


@pytest.mark.parametrize("knobs", SERIALIZED.values(), ids=SERIALIZED)
def test_serialized_pipeline_gives_the_same_images(knobs):
    import albumentations as A

    from tune_digits.learn.albumentations_backend import build_pipeline, check_pipeline

    images = noise(20, 3, 28, 28).mul(255).byte()
    built = build_pipeline(Augment(**knobs), 28, 28)
    pipeline = json.loads(json.dumps(A.to_dict(built)))
    config = Augment(backend="albumentations", pipeline=pipeline)
    check_pipeline(config, 3, 28, 28)
    first, again = (albumentations(images, [torch.arange(20)], config, 3) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert A.to_dict(build_pipeline(config, 28, 28).transforms[0]) == A.to_dict(built)
    assert not augment.is_identity(config)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ({"__class_fullname__": "Wobble", "p": 1}, "no transform, 'Wobble'"),
        ({"__class_fullname__": "RandomGamma", "p": 1, "gama_limit": 3}, "'gama_limit' are not valid"),
        ({"__class_fullname__": "RandomGamma"}, "no 'p' parameter"),
        ({"__class_fullname__": "Affine", "p": 1, "rotate": "far"}, "cannot be built"),
        ({"__class_fullname__": "RandomCrop", "p": 0.5, "height": 9, "width": 9}, r"into uint8 \(9, 9, 1\)"),
        ({"__class_fullname__": "RandomCrop", "p": 1, "height": 99, "width": 99}, "fails on an image"),
        ({"__class_fullname__": "Normalize", "p": 1}, "into float32"),
    ],
    ids=["unknown", "misspelt", "no p", "bad value", "sometimes smaller", "too large", "float"],
)
def test_bad_pipeline_is_refused_in_words(transform, words):
    from tune_digits.learn.albumentations_backend import check_pipeline

    config = Augment(backend="albumentations", pipeline={"transform": transform})
    with pytest.raises(ConfigError, match=words):
        check_pipeline(config, 1, 28, 28)


def test_pipeline_of_another_form_is_refused_in_words():
    from tune_digits.learn.albumentations_backend import check_pipeline

    config = Augment(backend="albumentations", pipeline={"steps": []})
    with pytest.raises(ConfigError, match="to_dict"):
        check_pipeline(config, 1, 28, 28)
