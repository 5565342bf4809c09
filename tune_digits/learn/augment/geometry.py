"""All geometric changes of a batch as one map from output to input pixels, and one sampling."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from tune_digits.learn.augment.params import AugmentParams

GEOMETRY = (
    "hflip", "vflip", "crop", "zoom", "rotate", "shear", "shift", "perspective", "optical_distortion",
    "grid_distortion", "elastic",
)  # fmt: skip


def is_warped(p: AugmentParams) -> bool:
    """True if the params move pixels."""
    return any(getattr(p, name) is not None for name in GEOMETRY)


# what is read outside of an image: augment.fill in the configuration -> grid_sample's padding_mode
FILLS = {"zero": "zeros", "nearest": "border"}


def warp(images: Tensor, p: AugmentParams, fill: str = "zero") -> Tensor:
    """New images float32 (B, C, H, W), sampled bilinearly at the positions of the composed map.

    fill: what is outside, a key of FILLS.
    """
    height, width = images.shape[2:]
    # under autocast the products would round coordinates to bfloat16
    with torch.autocast(images.device.type, enabled=False):
        grid = _grid(p, len(images), height, width, images.device)
    return sample(images, grid, fill)


def sample(images: Tensor, grid: Tensor, fill: str) -> Tensor:
    """Images (B, C, H, W) read bilinearly at grid (2, B, H, W): x and y, -1 to 1 across the image."""
    with torch.autocast(images.device.type, enabled=False):
        # x and y planes stay apart in memory: grid_sample reads such a grid faster than interleaved pairs
        sampled: Tensor = F.grid_sample(
            images, grid.permute(1, 2, 3, 0), padding_mode=FILLS[fill], align_corners=False
        )
    return sampled.clamp_(0, 1)  # the four weights of a pixel may sum to a little more than 1


def affine_grid(maps: Tensor, height: int, width: int) -> Tensor:
    """(2, B, H, W) for `sample`: the positions that maps (B, 2, 3) read, from output pixels (x, y, 1) to input pixels,
    both from the centre."""
    with torch.autocast(maps.device.type, enabled=False):
        rows = (maps * _to_grid(height, width, maps.device)).transpose(0, 1).reshape(-1, 3)
        return (rows @ _affine_basis(height, width, maps.device)).view(2, -1, height, width)


def elastic_nodes(height: int, width: int) -> tuple[int, int]:
    """Nodes (rows, columns) of the elastic field: 5 along the shorter side, at the same distance along the longer."""
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
    norms: Tensor = weights.norm(dim=0)
    return weights / norms


# ── the positions that are read ─────────────────────────────────────────────────────────────────────────


def _grid(p: AugmentParams, batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """(2, B, H, W): x and y of the position that is read for each pixel, -1 to 1 across the image.

    From the output back to the input: grid distortion, lens, perspective, the affine map, the elastic field. All maps
    that are linear in their random numbers are one matrix product with constants that depend on the size alone;
    F.affine_grid alone takes 4 times as long. The distorted grid is among them: it displaces whole columns and rows,
    and the affine map is linear in these displacements.
    """
    to_grid = _to_grid(height, width, device)
    rows = _inverse_affine(p, batch, height, width, device) * to_grid
    if p.perspective is not None:
        rows = _homography(rows, p.perspective, height, width)  # a third row: what x and y are divided by
    linear = p.perspective is p.optical_distortion is None
    field = None if p.elastic is None else p.elastic * min(height, width) * to_grid
    parts, constants = [rows], [_affine_basis(height, width, device)]
    if p.optical_distortion is not None:
        parts = [rows * torch.tensor([1.0, 1, 0], device=device)]  # the offset comes after the lens
    if field is not None and linear:
        parts.append(field)
        constants.append(_elastic_basis(height, width, device))
    if p.grid_distortion is not None:
        along_x, along_y = p.grid_distortion[:, :, None, 1:-1].unbind(1)
        parts += [width * rows[:, :, :1] * along_x, height * rows[:, :, 1:2] * along_y]
        constants.append(_hats(p.grid_distortion.shape[2] - 1, height, width, device))
    weights = torch.cat(parts, dim=2).transpose(0, 1)
    planes = (weights.reshape(-1, weights.shape[2]) @ torch.cat(constants)).view(-1, batch, height, width)
    if linear:
        return planes
    if p.optical_distortion is not None:
        planes.mul_(_lens(p, p.optical_distortion, height, width, device)).add_(
            rows[:, :, 2].T[:, :, None, None]
        )
    grid = planes if p.perspective is None else planes[:2].div_(planes[2])
    if field is not None:
        basis = _elastic_basis(height, width, device)
        grid.view(-1, height * width).addmm_(field.transpose(0, 1).reshape(-1, len(basis)), basis)
    return grid


def _lens(p: AugmentParams, k: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    """(B, H, W): 1 + k r^2 + k r^4, with k (B,) and r, as a fraction of the sides, after the distorted grid."""
    x, y, _ = _affine_basis(height, width, device).view(3, 1, height, width)
    x, y = x[:, 0] / width, y[:, :, 0] / height
    if p.grid_distortion is not None:
        hats = _hats(p.grid_distortion.shape[2] - 1, height, width, device).view(2, -1, height, width)
        x = x + p.grid_distortion[:, 0, 1:-1] @ hats[0, :, 0]
        y = y + p.grid_distortion[:, 1, 1:-1] @ hats[1, :, :, 0]
    # r^2 = x^2 + y^2, so that the factor is a polynomial in x^2 whose coefficients are functions of y: one product
    k, x, y = k[:, None], x.square(), y.square()
    x, y = (t.expand(len(k), -1) for t in (x, y))
    powers = torch.stack([torch.ones_like(x), x, x.square()], dim=1)
    coefficients = torch.stack([1 + k * (y + y.square()), k * (1 + 2 * y), k.expand_as(y)], dim=2)
    return coefficients @ powers


def _inverse_affine(p: AugmentParams, batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """(B, 2, 3): the output pixel (x, y, 1), from the centre, to the input pixel.

    Forward it is shift . shear . rotate . zoom, albumentations' order, after crop . flip: the same in both backends.
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
    if p.crop is not None:
        x, y = x - p.crop[:, 0], y - p.crop[:, 1]
    if p.hflip is not None:
        a, b, x = a * p.hflip, b * p.hflip, x * p.hflip
    if p.vflip is not None:
        c, d, y = c * p.vflip, d * p.vflip, y * p.vflip
    return torch.stack([a, b, x, c, d, y], dim=1).view(batch, 2, 3)


def _homography(rows: Tensor, moved: Tensor, height: int, width: int) -> Tensor:
    """(B, 3, 3): rows (B, 2, 3) after the projective map that reads the corners displaced by `moved` (B, 4, 2).

    The unit square to a quadrilateral in closed form: Heckbert 1989, "Fundamentals of texture mapping", 2.2.3.
    """
    corners = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], device=rows.device) + moved
    x, y = corners.unbind(2)
    x0, x1, x2, x3 = x.unbind(1)
    y0, y1, y2, y3 = y.unbind(1)
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    below = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / below, (dx1 * sy - sx * dy1) / below
    one = torch.ones_like(g)
    square_to_quad = [
        x1 - x0 + g * x1,
        x3 - x0 + h * x3,
        x0,
        y1 - y0 + g * y1,
        y3 - y0 + h * y3,
        y0,
        g,
        h,
        one,
    ]
    matrix = torch.stack(square_to_quad, dim=1).view(-1, 3, 3)
    w, h_ = float(width), float(height)
    to_pixels = torch.tensor([[w, 0, -w / 2], [0, h_, -h_ / 2], [0, 0, 1]], device=rows.device)
    from_pixels = torch.tensor([[1 / w, 0, 0.5], [0, 1 / h_, 0.5], [0, 0, 1]], device=rows.device)
    last = torch.tensor([[[0.0, 0, 1]]], device=rows.device).expand(len(rows), 1, 3)
    return torch.cat([rows, last], dim=1) @ (to_pixels @ matrix @ from_pixels)


# ── constants of a size ──────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=32)
def _affine_basis(height: int, width: int, device: torch.device) -> Tensor:
    """(3, H * W): x and y of the pixel centres from the image centre, and ones."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rows = [x - (width - 1) / 2, y - (height - 1) / 2, torch.ones(height, width)]
    return torch.stack(rows).flatten(1).to(device)


@lru_cache(maxsize=32)
def _elastic_basis(height: int, width: int, device: torch.device) -> Tensor:
    return elastic_basis(height, width).flatten(1).to(device)


@lru_cache(maxsize=32)
def _hats(steps: int, height: int, width: int, device: torch.device) -> Tensor:
    """(2 * (S - 1), H * W): weights of the inner lines of an even grid, those along y first, then those along x."""
    along_y, along_x = (_interpolation(steps, length)[1:-1] for length in (width, height))
    planes = [along_y[:, None, :].expand(-1, height, -1), along_x[:, :, None].expand(-1, -1, width)]
    return torch.cat(planes).flatten(1).to(device)


def _interpolation(steps: int, length: int) -> Tensor:
    """(S + 1, length): linear interpolation at the pixel centres between S + 1 even lines, edge to edge."""
    positions = (torch.arange(length) + 0.5) * (steps / length)
    return (1 - (positions - torch.arange(steps + 1)[:, None]).abs()).clamp_(min=0)


@lru_cache(maxsize=32)
def _to_grid(height: int, width: int, device: torch.device) -> Tensor:
    """(2, 1): from pixels to grid_sample's -1 to 1 across the image."""
    return torch.tensor([[2 / width], [2 / height]], device=device)
