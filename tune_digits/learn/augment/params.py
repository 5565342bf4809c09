"""The random numbers of a batch: what each operation does to each sample."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class AugmentParams:
    """What each operation does to each sample of one batch; None where an operation is off.

    A displacement below is that of the position which is read in the input. Geometry, in the order of application,
    about the image centre (x to the right, y down):
      hflip, vflip       (B,)         -1 flips left to right, upside down; 1 does not
      crop               (B, 2)       to the right and down, in pixels
      zoom               (B, 2)       factors along x and y
      rotate             (B,)         degrees counter-clockwise as seen: 90 is `torch.rot90(images, 1, (2, 3))`
      shear              (B,)         degrees; a row y pixels below the centre moves right by y * tan(shear)
      shift              (B, 2)       to the right and down, as fractions of W and H
      perspective        (B, 4, 2)    displacement at the corners: x and y, as fractions of W and H, clockwise from the
                                      top left
      optical_distortion (B,)         k: a pixel at distance r from the centre reads at r * (1 + k r^2 + k r^4), with x
                                      as a fraction of W and y of H
      grid_distortion    (B, 2, S+1)  displacement at the S + 1 lines of an even grid, as fractions of W (lines along y)
                                      and H; linear between the lines
      elastic            (B, 2, K)    displacement in x and y at the nodes of `elastic_basis`, as fractions of min(H, W)
    Pixels, after the geometry:
      blur               (B,)         standard deviation of a Gaussian, as a fraction of min(H, W)
      autoaugment        (B, 2) int64 two steps one after the other, in the numbers of `autoaugment.step`
      contrast           (B,)         factor about the sample's mean over C, H, W, after brightness
      brightness         (B,)         added
      saturation         (B,)         factor about grey, for C = 3
      hue                (B,)         turns of the colour circle, red towards yellow, for C = 3
      gamma              (B,)         exponent
      noise              (B, C, H, W) added
      cutout             (B, S, 3)    centre x and y (pixels from the top left corner) and side of S squares set to 0
      grid_mask          (B, 4)       unit, x and y of one square's top left corner, and side of squares set to 0,
                                      one in each unit; pixels
    chosen               (B,) bool    False: the sample stays as it is; None is all True
    augmix               (B, 1+N)     weights of the image and of N chains, which add up to 1. All of the above except
                                      `chosen` then has N * B rows: the first chain of every sample, the second, ...
    """

    hflip: Tensor | None = None
    vflip: Tensor | None = None
    crop: Tensor | None = None
    zoom: Tensor | None = None
    rotate: Tensor | None = None
    shear: Tensor | None = None
    shift: Tensor | None = None
    perspective: Tensor | None = None
    optical_distortion: Tensor | None = None
    grid_distortion: Tensor | None = None
    elastic: Tensor | None = None
    blur: Tensor | None = None
    autoaugment: Tensor | None = None
    contrast: Tensor | None = None
    brightness: Tensor | None = None
    saturation: Tensor | None = None
    hue: Tensor | None = None
    gamma: Tensor | None = None
    noise: Tensor | None = None
    cutout: Tensor | None = None
    grid_mask: Tensor | None = None
    chosen: Tensor | None = None
    augmix: Tensor | None = None
