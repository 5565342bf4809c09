"""Each operation of the batched augmentation, by hand-made parameters, against a reference or its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from augment_samples import centres_of_mass, generator, noise
from torch.nn import functional as F
from torchvision.transforms import functional as tv

from tune_digits.learn import augment
from tune_digits.learn.augment import AugmentParams


def ramps(height: int, width: int) -> torch.Tensor:
    """(1, 2, H, W) in 0..1: an image whose channels are the pixels' own x and y, so that it shows what was read."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x / (width - 1), y / (height - 1)])[None]


def check_reads(out: torch.Tensor, x: np.ndarray, y: np.ndarray) -> None:
    """`out`, made from `ramps`, reads at x and y (H, W), pixels from the centre, wherever that is well inside."""
    height, width = out.shape[2:]
    x, y = x + (width - 1) / 2, y + (height - 1) / 2
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(out[0, 0].numpy()[inside] * (width - 1), x[inside], atol=2e-3)
    np.testing.assert_allclose(out[0, 1].numpy()[inside] * (height - 1), y[inside], atol=2e-3)


def from_centre(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width].astype(float)
    return x - (width - 1) / 2, y - (height - 1) / 2


def test_neutral_parameters_change_nothing():
    images = noise(4, 3, 20, 33)
    nothing = torch.zeros(4)
    params = AugmentParams(
        hflip=torch.ones(4),
        vflip=torch.ones(4),
        crop=torch.zeros(4, 2),
        zoom=torch.ones(4, 2),
        rotate=nothing,
        shear=nothing,
        shift=torch.zeros(4, 2),
        perspective=torch.zeros(4, 4, 2),
        optical_distortion=nothing,
        grid_distortion=torch.zeros(4, 2, 6),
        elastic=torch.zeros(4, 2, math.prod(augment.elastic_nodes(20, 33))),
        blur=nothing,
        brightness=nothing,
        contrast=torch.ones(4),
        saturation=torch.ones(4),
        hue=nothing,
        gamma=torch.ones(4),
        noise=torch.zeros_like(images),
        cutout=torch.tensor([10.0, 10.0, 0.0]).repeat(4, 2, 1),
        grid_mask=torch.tensor([[5.0, 1.0, 2.0, 0.0]]).repeat(4, 1),
    )
    torch.testing.assert_close(augment.apply(images, params), images, atol=2e-5, rtol=0)


# ── the affine map and the elastic field ─────────────────────────────────────────────────────────────


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


# ── flips, crop and what bends ───────────────────────────────────────────────────────────────────────


def test_flips_are_torch_flip():
    images = noise(4, 2, 7, 10)
    out = augment.apply(
        images, AugmentParams(hflip=torch.tensor([1.0, -1, 1, -1]), vflip=torch.tensor([1.0, 1, -1, -1]))
    )
    expected = [images[0], images[1].flip(2), images[2].flip(1), images[3].flip(1, 2)]
    torch.testing.assert_close(out, torch.stack(expected), atol=2e-5, rtol=0)


def test_crop_is_a_window_of_the_padded_image():
    images = noise(3, 1, 8, 10)
    moves = torch.tensor([[2.0, -1], [0, 3], [-3, 0]])
    out = augment.apply(images, AugmentParams(crop=moves))
    padded = F.pad(images, (3, 3, 3, 3))
    for i, (x, y) in enumerate(moves.int().tolist()):
        window = padded[i, :, 3 - y : 11 - y, 3 - x : 13 - x]
        torch.testing.assert_close(out[i], window, atol=2e-5, rtol=0)


EDGES = {
    "shift": torch.tensor([[0.3, -0.2]]),
    "crop": torch.tensor([[3.0, -2.0]]),
    "zoom": torch.tensor([[0.6, 0.7]]),
    "rotate": torch.tensor([20.0]),
    "shear": torch.tensor([20.0]),
}


@pytest.mark.parametrize("name", EDGES)
def test_nearest_fill_is_the_same_map_of_the_image_with_its_border_repeated(name):
    image, wide = noise(1, 2, 10, 10), 12
    out = augment.apply(image, AugmentParams(**{name: EDGES[name]}), fill="nearest")
    assert not torch.equal(out, augment.apply(image, AugmentParams(**{name: EDGES[name]})))
    larger = EDGES[name] * (10 / (10 + 2 * wide) if name == "shift" else 1)
    moved = augment.apply(F.pad(image, (wide,) * 4, mode="replicate"), AugmentParams(**{name: larger}))
    torch.testing.assert_close(out, moved[..., wide:-wide, wide:-wide], atol=2e-5, rtol=0)


MOVED = torch.tensor([[[0.1, 0.05], [-0.1, 0.1], [0.02, -0.13], [0.12, -0.04]]])


def solve_homography(moved: np.ndarray, height: int, width: int) -> np.ndarray:
    """(3, 3) by the linear equations of its four points, output pixels from the centre to input pixels."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
    places = corners + moved * [width, height]
    rows, right = [], []
    for (u, v), (x, y) in zip(corners, places, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        right += [x, y]
    return np.append(np.linalg.solve(rows, right), 1).reshape(3, 3)


def test_perspective_reads_the_corners_at_the_moved_places():
    out = augment.apply(ramps(21, 30), AugmentParams(perspective=MOVED))
    u, v = from_centre(21, 30)
    x, y, w = np.einsum(
        "ij,jhw->ihw", solve_homography(MOVED[0].numpy(), 21, 30), np.stack([u, v, u * 0 + 1])
    )
    check_reads(out, x / w, y / w)


@pytest.mark.parametrize("k", [-0.35, 0.3])
def test_optical_distortion_is_its_formula(k):
    out = augment.apply(ramps(21, 30), AugmentParams(optical_distortion=torch.tensor([k])))
    u, v = from_centre(21, 30)
    r2 = (u / 30) ** 2 + (v / 21) ** 2
    lens = 1 + k * r2 + k * r2**2
    check_reads(out, u * lens, v * lens)


def grid_places(u: np.ndarray, lines: np.ndarray, length: int) -> np.ndarray:
    even = np.linspace(-length / 2, length / 2, len(lines))
    return np.interp(u, even, even + lines * length)


LINES = torch.tensor([[[0, 0.05, -0.04, 0.06, 0], [0, -0.08, 0.03, 0.01, 0]]])


def test_grid_distortion_is_linear_between_its_lines():
    out = augment.apply(ramps(21, 30), AugmentParams(grid_distortion=LINES))
    u, v = from_centre(21, 30)
    check_reads(out, grid_places(u, LINES[0, 0].numpy(), 30), grid_places(v, LINES[0, 1].numpy(), 21))


def test_all_geometry_is_one_composed_map():
    height, width = 24, 31
    rotate, shear, zoom, k = 20.0, 12.0, (1.3, 1.1), 0.2
    shift, crop, flip = (0.06, -0.05), (2.0, -1.0), -1.0
    nodes = math.prod(augment.elastic_nodes(height, width))
    elastic = 0.02 * torch.randn(1, 2, nodes, generator=generator())
    params = AugmentParams(
        hflip=torch.tensor([flip]),
        crop=torch.tensor([crop]),
        zoom=torch.tensor([zoom]),
        rotate=torch.tensor([rotate]),
        shear=torch.tensor([shear]),
        shift=torch.tensor([shift]),
        perspective=MOVED,
        optical_distortion=torch.tensor([k]),
        grid_distortion=LINES,
        elastic=elastic,
    )
    out = augment.apply(ramps(height, width), params)

    # the inverse of each step, the last one first
    u, v = from_centre(height, width)
    u, v = grid_places(u, LINES[0, 0].numpy(), width), grid_places(v, LINES[0, 1].numpy(), height)
    r2 = (u / width) ** 2 + (v / height) ** 2
    lens = 1 + k * r2 + k * r2**2
    u, v = u * lens, v * lens
    u, v, w = np.einsum(
        "ij,jhw->ihw", solve_homography(MOVED[0].numpy(), height, width), np.stack([u, v, u * 0 + 1])
    )
    u, v = u / w, v / w
    u, v = u - shift[0] * width, v - shift[1] * height
    u = u - v * math.tan(math.radians(shear))
    cos, sin = math.cos(math.radians(rotate)), math.sin(math.radians(rotate))
    u, v = cos * u - sin * v, sin * u + cos * v
    u, v = u / zoom[0], v / zoom[1]
    u, v = flip * (u - crop[0]), v - crop[1]
    field = (elastic[0] @ augment.elastic_basis(height, width).flatten(1)).view(2, height, width).numpy()
    check_reads(out, u + field[0] * height, v + field[1] * height)


# ── pixels ───────────────────────────────────────────────────────────────────────────────────────────


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


def test_strongest_gamma_keeps_black_and_white():
    images = torch.tensor([0, 1e-30, 1e-6, 0.5, 1]).repeat(6, 1).view(6, 1, 1, 5)
    gamma = torch.tensor([-2, -1, 0, 0.5, 1, 2]).exp()  # as far as the config goes
    out = augment.apply(images, AugmentParams(gamma=gamma))
    torch.testing.assert_close(out, images ** gamma.view(-1, 1, 1, 1), atol=1e-5, rtol=1e-5)
    assert (out[..., 4] == 1).all()


def test_cutout_is_a_square_clipped_at_the_border():
    images = noise(2, 2, 10, 12) + 0.1
    squares = torch.tensor([[[6.0, 5.0, 4.0]], [[12.0, 0.0, 6.0]]])
    out = augment.apply(images, AugmentParams(cutout=squares))
    expected = images.clone()
    expected[0, :, 3:7, 4:8] = 0
    expected[1, :, :3, 9:] = 0
    assert torch.equal(out, expected)


def test_several_squares_may_overlap_each_other_and_a_grid():
    images = noise(1, 2, 10, 12) + 0.1
    squares = torch.tensor([[[6.0, 5.0, 4.0], [7.0, 5.0, 4.0], [1.0, 9.0, 2.0]]])
    out = augment.apply(images, AugmentParams(cutout=squares, grid_mask=torch.tensor([[10.0, 5, 4, 2]])))
    expected = images.clone()
    expected[0, :, 3:7, 4:9] = 0
    expected[0, :, 8:10, :2] = 0
    expected[0, :, 4:6, 5:7] = 0
    assert torch.equal(out, expected)


def test_blur_is_torchvision_s_for_each_sample():
    images = noise(3, 3, 28, 20)
    sigmas = (0.6, 1.4, 2.0)
    out = augment.apply(images, AugmentParams(blur=torch.tensor(sigmas) / 20))
    for i, sigma in enumerate(sigmas):
        reference = tv.gaussian_blur(
            images[i], [15, 15], [sigma, sigma]
        )  # of 7 pixels, 3.5 times the largest
        torch.testing.assert_close(out[i], reference, atol=1e-3, rtol=0)


def test_saturation_is_torchvision_s():
    images = noise(3, 3, 9, 7) * 0.5 + 0.25
    factors = torch.tensor([0.0, 0.6, 1.4])
    out = augment.apply(images, AugmentParams(saturation=factors))
    for i, factor in enumerate(factors.tolist()):
        torch.testing.assert_close(out[i], tv.adjust_saturation(images[i], factor), atol=1e-3, rtol=0)


def test_hue_turns_colours_and_keeps_grey_and_luma():
    luma = torch.tensor([0.299, 0.587, 0.114])
    images = noise(5, 3, 9, 7) * 0.2 + 0.4  # so that nothing is clipped
    images[:, :, 0] = images[:, :1, 0]  # a grey row
    out = augment.apply(images, AugmentParams(hue=torch.tensor([0.0, 0.1, -0.2, 0.5, 0.3])))
    torch.testing.assert_close(out[0], images[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(out[:, :, 0], images[:, :, 0], atol=1e-5, rtol=0)
    brightness = [torch.einsum("bchw,c->bhw", x, luma) for x in (out, images)]
    torch.testing.assert_close(*brightness, atol=1e-5, rtol=0)
    assert (out[1:, :, 1:] - images[1:, :, 1:]).abs().mean() > 0.01
    back = augment.apply(out, AugmentParams(hue=torch.tensor([0.0, -0.1, 0.2, 0.5, -0.3])))
    torch.testing.assert_close(back, images, atol=1e-5, rtol=0)


def test_hue_turns_the_way_of_torchvision():
    image = noise(1, 3, 30, 30) * 0.2 + 0.4
    out = augment.apply(image, AugmentParams(hue=torch.tensor([0.05]))) - image
    reference = tv.adjust_hue(image, 0.05) - image
    assert torch.nn.functional.cosine_similarity(out.flatten(), reference.flatten(), dim=0) > 0.5


def test_colour_comes_after_brightness_and_contrast_and_before_gamma():
    images = noise(2, 3, 9, 7)
    half = torch.full((2,), 0.5)
    params = {"contrast": half, "brightness": -0.2 * half, "saturation": half}
    out = augment.apply(images, AugmentParams(**params, gamma=2 + half))
    mean = images.mean((1, 2, 3), keepdim=True)
    toned = 0.5 * images + 0.5 * mean - 0.1
    grey = torch.einsum("bchw,c->bhw", toned, torch.tensor([0.299, 0.587, 0.114]))[:, None]
    torch.testing.assert_close(out, (0.5 * toned + 0.5 * grey).clamp(0, 1) ** 2.5, atol=1e-5, rtol=0)


def test_noise_is_added_and_clipped():
    images = noise(2, 1, 6, 5)
    added = torch.randn(2, 1, 6, 5, generator=generator(1))
    out = augment.apply(images, AugmentParams(noise=added))
    assert torch.equal(out, (images + added).clamp(0, 1))


def test_grid_mask_drops_one_square_in_each_unit():
    images = noise(2, 2, 10, 12) + 0.1
    out = augment.apply(images, AugmentParams(grid_mask=torch.tensor([[5.0, 1, 2, 2], [4.5, 0, 0, 0]])))
    expected = images.clone()
    for top in (2, 7):
        for left in (1, 6, 11):
            expected[0, :, top : top + 2, left : left + 2] = 0
    assert torch.equal(out, expected)


def test_grid_mask_lasts_on_both_sides_of_its_first_square():
    images = torch.ones(1, 1, 9, 9)
    out = augment.apply(images, AugmentParams(grid_mask=torch.tensor([[4.0, 3.0, 3.0, 2.0]])))
    dark = [0, 3, 4, 7, 8]  # 3 and 4, and every 4 pixels to both sides
    expected = torch.ones(9, 9)
    for row in dark:
        expected[row, dark] = 0
    assert torch.equal(out[0, 0], expected)


# ── AugMix ───────────────────────────────────────────────────────────────────────────────────────────


def test_augmix_is_the_weighted_sum_of_image_and_chains():
    images = noise(2, 1, 6, 6) * 0.5
    added = torch.tensor([0.1, 0.2, 0.3, 0.4])  # first chain of both samples, then the second
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.8, 0.0]])
    out = augment.apply(images, AugmentParams(brightness=added, augmix=weights))
    torch.testing.assert_close(out[0], images[0] + 0.25 * 0.1 + 0.25 * 0.3)
    torch.testing.assert_close(out[1], images[1] + 0.8 * 0.2)
