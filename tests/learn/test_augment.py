"""Both augmentation backends against references: torch.rot90, exact shifts, distributions, and each other."""

from __future__ import annotations

import json
import math

import pytest
import torch
from scipy import stats

from tune_digits.config import Augment
from tune_digits.errors import ConfigError
from tune_digits.learn import augment
from tune_digits.learn.augment import AugmentParams

KNOBS = {
    "rotate": 20.0,
    "shift": 0.1,
    "zoom": 0.2,
    "shear": 15.0,
    "elastic": 0.03,
    "brightness": 0.2,
    "contrast": 0.3,
    "gamma": 0.5,
    "cutout": 0.5,
}
ONE_KNOB_EACH = [pytest.param({name: value}, id=name) for name, value in KNOBS.items()]
ALL_KNOBS = pytest.param(KNOBS, id="all")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=generator(seed))


def blob(height: int = 28, width: int = 28) -> torch.Tensor:
    """A smooth bright spot in the middle of a dark image (1, H, W): its moments tell what happened to it."""
    y, x = torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2
    return 0.7 * torch.exp(-(y[:, None] ** 2 + (x / 2) ** 2) / (2 * 2.0**2))[None]


def centres_of_mass(images: torch.Tensor) -> torch.Tensor:
    """(B, 2): x and y of the centre of mass of (B, 1, H, W), in pixels."""
    mass = images.sum((1, 2, 3))
    x = (images.sum((1, 2)) * torch.arange(images.shape[3])).sum(1) / mass
    y = (images.sum((1, 3)) * torch.arange(images.shape[2])).sum(1) / mass
    return torch.stack([x, y], dim=1)


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
    assert not torch.equal(out, images)


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


def test_neutral_parameters_change_nothing():
    images = noise(4, 3, 20, 33)
    params = AugmentParams(
        zoom=torch.ones(4, 2),
        rotate=torch.zeros(4),
        shear=torch.zeros(4),
        shift=torch.zeros(4, 2),
        elastic=torch.zeros(4, 2, math.prod(augment.elastic_nodes(20, 33))),
        brightness=torch.zeros(4),
        contrast=torch.ones(4),
        gamma=torch.ones(4),
        cutout=torch.tensor([[10.0, 10.0, 0.0]]).repeat(4, 1),
    )
    torch.testing.assert_close(augment.apply(images, params), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("knobs", [*ONE_KNOB_EACH, ALL_KNOBS])
def test_same_seed_same_images(knobs):
    images, config = noise(8, 1, 12, 12), Augment(**knobs, p=0.7)
    first, again, other = (augment.augment(images, config, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_takes_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    augment.augment(noise(8, 1, 12, 12), Augment(**KNOBS, p=0.5), generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_every_magnitude_of_the_config_is_used():
    others = {"backend", "strength", "p", "pipeline"}
    assert set(augment.MAGNITUDES) == set(Augment.model_fields) - others == set(KNOBS)


def test_autocast_does_not_coarsen_the_geometry():
    images, params = noise(4, 1, 28, 28), augment.draw(Augment(**KNOBS), 4, 28, 28, generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = augment.apply(images, params)
    assert torch.equal(inside, augment.apply(images, params))


# ── geometry, by hand-made parameters ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turns", [-1, 1, 2])
def test_rotation_by_quarter_turns_is_rot90(turns):
    images = noise(3, 2, 11, 11)
    out = augment.apply(images, AugmentParams(rotate=torch.full((3,), 90.0 * turns)))
    torch.testing.assert_close(out, torch.rot90(images, turns, (2, 3)), atol=2e-5, rtol=0)


def test_rotation_keeps_proportions_of_a_wide_image():
    images = noise(2, 1, 10, 30)
    out = augment.apply(images, AugmentParams(rotate=torch.full((2,), 90.0)))
    middle = torch.rot90(images[..., 10:20], 1, (2, 3))
    torch.testing.assert_close(out[..., 10:20], middle, atol=2e-5, rtol=0)
    assert out[..., :9].max() == 0 == out[..., 21:].max()


def test_shift_by_whole_pixels_is_roll_with_zeros():
    images = noise(2, 1, 8, 10)
    right_and_up = torch.tensor([[1 / 10, -2 / 8]]).repeat(2, 1)
    out = augment.apply(images, AugmentParams(shift=right_and_up))
    expected = torch.zeros_like(images)
    expected[..., :-2, 1:] = images[..., 2:, :-1]
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


def test_zoom_by_two_enlarges_x_alone():
    image = torch.zeros(1, 1, 6, 8)
    image[..., 3:5] = 1  # a bar 2 wide in the middle becomes 4 wide
    out = augment.apply(image, AugmentParams(zoom=torch.tensor([[2.0, 1.0]])))
    row = torch.tensor([0, 0.25, 0.75, 1, 1, 0.75, 0.25, 0])  # bilinear between the pixel centres
    torch.testing.assert_close(out[0, 0], row.expand(6, 8), atol=1e-5, rtol=0)


def test_shear_moves_rows_below_the_centre_to_the_right():
    image = torch.zeros(1, 1, 5, 9)
    image[..., 4] = 1  # an upright line
    out = augment.apply(image, AugmentParams(shear=torch.tensor([45.0])))
    assert out[0, 0].argmax(dim=1).tolist() == [2, 3, 4, 5, 6]
    torch.testing.assert_close(out.sum(3), torch.ones(1, 1, 5), atol=1e-5, rtol=0)


def test_composition_is_zoom_rotate_shear_shift():
    spot = torch.zeros(1, 1, 41, 41)
    spot[0, 0, 20, 25] = 1  # 5 to the right of the centre
    params = AugmentParams(
        zoom=torch.tensor([[1.6, 1.0]]),
        rotate=torch.tensor([-90.0]),
        shear=torch.tensor([45.0]),
        shift=torch.tensor([[-3 / 41, 2 / 41]]),
    )
    # zoom: (8, 0), clockwise: (0, 8), shear: (8, 8), shift: (5, 10)
    torch.testing.assert_close(
        centres_of_mass(augment.apply(spot, params)), torch.tensor([[25.0, 30.0]]), atol=0.02, rtol=0
    )


def test_elastic_displaces_as_the_basis_says():
    ramp = (torch.arange(28) / 28).expand(1, 1, 28, 28).contiguous()
    nodes = augment.elastic_nodes(28, 28)
    values = 0.01 * torch.randn(1, 2, math.prod(nodes), generator=generator())
    out = augment.apply(ramp, AugmentParams(elastic=values))
    along_x = (values[0, 0] @ augment.elastic_basis(28, 28).flatten(1)).view(28, 28)  # in parts of the side
    inside = slice(3, -3)
    torch.testing.assert_close((out - ramp)[0, 0, inside, inside], along_x[inside, inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (20, 60)], ids=str)
def test_elastic_field_has_unit_deviation_everywhere_and_is_smooth(size):
    basis = augment.elastic_basis(*size)
    torch.testing.assert_close(basis.pow(2).sum(0), torch.ones(size))
    fields = torch.einsum("bk,khw->bhw", torch.randn(2000, len(basis), generator=generator()), basis)
    assert fields.std(0).sub(1).abs().max() < 0.1
    if min(size) >= 20:
        neighbours = (fields[..., 1:] * fields[..., :-1]).mean()
        assert neighbours > 0.9


# ── intensity and cutout, by hand-made parameters ────────────────────────────────────────────────────


def test_brightness_contrast_gamma_are_their_formula():
    images = noise(3, 3, 9, 7)
    brightness, contrast, gamma = (
        torch.tensor([0.1, -0.2, 0.3]),
        torch.tensor([0.5, 1.5, 1.0]),
        torch.tensor([0.5, 2, 1]),
    )
    out = augment.apply(images, AugmentParams(brightness=brightness, contrast=contrast, gamma=gamma))
    for i in range(3):
        bright = images[i] + brightness[i]
        expected = (contrast[i] * (bright - bright.mean()) + bright.mean()).clamp(0, 1) ** gamma[i]
        torch.testing.assert_close(out[i], expected, atol=1e-5, rtol=0)


def test_cutout_is_a_square_clipped_at_the_border():
    images = noise(2, 2, 10, 12) + 0.1
    out = augment.apply(images, AugmentParams(cutout=torch.tensor([[6.0, 5.0, 4.0], [12.0, 0.0, 6.0]])))
    expected = images.clone()
    expected[0, :, 3:7, 4:8] = 0
    expected[1, :, :3, 9:] = 0
    assert torch.equal(out, expected)


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
    ],
)
def test_draws_are_uniform_over_the_configured_range(name, low, high):
    values = getattr(augment.draw(Augment(**KNOBS), DRAWS, 28, 28, generator()), name).flatten().numpy()
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.001
    assert low <= values.min() <= values.max() <= high


def test_gamma_cutout_and_elastic_are_drawn_as_described():
    params = augment.draw(Augment(**KNOBS), DRAWS, 20, 30, generator())
    assert stats.kstest(params.gamma.log().numpy(), stats.uniform(-0.5, 1).cdf).pvalue > 0.001
    for column, high in enumerate((30, 20, 0.5 * 20)):
        values = params.cutout[:, column].numpy()
        assert stats.kstest(values, stats.uniform(0, high).cdf).pvalue > 0.001
    assert stats.kstest(params.elastic[:, 0, 7].numpy(), stats.norm(0, 0.03).cdf).pvalue > 0.001


def test_axes_and_knobs_are_drawn_independently():
    params = augment.draw(Augment(**KNOBS), DRAWS, 28, 28, generator())
    columns = [params.rotate, *params.shift.T, *params.zoom.T, params.shear, params.brightness]
    columns += [params.contrast, params.gamma, *params.cutout.T]
    correlations = torch.corrcoef(torch.stack(columns)).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("knobs", ONE_KNOB_EACH)
def test_what_is_off_is_not_drawn(knobs):
    params = augment.draw(Augment(**knobs), 4, 28, 28, generator())
    drawn = {name for name in AugmentParams.__slots__ if getattr(params, name) is not None}
    assert drawn == set(knobs)


def test_strength_scales_every_magnitude_up_to_what_the_config_allows():
    one, half, four = (augment.magnitudes(Augment(**KNOBS, strength=s)) for s in (1, 0.5, 4))
    assert one == KNOBS
    assert half == {name: 0.5 * value for name, value in KNOBS.items()}
    limits = {"shear": 60, "brightness": 0.8, "zoom": 0.8, "contrast": 1, "gamma": 2, "cutout": 1}
    assert {name: four[name] for name in limits} == limits
    Augment(**four)  # all are allowed
    angle = augment.draw(Augment(rotate=20, strength=0.5), DRAWS, 8, 8, generator()).rotate.abs().max()
    assert 9.9 < angle <= 10


def test_p_is_the_share_of_samples_that_change_and_the_rest_stay_bitwise():
    images = noise(DRAWS, 1, 8, 8)
    out = augment.augment(images, Augment(**KNOBS, p=0.3), generator())
    same = (out == images).flatten(1).all(1)
    assert abs((~same).float().mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / DRAWS)


# ── the albumentations backend ───────────────────────────────────────────────────────────────────────


def albumentations(images, batches, config, seed=0, workers=1):
    from tune_digits.learn.albumentations_backend import augment_batches

    return list(augment_batches(images, batches, config, seed, workers))


def many_of(image: torch.Tensor, knobs: dict[str, float], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n augmented copies (n, 1, H, W) of one image, by each backend."""
    batched = augment.augment(image.repeat(n, 1, 1, 1), Augment(**knobs), generator())
    one = image[None].mul(255).round().byte()
    (threaded,) = albumentations(one, [torch.zeros(n, dtype=torch.int64)], Augment(**knobs))
    return batched, threaded


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


@pytest.mark.parametrize(
    "knobs",
    [*ONE_KNOB_EACH, pytest.param({k: KNOBS[k] for k in ("rotate", "shift", "zoom", "shear")}, id="affine")],
)
def test_both_backends_mean_the_same(knobs):
    """Mean image; spread of each pixel, of the centre of mass and of the intensity; over 3000 draws."""
    n = 3000
    batched, threaded = many_of(blob(), knobs, n)
    rounding = 2 / 255  # uint8 between the steps; RandomGamma rounds down
    # Difference of two means of n: 5 standard errors.
    noise_floor = 5 * batched.std(0) * math.sqrt(2 / n)
    assert ((batched.mean(0) - threaded.mean(0)).abs() <= noise_floor + rounding).all()
    torch.testing.assert_close(batched.std(0), threaded.std(0), atol=0.02, rtol=0.1)
    spreads = torch.stack([centres_of_mass(images).std(0) for images in (batched, threaded)])
    torch.testing.assert_close(spreads[0], spreads[1], atol=0.03, rtol=0.06)
    intensity = torch.stack([images.mean((1, 2, 3)).std() for images in (batched, threaded)])
    torch.testing.assert_close(intensity[0], intensity[1], atol=0.001, rtol=0.06)


def test_albumentations_does_not_depend_on_the_number_of_threads():
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
    batches.close()


def test_serialized_pipeline_gives_the_same_images():
    import albumentations as A

    from tune_digits.learn.albumentations_backend import build_pipeline, check_pipeline

    images = noise(20, 1, 28, 28).mul(255).byte()
    pipeline = json.loads(json.dumps(A.to_dict(build_pipeline(Augment(**KNOBS), 28, 28))))
    config = Augment(backend="albumentations", pipeline=pipeline)
    check_pipeline(config, 1, 28, 28)
    first, again = (albumentations(images, [torch.arange(20)], config, 3) for _ in range(2))
    assert torch.equal(first[0], again[0])
    rebuilt = build_pipeline(config, 28, 28).transforms[0]
    assert A.to_dict(rebuilt) == A.to_dict(build_pipeline(Augment(**KNOBS), 28, 28))
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
