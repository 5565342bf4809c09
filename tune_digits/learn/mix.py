"""Mixing pairs of one batch, images and targets alike: MixUp and CutMix.

`draw` makes the random numbers for one batch; `apply` is a pure function of the batch and those numbers.
Shapes: B batch, C channels, H W pixels, K class columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import Mix


@dataclass(frozen=True, slots=True)
class MixParams:
    """How one batch is mixed.

    partner  (B,) int64: the sample that each sample is mixed with
    share    in [0, 1]: a sample's own part (lambda in the papers), the partner has the rest
    box      (top, bottom, left, right) in pixels, taken from the partner: CutMix. None: MixUp
    """

    partner: Tensor
    share: float
    box: tuple[int, int, int, int] | None = None


def draw(config: Mix, batch: int, height: int, width: int, generator: torch.Generator) -> MixParams | None:
    """The random numbers for one batch, one lambda for all as in the papers' code; None if it is not mixed.

    torch has no Beta distribution with an explicit generator, so one integer of the torch generator seeds a
    NumPy generator that draws all the rest. That integer is needed on the host: a generator on the CPU spares
    a GPU the waiting.
    """
    if config.p == 0 or config.mixup_alpha == config.cutmix_alpha == 0:
        return None
    seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
    rng = np.random.default_rng(int(seed))
    if rng.random() >= config.p:
        return None
    partner = torch.from_numpy(rng.permutation(batch))
    both = config.mixup_alpha > 0 and config.cutmix_alpha > 0
    if config.cutmix_alpha == 0 or (both and rng.random() < 0.5):
        return MixParams(partner, rng.beta(config.mixup_alpha, config.mixup_alpha))
    share = rng.beta(config.cutmix_alpha, config.cutmix_alpha)
    centre_y, centre_x = rng.integers(height), rng.integers(width)
    box = cut_box(share, int(centre_y), int(centre_x), height, width)
    return MixParams(partner, _share_outside(box, height, width), box)


def cut_box(share: float, centre_y: int, centre_x: int, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a box shaped like the image, of area 1 - share before clipping.

    Algorithm 1 of the CutMix paper.
    """
    side = math.sqrt(1 - share)
    half_y, half_x = int(height * side) // 2, int(width * side) // 2
    top, bottom = max(centre_y - half_y, 0), min(centre_y + half_y, height)
    left, right = max(centre_x - half_x, 0), min(centre_x + half_x, width)
    return top, bottom, left, right


def apply(images: Tensor, targets: Tensor, params: MixParams | None) -> tuple[Tensor, Tensor]:
    """Mix float images (B, C, H, W) and float targets (B, K) on one device; the inputs stay as they are.

    MixUp: Zhang et al. 2018, arXiv:1710.09412. CutMix: Yun et al. 2019, arXiv:1905.04899.
    Rows of targets that sum to 1 still do. None for params returns the inputs themselves.
    """
    if params is None:
        return images, targets
    partner = params.partner.to(images.device, non_blocking=True)
    mixed_targets = torch.lerp(targets[partner], targets, params.share)
    if params.box is None:
        return torch.lerp(images[partner], images, params.share), mixed_targets
    top, bottom, left, right = params.box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, mixed_targets


def _share_outside(box: tuple[int, int, int, int], height: int, width: int) -> float:
    top, bottom, left, right = box
    return 1 - (bottom - top) * (right - left) / (height * width)
