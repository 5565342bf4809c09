"""Random changes of a whole batch of images at once, on the device where the images are.

`draw` makes the random numbers, one set per sample; `apply` is a pure function of images and those numbers.
All geometry is one map from output to input pixels, sampled once: two samplings would blur twice.

Shapes: B batch, C channels, H W pixels, K nodes of the elastic field. Images are float32 in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from tune_digits.config import Augment

MAGNITUDES = (
    "rotate", "shift", "zoom", "shear", "elastic", "brightness", "contrast", "gamma", "cutout",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AugmentParams:
    """What happens to each sample of one batch; None is an operation that does not happen.

    Geometry, in the order of application, about the image centre (x to the right, y down):
      zoom       (B, 2)        factors along x and y
      rotate     (B,)          degrees counter-clockwise as seen: 90 is `torch.rot90(images, 1, (2, 3))`
      shear      (B,)          degrees; a row y pixels below the centre moves right by y * tan(shear)
      shift      (B, 2)        to the right and down, in parts of W and H
      elastic    (B, 2, nodes) displacement of the place that is read, in parts of min(H, W); in x and y, at
                               the nodes of `elastic_basis`
    Intensity, then:
      brightness (B,)          added
      contrast   (B,)          factor about the sample's mean over C, H, W
      gamma      (B,)          exponent
      cutout     (B, 3)        centre x and y (pixels from the top left corner) and side of a square set to 0
    chosen       (B,) bool     False is a sample that is left alone; None is all True
    """

    zoom: Tensor | None = None
    rotate: Tensor | None = None
    shear: Tensor | None = None
    shift: Tensor | None = None
    elastic: Tensor | None = None
    brightness: Tensor | None = None
    contrast: Tensor | None = None
    gamma: Tensor | None = None
    cutout: Tensor | None = None
    chosen: Tensor | None = None


def magnitudes(config: Augment) -> dict[str, float]:
    """Every magnitude times `strength`, no larger than the config allows for the magnitude itself."""
    return {name: min(config.strength * getattr(config, name), _LARGEST[name]) for name in MAGNITUDES}


def is_identity(config: Augment) -> bool:
    """True if no image can change under this config."""
    if config.p == 0:
        return True
    return config.pipeline is None and not any(magnitudes(config).values())


def draw(config: Augment, batch: int, height: int, width: int, generator: torch.Generator) -> AugmentParams:
    """The random numbers for one batch of shape (batch, C, height, width), on the generator's device."""
    if is_identity(config):
        return AugmentParams()
    m = magnitudes(config)
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(batch, *shape, device=device).uniform_(low, high, generator=generator)

    def around(centre: float, name: str, *shape: int) -> Tensor | None:
        return uniform(centre - m[name], centre + m[name], *shape) if m[name] else None

    elastic = cutout = None
    if m["elastic"]:
        nodes = math.prod(elastic_nodes(height, width))
        elastic = torch.randn(batch, 2, nodes, device=device, generator=generator).mul_(m["elastic"])
    if m["cutout"]:
        largest = (width, height, m["cutout"] * min(height, width))
        cutout = torch.stack([uniform(0, high) for high in largest], dim=1)
    gamma = around(0, "gamma")
    return AugmentParams(
        zoom=around(1, "zoom", 2),
        rotate=around(0, "rotate"),
        shear=around(0, "shear"),
        shift=around(0, "shift", 2),
        elastic=elastic,
        brightness=around(0, "brightness"),
        contrast=around(1, "contrast"),
        gamma=None if gamma is None else gamma.exp_(),
        cutout=cutout,
        chosen=uniform(0, 1) < config.p if config.p < 1 else None,
    )


def apply(images: Tensor, params: AugmentParams) -> Tensor:
    """Changed float32 images (B, C, H, W) in [0, 1]. What comes from outside an image is 0.

    The input stays as it is; if params change nothing, it is returned itself.
    """
    toned = not (params.brightness is params.contrast is params.gamma is None)
    warped = not (params.zoom is params.rotate is params.shear is params.shift is params.elastic is None)
    if not (warped or toned or params.cutout is not None):
        return images
    out = _warp(images, params) if warped else images.clone()
    # In place from here: on a CPU, fresh memory for every step would take half as long again.
    if toned:
        _tone_(out, params)
    if params.cutout is not None:
        _cut_(out, params.cutout)
    return out if params.chosen is None else torch.where(params.chosen.view(-1, 1, 1, 1), out, images)


def augment(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    """`apply` of a fresh `draw`: float32 images (B, C, H, W) in [0, 1] on the generator's device."""
    batch, _, height, width = images.shape
    return apply(images, draw(config, batch, height, width, generator))


def elastic_nodes(height: int, width: int) -> tuple[int, int]:
    """Nodes (rows, columns) of the elastic field: 5 along the shorter side, as densely along the longer."""
    gap = min(height, width) / 4
    return round(height / gap) + 1, round(width / gap) + 1


def elastic_basis(height: int, width: int) -> Tensor:
    """Weights (K, H, W) that turn standard normal values at K nodes into a smooth field.

    Bicubic interpolation, with every pixel's weights scaled to norm 1: the field has standard deviation 1 at
    the nodes, between them and at the border alike. The smooth random field is that of Simard et al. 2003,
    "Best practices for convolutional neural networks", made from a coarse grid instead of a blurred fine one.
    """
    nodes = elastic_nodes(height, width)
    count = math.prod(nodes)
    impulses = torch.eye(count).view(1, count, *nodes)
    weights = F.interpolate(impulses, (height, width), mode="bicubic", align_corners=True)[0]
    return weights / weights.norm(dim=0)


# ── the operations ───────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=32)
def _basis(height: int, width: int, device: torch.device) -> Tensor:
    """(3 + K, H * W): x and y of the pixel centres from the image centre, ones, and the elastic weights."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    affine = torch.stack([x - (width - 1) / 2, y - (height - 1) / 2, torch.ones(height, width)])
    return torch.cat([affine, elastic_basis(height, width)]).flatten(1).to(device)


def _warp(images: Tensor, p: AugmentParams) -> Tensor:
    batch, _, height, width = images.shape
    rows = _inverse_affine(p, batch, height, width, images.device)
    if p.elastic is not None:
        rows = torch.cat([rows, p.elastic * min(height, width)], dim=2)
    rows[:, 0] *= 2 / width  # from pixels to grid_sample's -1 to 1 across the image
    rows[:, 1] *= 2 / height
    basis = _basis(height, width, images.device)[: rows.shape[2]]
    # The affine map and the elastic field are one matrix product. Its x and y planes stay apart in memory:
    # grid_sample reads such a grid faster than interleaved pairs, and F.affine_grid alone would take 4 times
    # as long as this product. Under autocast the product would round coordinates to bfloat16.
    with torch.autocast(images.device.type, enabled=False):
        grid = (rows.view(batch * 2, -1) @ basis).view(batch, 2, height, width)
        out = F.grid_sample(images, grid.permute(0, 2, 3, 1), align_corners=False)
    return out.clamp_(0, 1)  # the four weights of a pixel may sum to a little more than 1


def _inverse_affine(p: AugmentParams, batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """(B, 2, 3): the output pixel (x, y, 1), from the centre, to the input pixel.

    Forward it is shift . shear . rotate . zoom, albumentations' order, so both backends mean the same.
    """
    zero, one = torch.zeros(batch, device=device), torch.ones(batch, device=device)
    a, b, c, d = one, zero, zero, one  # the 2x2 part [[a, b], [c, d]]
    if p.rotate is not None:
        radians = torch.deg2rad(p.rotate)
        cos, sin = radians.cos(), radians.sin()
        a, b, c, d = cos, -sin, sin, cos  # the inverse of counter-clockwise, y pointing down
    if p.shear is not None:
        slope = torch.deg2rad(p.shear).tan()
        b, d = b - a * slope, d - c * slope
    if p.zoom is not None:
        zoom_x, zoom_y = p.zoom.unbind(1)
        a, b, c, d = a / zoom_x, b / zoom_x, c / zoom_y, d / zoom_y
    x, y = zero, zero
    if p.shift is not None:
        shift_x, shift_y = p.shift[:, 0] * width, p.shift[:, 1] * height
        x, y = -(a * shift_x + b * shift_y), -(c * shift_x + d * shift_y)
    return torch.stack([a, b, x, c, d, y], dim=1).view(batch, 2, 3)


def _tone_(images: Tensor, p: AugmentParams) -> None:
    """clamp(contrast * (image + brightness - mean) + mean) ** gamma, with the mean of image + brightness."""
    if p.contrast is not None:
        # No clamp between brightness and contrast: it would lose what the second brings back into range.
        mean = images.flatten(1).mean(1)
        images.mul_(_column(p.contrast)).add_(_column((1 - p.contrast) * mean))
    if p.brightness is not None:
        images.add_(_column(p.brightness))
    images.clamp_(0, 1)
    if p.gamma is not None:
        # On a CPU exp(g * log(x)) takes a fifth of the time on dense images and 7 times as long on zeros.
        images.pow_(_column(p.gamma))


def _cut_(images: Tensor, cutout: Tensor) -> None:
    """Set a square to 0 (DeVries and Taylor 2017, arXiv:1708.04552); pixels count by their centres."""
    height, width = images.shape[2:]
    x, y, side = cutout.unsqueeze(2).unbind(1)
    half = side / 2
    rows = ((torch.arange(height, device=images.device) + 0.5 - y).abs() < half).float()
    columns = ((torch.arange(width, device=images.device) + 0.5 - x).abs() < half).float()
    # Float masks: boolean ones and masked_fill take 1.6 times as long on a CPU.
    images.mul_(1 - rows[:, None, :, None] * columns[:, None, None, :])


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _largest(name: str) -> float:
    return next(bound.le for bound in Augment.model_fields[name].metadata if hasattr(bound, "le"))


_LARGEST = {name: _largest(name) for name in MAGNITUDES}
