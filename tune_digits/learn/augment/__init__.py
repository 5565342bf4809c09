"""Random changes of a whole batch of images at once, on the device where the images are.

`draw` makes the random numbers, one set per sample; `apply` is a pure function of images and those numbers.
All geometric changes together are one map from output to input pixels, sampled once: two samplings would blur twice.

Shape letters: B batch, C channels, H W pixels, K nodes of the elastic field, S cells of the distorted grid along an
axis. Images are float32 in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from tune_digits.config import Augment
from tune_digits.learn.augment.autoaugment import apply_policy
from tune_digits.learn.augment.drawing import draw
from tune_digits.learn.augment.geometry import elastic_basis, elastic_nodes, is_warped, warp
from tune_digits.learn.augment.magnitudes import MAGNITUDES, is_identity, magnitudes
from tune_digits.learn.augment.params import AugmentParams
from tune_digits.learn.augment.pixels import blur, change_pixels_, is_changed

__all__ = [
    "MAGNITUDES",
    "AugmentParams",
    "apply",
    "augment",
    "draw",
    "elastic_basis",
    "elastic_nodes",
    "is_identity",
    "magnitudes",
]


def augment(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    """`apply` of a fresh `draw`: float32 images (B, C, H, W) in [0, 1] on the generator's device."""
    batch, channels, height, width = images.shape
    return apply(images, draw(config, batch, height, width, generator, channels), config.fill)


def apply(images: Tensor, params: AugmentParams, fill: str = "zero") -> Tensor:
    """Changed float32 images (B, C, H, W) in [0, 1]. Pixels from outside an image are as `fill` says (`Augment.fill`).

    The input stays as it is; if params change nothing, it is returned itself.
    """
    warped, changed = is_warped(params), is_changed(params)
    if not (warped or params.blur is not None or params.autoaugment is not None or changed):
        return images
    chains = 1 if params.augmix is None else params.augmix.shape[1] - 1
    out = images if chains == 1 else images.repeat(chains, 1, 1, 1)
    if warped:
        out = warp(out, params, fill)
    if params.blur is not None:
        out = blur(out, params.blur)
    if params.autoaugment is not None:
        out = apply_policy(out, params.autoaugment, fill)
    if changed:
        # in place from here: on a CPU, new memory for every operation would take 1.5 times as long
        out = out.clone() if out is images else out
        change_pixels_(out, params)
    if params.augmix is not None:
        out = _mix(images, out.view(chains, *images.shape), params.augmix)
    return out if params.chosen is None else torch.where(params.chosen.view(-1, 1, 1, 1), out, images)


def _mix(images: Tensor, chains: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the image and its chains (chains, B, C, H, W); weights: (B, 1 + chains), adding up to 1."""
    columns = weights.T[:, :, None, None, None]
    out = images * columns[0]
    for chain, column in zip(chains, columns[1:], strict=True):
        out.addcmul_(chain, column)
    return out.clamp_(0, 1)
