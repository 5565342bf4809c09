"""AutoAugment's published policies (Cubuk et al. 2018, arXiv:1805.09501) on whole batches.

A policy is 25 pairs of operations, each with a probability and a magnitude from 0 to 9. A sample takes one pair, and
its two operations one after the other. Tables and pixel operations are torchvision's; those that move pixels read
bilinearly here, and from outside the image what `Augment.fill` says (in the paper: grey).

Shape letters: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from tune_digits.learn.augment.geometry import affine_grid, sample

LEVELS = 10  # magnitudes of each operation
MOVING = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
SIGNED = (*MOVING, "Brightness", "Color", "Contrast", "Sharpness")
OPERATIONS = (*SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert")
NOTHING = -1


def step(operation: str, level: int = 0, negative: bool = False) -> int:
    """The number of an operation (of OPERATIONS) at a magnitude 0..9, and of its mirror image.

    >>> step("ShearX"), step("ShearX", 9, negative=True), step("ShearY")
    (0, 19, 20)
    """
    return (OPERATIONS.index(operation) * LEVELS + level) * 2 + negative


def draw_policy(name: str, batch: int, generator: torch.Generator) -> Tensor:
    """(B, 2) int64: the steps of a pair of the policy `name` for each sample; NOTHING where one does not happen."""
    device = generator.device
    steps, chances, signed = (column.to(device) for column in _policy(name))
    pair = torch.randint(len(steps), (batch,), device=device, generator=generator)
    coins = torch.rand(batch, 2, device=device, generator=generator)
    negative = torch.randint(2, (batch, 2), device=device, generator=generator)
    return torch.where(coins < chances[pair], steps[pair] + negative * signed[pair], NOTHING)


def apply_policy(images: Tensor, steps: Tensor, fill: str) -> Tensor:
    """Float32 images (B, C, H, W) in [0, 1], C 1 or 3, after the steps (B, 2) of `draw_policy`.

    A step is a call for each operation and magnitude that occurs in it, and one for all that move pixels.
    """
    out = images.clone()
    moving = step(MOVING[-1], LEVELS)
    for column in steps.T:
        # the numbers of the samples are needed here: on a GPU the one wait of a step
        rows_of: dict[int, list[int]] = defaultdict(list)
        for row, number in enumerate(column.tolist()):
            if number != NOTHING:
                rows_of[number if number >= moving else 0].append(row)
        for number, some in rows_of.items():
            rows = torch.tensor(some, device=images.device)
            if number < moving:
                out[rows] = _moved(out[rows], column[rows], fill)
            else:
                with torch.autocast(images.device.type, enabled=False):
                    out[rows] = _pixel_operation(out[rows], number)
    return out


@lru_cache(maxsize=3)
def _policy(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """A policy's pairs (25, 2): steps with their own sign, probabilities, and 1 where the sign is drawn."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy  # takes seconds to load

    pairs = AutoAugment(AutoAugmentPolicy(name)).policies
    steps = [[step(operation, level or 0) for operation, _, level in pair] for pair in pairs]
    chances = [[chance for _, chance, _ in pair] for pair in pairs]
    signed = [[int(operation in SIGNED) for operation, _, _ in pair] for pair in pairs]
    return torch.tensor(steps), torch.tensor(chances), torch.tensor(signed)


def _moved(images: Tensor, steps: Tensor, fill: str) -> Tensor:
    """Images (B, C, H, W) after steps (B,) of MOVING."""
    height, width = images.shape[2:]
    return sample(images, affine_grid(_maps(height, width, images.device)[steps], height, width), fill)


@lru_cache(maxsize=32)
def _maps(height: int, width: int, device: torch.device) -> Tensor:
    """(steps, 2, 3): the output pixel (x, y, 1), from the centre, to the input pixel, of each step of MOVING."""
    found = []
    for operation in MOVING:
        for level in range(LEVELS):
            for sign in (1, -1):
                part = sign * level / (LEVELS - 1)
                shear, share, angle = 0.3 * part, 150 / 331 * part, math.radians(30 * part)
                cos, sin = math.cos(angle), math.sin(angle)
                found.append(
                    {
                        # about the top left corner, as in Pillow
                        "ShearX": [[1, shear, shear * height / 2], [0, 1, 0]],
                        "ShearY": [[1, 0, 0], [shear, 1, shear * width / 2]],
                        "TranslateX": [[1, 0, -math.trunc(share * width)], [0, 1, 0]],
                        "TranslateY": [[1, 0, 0], [0, 1, -math.trunc(share * height)]],
                        "Rotate": [[cos, -sin, 0], [sin, cos, 0]],
                    }[operation]
                )
    return torch.tensor(found, device=device)


def _pixel_operation(images: Tensor, number: int) -> Tensor:
    """Images (B, C, H, W) after the step `number`, which moves no pixels."""
    index, sign = divmod(number, 2)
    operation, level = OPERATIONS[index // LEVELS], index % LEVELS
    part = level / (LEVELS - 1)
    return _pixel_operations()[operation](images, part, 1 + 0.9 * (-part if sign else part))


@lru_cache(maxsize=1)
def _pixel_operations() -> dict[str, Callable[[Tensor, float, float], Tensor]]:
    """Operation -> (images, magnitude 0..1, factor 0.1..1.9) -> images."""
    from torchvision.transforms.v2 import functional as tv

    return {
        "Brightness": lambda images, part, factor: tv.adjust_brightness(images, factor),
        "Color": lambda images, part, factor: tv.adjust_saturation(images, factor),
        "Contrast": lambda images, part, factor: tv.adjust_contrast(images, factor),
        "Sharpness": lambda images, part, factor: tv.adjust_sharpness(images, factor),
        "Posterize": lambda images, part, factor: tv.posterize(images, 8 - round(4 * part)),
        "Solarize": lambda images, part, factor: tv.solarize(images, 1 - part),
        "AutoContrast": lambda images, part, factor: tv.autocontrast(images),
        "Equalize": lambda images, part, factor: tv.equalize(images),
        "Invert": lambda images, part, factor: tv.invert(images),
    }
