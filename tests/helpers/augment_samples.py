"""Images and knobs that the tests of augmentation share."""

from __future__ import annotations

import pytest
import torch

KNOBS = {
    "rotate": 20.0,
    "shift": 0.1,
    "zoom": 0.2,
    "shear": 15.0,
    "elastic": 0.03,
    "grid_distortion": 0.3,
    "optical_distortion": 0.3,
    "perspective": 0.1,
    "crop": 0.2,
    "hflip": 0.5,
    "vflip": 0.4,
    "brightness": 0.2,
    "contrast": 0.3,
    "gamma": 0.5,
    "saturation": 0.5,
    "hue": 0.2,
    "blur": 0.05,
    "noise": 0.1,
    "cutout": 0.5,
    "grid_mask": 0.4,
}
ONE_KNOB_EACH = [pytest.param({name: value}, id=name) for name, value in KNOBS.items()]
ALL_KNOBS = pytest.param(KNOBS, id="all")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=generator(seed))


def centres_of_mass(images: torch.Tensor) -> torch.Tensor:
    """(B, 2): x and y of the centre of mass of (B, C, H, W), in pixels."""
    mass = images.sum((1, 2, 3))
    x = (images.sum((1, 2)) * torch.arange(images.shape[3])).sum(1) / mass
    y = (images.sum((1, 3)) * torch.arange(images.shape[2])).sum(1) / mass
    return torch.stack([x, y], dim=1)
