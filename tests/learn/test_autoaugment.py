"""AutoAugment: its policies as drawn, and each of its operations against torchvision's."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from augment_samples import generator, noise
from pydantic import ValidationError
from torchvision.transforms import AutoAugment, AutoAugmentPolicy
from torchvision.transforms import functional as reference
from torchvision.transforms.autoaugment import _apply_op

from tune_digits.config import Augment
from tune_digits.learn import augment
from tune_digits.learn.augment import AugmentParams
from tune_digits.learn.augment.autoaugment import (
    LEVELS,
    MOVING,
    NOTHING,
    OPERATIONS,
    SIGNED,
    draw_policy,
    step,
)

DRAWS = 20_000
POLICIES = ("imagenet", "cifar10", "svhn")


def one_step(images: torch.Tensor, number: int, fill: str = "zero") -> torch.Tensor:
    steps = torch.tensor([[number, NOTHING]]).repeat(len(images), 1)
    return augment.apply(images, AugmentParams(autoaugment=steps), fill)


def magnitude(operation: str, level: int, height: int, width: int) -> float:
    """As torchvision has it for images of bytes."""
    space = AutoAugment()._augmentation_space(LEVELS, (height, width))
    assert (operation in SIGNED) == space[operation][1]
    values = space[operation][0]
    return float(values[level]) if values.ndim else 0.0


@pytest.mark.parametrize(
    ("operation", "sign"),
    [(o, sign) for o in OPERATIONS for sign in (1, -1) if o not in MOVING and (sign > 0 or o in SIGNED)],
)
def test_pixel_operations_are_torchvision_s(operation: str, sign: int) -> None:
    images = (noise(6, 3, 37, 34).square() * 150 + 40).byte()
    for level in (0, 4, 9):
        out = one_step(images / 255, step(operation, level, sign < 0))
        value = sign * magnitude(operation, level, 37, 34)
        mode = reference.InterpolationMode.BILINEAR
        expected = torch.stack([_apply_op(image, operation, value, mode, None) for image in images]) / 255
        # bytes are rounded, the grey image that they are blended with too; a posterized float is the lower multiple of
        # 1 / 2 ** bits, a posterized byte that of 256 / 2 ** bits
        if operation == "Solarize":  # a pixel at the threshold itself
            apart = (out - expected).abs() > 1e-6
            assert apart.float().mean() < 0.01
            assert (images[apart] - value).abs().max() <= 1 if apart.any() else True
        else:
            torch.testing.assert_close(out, expected, atol=2.01 / 255, rtol=0)
        if level == 9:
            assert (out - images / 255).abs().max() > 0.02


@pytest.mark.parametrize("size", [(20, 20), (16, 27)], ids=str)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("operation", MOVING)
def test_moving_operations_are_torchvision_s(operation: str, sign: int, size: tuple[int, int]) -> None:
    images = noise(3, 3, *size)
    for level in (0, 5, 9):
        out = one_step(images, step(operation, level, sign < 0))
        value = sign * magnitude(operation, level, *size)
        expected = _apply_op(images, operation, value, reference.InterpolationMode.BILINEAR, None)
        # torchvision blends the border with black on its own terms
        torch.testing.assert_close(out[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-3, rtol=0)


def test_moving_operations_fill_as_the_configuration_says() -> None:
    white = torch.ones(4, 1, 12, 12)
    number = step("TranslateX", 9)
    assert one_step(white, number, "nearest").min() > 0.999
    assert one_step(white, number)[..., 0].max() == 0
    config = Augment(autoaugment="svhn", fill="nearest")
    steps = augment.draw(config, 4, 12, 12, generator()).autoaugment
    assert steps is not None
    drawn = augment.augment(white.repeat(50, 1, 1, 1), Augment(autoaugment="svhn"), generator())
    filled = augment.augment(white.repeat(50, 1, 1, 1), config, generator())
    assert not torch.equal(drawn, filled)


@pytest.mark.parametrize("name", POLICIES)
def test_pairs_are_drawn_with_their_published_probabilities(name: str) -> None:
    pairs = AutoAugment(AutoAugmentPolicy(name)).policies
    assert len(pairs) == 25
    expected: Counter[tuple[int, int]] = Counter()
    for pair in pairs:
        ends = []
        for operation, chance, level in pair:
            signs = (False, True) if operation in SIGNED else (False,)
            options = {step(operation, level or 0, sign): chance / len(signs) for sign in signs}
            ends.append(options | {NOTHING: 1 - chance})
        for first, p in ends[0].items():
            for second, q in ends[1].items():
                expected[first, second] += p * q / 25
    steps = draw_policy(name, DRAWS, generator())
    assert steps.shape == (DRAWS, 2)
    assert steps.dtype == torch.int64
    found = Counter(map(tuple, steps.tolist()))
    assert set(found) <= {pair for pair, p in expected.items() if p}
    for pair, p in expected.items():
        assert abs(found[pair] / DRAWS - p) < 5 * math.sqrt(p * (1 - p) / DRAWS) + 1e-9, pair


def test_a_sample_s_two_steps_come_one_after_the_other() -> None:
    images = noise(2, 1, 8, 8) * 0.4
    steps = torch.tensor([[step("Invert"), step("Solarize", 5)], [step("Solarize", 5), step("Invert")]])
    out = augment.apply(images, AugmentParams(autoaugment=steps))
    threshold = 1 - 5 / 9
    inverted = 1 - images[0]
    torch.testing.assert_close(out[0], torch.where(inverted >= threshold, 1 - inverted, inverted))
    torch.testing.assert_close(out[1], 1 - images[1])


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_keeps_the_contract(name: str, channels: int) -> None:
    images = noise(64, channels, 12, 15)
    before = images.clone()
    config = Augment(autoaugment=name, p=0.5, hflip=0.5, cutout=0.3)
    out, again = (augment.augment(images, config, generator()) for _ in range(2))
    other = augment.augment(images, config, generator(1))
    assert torch.equal(out, again)
    assert not torch.equal(out, other)
    assert torch.equal(images, before)
    assert out.shape == images.shape
    assert 0 <= out.min() <= out.max() <= 1
    chosen = augment.draw(config, 64, 12, 15, generator(), channels).chosen
    assert chosen is not None
    assert torch.equal(out[~chosen], images[~chosen])
    assert not augment.is_identity(config)


def test_it_comes_after_the_geometry_and_before_tone_and_masks() -> None:
    images = noise(2, 1, 8, 8) * 0.5
    steps = torch.tensor([[step("Invert"), NOTHING]]).repeat(2, 1)
    params = {"shift": torch.full((2, 2), 0.25), "brightness": torch.full((2,), -0.3)}
    out = augment.apply(images, AugmentParams(**params, autoaugment=steps))
    shifted = augment.apply(images, AugmentParams(shift=params["shift"]))
    torch.testing.assert_close(out, (1 - shifted - 0.3).clamp(0, 1))


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"backend": "albumentations"}, "backend: batched"),
        ({"randaugment_n": 2}, "use one of them"),
        ({"augmix": 3}, "use one of them"),
    ],
)
def test_what_does_not_go_with_a_policy_is_refused(others: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Augment(autoaugment="svhn", **others)
    with pytest.raises(ValidationError, match="'none', 'imagenet', 'cifar10' or 'svhn'"):
        Augment(autoaugment="mnist")
