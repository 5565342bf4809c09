"""Blur, brightness, contrast, colour, gamma, noise and masks of a batch: all that does not move pixels."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from tune_digits.learn.augment.magnitudes import largest
from tune_digits.learn.augment.params import AugmentParams

TONE = ("contrast", "brightness", "saturation", "hue", "gamma")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in YIQ and in OpenCV's grey
_BLUR_REACH = 3.5  # standard deviations on each side
# About the smallest normal float32 and its logarithm: on a CPU an exponential that underflows and the logarithm of 0
# take 50 to 150 times as long as others.
_TINY = 1.2e-38
_LOG_TINY = math.log(_TINY)


def is_changed(p: AugmentParams) -> bool:
    """True if the params change pixels in place (all except the blur)."""
    return any(getattr(p, name) is not None for name in (*TONE, "noise", "cutout", "grid_mask"))


def change_pixels_(images: Tensor, p: AugmentParams) -> None:
    """Tone, noise and masks, in place: float32 (B, C, H, W) in [0, 1]."""
    if any(getattr(p, name) is not None for name in TONE):
        _tone_(images, p)
    if p.noise is not None:
        images.add_(p.noise).clamp_(0, 1)
    if p.cutout is not None or p.grid_mask is not None:
        _mask_(images, p)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with each sample's standard deviation sigma (B,), as a fraction of the shorter side.

    Beyond the border is the mirror image without the border pixel itself (OpenCV's BORDER_REFLECT_101). Such a filter
    only scales the waves of the cosine transform DCT-I, so that all samples share four matrix products; on a CPU a
    matrix for each sample takes 7 times as long, a convolution for each 19 times.
    """
    batch, channels, height, width = images.shape
    sigma = sigma * min(height, width)
    reach = math.ceil(_BLUR_REACH * largest("blur") * min(height, width))
    offsets = torch.arange(reach + 1, device=images.device)
    exponents = -0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]).square()
    weights = exponents.clamp_(min=_LOG_TINY).exp_()
    weights[:, 1:] *= 2  # to both sides
    weights = weights / weights.sum(1, keepdim=True)
    to_y, from_y, gain_y = _cosines(reach, height, images.device)
    to_x, from_x, gain_x = _cosines(reach, width, images.device)
    to_x, from_x = to_x.T, from_x.T
    with torch.autocast(images.device.type, enabled=False):
        waves = _left(to_y, (images.reshape(-1, width) @ to_x).view(-1, height, width))
        gain = (weights @ gain_y)[:, :, None] @ (weights @ gain_x)[:, None, :]
        waves.view(batch, channels, height, width).mul_(gain[:, None])
        out = _left(from_y, waves).view(-1, width) @ from_x
    return out.view_as(images).clamp_(0, 1)


def _left(matrix: Tensor, images: Tensor) -> Tensor:
    """matrix (H, H) @ images (N, H, W), as one call for all."""
    return torch.bmm(matrix.expand(len(images), -1, -1), images)


@lru_cache(maxsize=32)
def _cosines(reach: int, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """DCT-I of columns of pixels and its inverse, both (length, length), and how a filter scales the waves.

    The third, (reach + 1, length), is the factor of each wave for a filter of the two pixels at each distance.
    """
    step = math.pi / max(length - 1, 1)
    waves = torch.arange(length, dtype=torch.float64)
    inverse = torch.cos(step * waves[:, None] * waves)
    gains = torch.cos(step * torch.arange(reach + 1)[:, None] * waves)
    forward = torch.linalg.inv(inverse)
    return forward.float().to(device), inverse.float().to(device), gains.float().to(device)


def _tone_(images: Tensor, p: AugmentParams) -> None:
    """clamp(colour(contrast * (image + brightness - mean) + mean)) ** gamma, with the mean of image + brightness."""
    offset = p.brightness
    if p.contrast is not None:
        # no clamp between brightness and contrast: it would lose what contrast brings back into range
        towards_mean = (1 - p.contrast) * images.flatten(1).mean(1)
        offset = towards_mean if offset is None else towards_mean + offset
        images.mul_(_column(p.contrast))
    if offset is not None:
        images.add_(_column(offset))
    if p.saturation is not None or p.hue is not None:
        with torch.autocast(images.device.type, enabled=False):
            images.copy_((colour_matrix(p.saturation, p.hue) @ images.flatten(2)).view_as(images))
    if p.gamma is None:
        images.clamp_(0, 1)
    else:
        # a third of pow's time on a CPU
        images.clamp_(_TINY, 1).log_().mul_(_column(p.gamma)).clamp_(min=_LOG_TINY).exp_()


def colour_matrix(saturation: Tensor | None, hue: Tensor | None) -> Tensor:
    """(B, 3, 3) on RGB: YIQ's two colour axes scaled by saturation (B,) and rotated by hue (B,), in turns.

    At least one of the two must be given. Both are linear, so that they are one product; luma stays. A rotation in HSV,
    as in torchvision, keeps the largest and smallest channel instead and costs several times as much.
    """
    given = saturation if saturation is not None else hue
    assert given is not None
    saturation = torch.ones_like(given) if saturation is None else saturation
    angle = torch.zeros_like(given) if hue is None else hue * (2 * math.pi)
    parts = torch.stack([torch.ones_like(given), saturation * angle.cos(), saturation * angle.sin()], dim=1)
    return (parts @ _colour_basis(given.device)).view(-1, 3, 3)


@lru_cache(maxsize=8)
def _colour_basis(device: torch.device) -> Tensor:
    """(3, 9): the matrices that give the grey value, the colour as it is, and the colour rotated by 90 degrees."""
    luma = torch.tensor(LUMA, dtype=torch.float64)
    grey = luma.expand(3, 3)
    yiq = torch.stack(
        [luma, torch.tensor([0.596, -0.274, -0.322]).double(), torch.tensor([0.211, -0.523, 0.312]).double()]
    )
    turn = torch.tensor([[0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    turned = torch.linalg.inv(yiq) @ turn @ yiq
    return torch.stack([grey, torch.eye(3) - grey, turned]).flatten(1).float().to(device)


def _mask_(images: Tensor, p: AugmentParams) -> None:
    """Set to 0 the pixels that are in both a row and a column of a square, in place."""
    centres = [torch.arange(length, device=images.device) + 0.5 for length in images.shape[2:]]
    bands = [] if p.cutout is None else [_squares(p.cutout, *centres)]
    if p.grid_mask is not None:
        rows, columns = _grid_squares(p.grid_mask, *centres)
        bands.append((rows[:, None], columns[:, None]))
    # float masks: boolean ones and masked_fill take 1.6 times as long on a CPU. One product counts in how many squares
    # each pixel lies.
    rows, columns = (torch.cat(band, dim=1).float() for band in zip(*bands, strict=True))
    with torch.autocast(images.device.type, enabled=False):
        images.mul_((1 - rows.mT @ columns).clamp_(min=0)[:, None])


def _squares(cutout: Tensor, y_centres: Tensor, x_centres: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, S, H) and columns (B, S, W) of S squares (DeVries and Taylor 2017, arXiv:1708.04552); bool."""
    x, y, side = cutout[..., None].unbind(2)
    half = side / 2
    return (y_centres - y).abs() < half, (x_centres - x).abs() < half


def _grid_squares(grid: Tensor, y_centres: Tensor, x_centres: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, H) and columns (B, W) of GridMask's squares (Chen et al. 2020, arXiv:2001.04086; not rotated); bool."""
    unit, x, y, side = grid.unsqueeze(2).unbind(1)
    unit = unit.clamp(min=1)  # 0 where no mask happens
    along = [(centres - start) / unit for centres, start in ((y_centres, y), (x_centres, x))]
    # the fraction after the point, written out: torch.remainder takes 10 times as long on a CPU
    rows, columns = (position - position.floor() < side / unit for position in along)
    return rows, columns


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
