"""What happens to each sample of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class AugmentParams:
    """What happens to each sample of one batch; None is an operation that does not happen.

    Geometry, in the order of application, about the image centre (x to the right, y down):
      hflip, vflip       (B,)         -1 flips left to right, upside down; 1 does not
      crop               (B, 2)       right and down, in pixels
      zoom               (B, 2)       factors along x and y
      rotate             (B,)         degrees counter-clockwise as seen: 90 is `torch.rot90(images, 1, (2, 3))`
      shear              (B,)         degrees; a row y pixels below the centre moves right by y * tan(shear)
      shift              (B, 2)       to the right and down, in parts of W and H
      perspective        (B, 4, 2)    displacement of the place that is read at the corners: x and y, in parts of W
                                      and H, clockwise from the top left
      optical_distortion (B,)         k: r from the centre reads at r * (1 + k r^2 + k r^4); x in parts of W, y of H
      grid_distortion    (B, 2, S+1)  displacement of the place that is read at the S + 1 lines of an even grid, in
                                      parts of W (lines along y) and H; linear between the lines
      elastic            (B, 2, K)    displacement of the place that is read, in parts of min(H, W); in x and y, at
                                      the nodes of `elastic_basis`
    Pixels, then:
      blur               (B,)         sigma of a Gaussian, in parts of min(H, W)
      contrast           (B,)         factor about the sample's mean over C, H, W, after brightness
      brightness         (B,)         added
      saturation         (B,)         factor about grey, for C = 3
      hue                (B,)         turns of the colour circle, red towards yellow, for C = 3
      gamma              (B,)         exponent
      noise              (B, C, H, W) added
      cutout             (B, 3)       centre x and y (pixels from the top left corner) and side of a square set to 0
      grid_mask          (B, 4)       unit, x and y of one square's top left corner, and side of squares set to 0,
                                      one in each unit; pixels
    chosen               (B,) bool    False is a sample that is left alone; None is all True
    augmix               (B, 1+N)     weights of the image and of N chains, which sum to 1. All of the above but
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
