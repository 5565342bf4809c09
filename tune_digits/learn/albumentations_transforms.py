"""Transforms for the albumentations backend where albumentations has none with the distribution of `augment/`.

What albumentations 2.0 does instead:

Affine            truncates shifts to whole pixels: a shift of 0.1 of 28 pixels loses 43 % of its variance
ElasticTransform  displaces by an amount that depends on the image's size, and twice as far at the border
GridDistortion    has cells of whole pixels with a remainder, and repeats a pixel at each line: no identity at limit 0
OpticalDistortion has its centre half a pixel off
Perspective       moves corners inwards only
RandomGamma       draws the exponent uniformly, not its logarithm: most images would become darker
CoarseDropout     draws the two sides separately and keeps its holes entirely inside the image
GridDropout       draws whole pixels and has a fixed fraction of squares
ColorJitter       rotates the hue in HSV, in steps of 2 degrees
AugMix            is no longer included
OneOf, SomeOf     take the probabilities for weights, and apply what they choose in one place of the order
"""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or it asks the network for a newer version when imported

import albumentations as A
import cv2
import numpy as np
import torch

from tune_digits.learn.augment.drawing import AUGMIX_DEPTH, GRID_MASK_UNIT
from tune_digits.learn.augment.geometry import elastic_basis
from tune_digits.learn.augment.pixels import colour_matrix

Params = dict[str, Any]


class SubpixelAffine(A.Affine):
    """A.Affine whose translate_percent is not truncated to whole pixels."""

    def _get_translate_params(self, image_shape: tuple[int, int]) -> dict[str, float]:
        height, width = image_shape[:2]
        x, y = (self.py_random.uniform(*self.translate_percent[axis]) for axis in "xy")
        return {"x": x * width, "y": y * height}


class ViewAffine(SubpixelAffine):
    """A SubpixelAffine whose scale is that of the area which is shown: the image's own is its reciprocal."""

    @staticmethod
    def _get_scale(*args: Any) -> dict[str, float]:
        drawn = SubpixelAffine._get_scale(*args)
        return {axis: 1 / factor for axis, factor in drawn.items()}


class CornerPerspective(A.Perspective):
    """A.Perspective that reads each corner displaced by up to scale[1] of the sides in any direction."""

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        height, width = params["shape"][:2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
        moves = self.random_generator.uniform(-self.scale[1], self.scale[1], (4, 2)) * (width, height)
        matrix = cv2.getPerspectiveTransform((corners + moves).astype(np.float32), corners.astype(np.float32))
        return {"matrix": matrix, "max_height": height, "max_width": width, "matrix_bbox": matrix}


class CentredLens(A.OpticalDistortion):
    """A.OpticalDistortion, mode camera, about the middle of the image."""

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        height, width = params["shape"][:2]
        k = self.py_random.uniform(*self.distort_limit)
        x, y = np.arange(width) - (width - 1) / 2, (np.arange(height) - (height - 1) / 2)[:, None]
        squares = (x / width) ** 2 + (y / height) ** 2
        lens = 1 + k * squares * (1 + squares)
        map_x, map_y = x * lens + (width - 1) / 2, y * lens + (height - 1) / 2
        return {"map_x": map_x.astype(np.float32), "map_y": map_y.astype(np.float32)}


class EvenGridDistortion(A.GridDistortion):
    """A.GridDistortion with cells of the same width, whole or not, and linear between their lines."""

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        axes = []
        for length in params["shape"][1::-1]:
            cells = 1 + self.random_generator.uniform(*self.distort_limit, self.num_steps)
            edges = np.concatenate([[0], cells.cumsum()]) * (length / cells.sum())
            even = np.linspace(0, length, self.num_steps + 1)
            axes.append(np.interp(np.arange(length) + 0.5, even, edges) - 0.5)
        map_x, map_y = np.meshgrid(*axes)
        return {"map_x": map_x.astype(np.float32), "map_y": map_y.astype(np.float32)}


class SmoothElastic(A.ElasticTransform):
    """A.ElasticTransform with the field of `elastic_basis`; alpha is its standard deviation in pixels."""

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        height, width = params["shape"][:2]
        basis = _elastic_basis(height, width)
        values = self.random_generator.standard_normal((2, len(basis)), dtype=np.float32) * self.alpha
        x, y = (values @ basis).reshape(2, height, width)
        x += np.arange(width)
        y += np.arange(height)[:, None]
        return {"map_x": x, "map_y": y}


class LogGamma(A.RandomGamma):
    """A.RandomGamma with the exponent's logarithm uniform within gamma_limit (percent)."""

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        low, high = self.gamma_limit
        return {"gamma": math.exp(self.py_random.uniform(math.log(low / 100), math.log(high / 100)))}


class LinearHue(A.ImageOnlyTransform):
    """Rotate YIQ's colour plane of an RGB image by up to +-limit of a circle, as `colour_matrix` does."""

    def __init__(self, limit: float = 0.1, p: float = 0.5):
        super().__init__(p=p)
        self.limit = limit

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        return {"hue": self.py_random.uniform(-self.limit, self.limit)}

    def apply(self, img: np.ndarray, hue: float, **params: Any) -> np.ndarray:
        changed: np.ndarray = cv2.transform(img, colour_matrix(None, torch.tensor([hue]))[0].numpy())
        return changed


class WhiteNoise(A.GaussNoise):
    """A.GaussNoise of mean 0 that changes every pixel, independently in each channel."""

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        image = data["image"]
        sigma = 255 * self.py_random.uniform(*self.std_range)
        return {"noise_map": self.random_generator.standard_normal(image.shape, dtype=np.float32) * sigma}

    def apply(self, img: np.ndarray, noise_map: np.ndarray, **params: Any) -> np.ndarray:
        noisy: np.ndarray = np.rint(np.clip(img + noise_map, 0, 255))
        return noisy.astype(np.uint8)


class Cutout(A.ImageOnlyTransform):
    """Set to 0 `holes` squares with their centres anywhere in the image.

    Sides are uniform in 0..size pixels, or with `fixed` all `size`.
    """

    def __init__(self, size: float = 8, holes: int = 1, fixed: bool = False, p: float = 0.5):
        super().__init__(p=p)
        self.size, self.holes, self.fixed = size, holes, fixed

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        return {"boxes": [self._box(params["shape"][:2]) for _ in range(self.holes)]}

    def _box(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        half = (self.size if self.fixed else self.py_random.uniform(0, self.size)) / 2
        centres = [self.py_random.uniform(0, side) for side in shape]
        # a pixel belongs to the square if its centre does
        return [(_pixel(c - half), _pixel(c + half)) for c in centres]

    def apply(self, img: np.ndarray, boxes: list[list[tuple[int, int]]], **params: Any) -> np.ndarray:
        img = img.copy()
        for (top, bottom), (left, right) in boxes:
            img[top:bottom, left:right] = 0
        return img


class GridMask(A.ImageOnlyTransform):
    """Set to 0 the squares of a grid, one in each of its units (arXiv:2001.04086).

    Their sides are up to the fraction `side` of the unit, or with `fixed` that fraction. There are `cells` units along
    the shorter side of the image; None: the unit is drawn.
    """

    def __init__(self, side: float = 0.5, cells: int | None = None, fixed: bool = False, p: float = 0.5):
        super().__init__(p=p)
        self.side, self.cells, self.fixed = side, cells, fixed

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        shape = params["shape"][:2]
        if self.cells is None:
            unit = self.py_random.uniform(*(fraction * min(shape) for fraction in GRID_MASK_UNIT))
        else:
            unit = min(shape) / self.cells
        side = (self.side if self.fixed else self.py_random.uniform(0, self.side)) * unit
        starts = [self.py_random.uniform(0, unit) for _ in shape]
        pairs = zip(shape, starts, strict=True)
        rows, columns = (np.mod(np.arange(length) + 0.5 - start, unit) < side for length, start in pairs)
        return {"keep": ~(rows[:, None] & columns)}

    def apply(self, img: np.ndarray, keep: np.ndarray, **params: Any) -> np.ndarray:
        kept: np.ndarray = img * (keep if img.ndim == 2 else keep[..., None])
        return kept


class Grouped(A.BaseCompose):
    """Transforms in their order, some of which are drawn together.

    groups: each {take: one | all, p: its probability, members: indices of transforms, weights: of its members}. n: how
    many transforms are chosen, a group that takes one being one; 0: all.
    """

    def __init__(self, transforms: list[Any], groups: list[Params], n: int = 0, p: float = 1):
        super().__init__(transforms, p)
        self.groups = groups
        self.n = n

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
        for i in _drawn(self.random_generator, len(self.transforms), self.groups, self.n or None):
            data = self.transforms[i](**data)
        return data

    def to_dict_private(self) -> dict[str, Any]:
        return {**super().to_dict_private(), "groups": self.groups, "n": self.n}


class AugMix(A.BaseCompose):
    """The image mixed with chains of n transforms each, or of 1 to 3 where n is 0 (arXiv:1912.02781).

    Weights are drawn as in `augment.draw`: from a flat Dirichlet distribution among the chains, uniformly between them
    and the image. groups: as in `Grouped`.
    """

    def __init__(
        self,
        transforms: list[Any],
        chains: int = 3,
        n: int = 0,
        groups: list[Params] | None = None,
        p: float = 1,
    ):
        super().__init__(transforms, p)
        self.chains = chains
        self.n = n
        self.groups = groups or []

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
        image, rng = data["image"], self.random_generator
        m, parts = rng.random(), rng.exponential(size=self.chains)
        mixed = (1 - m) * image
        for weight in m * parts / parts.sum():
            chain = {"image": image}
            depth = self.n or int(rng.integers(1, AUGMIX_DEPTH + 1))
            for i in _drawn(rng, len(self.transforms), self.groups, depth):
                chain = self.transforms[i](**chain)
            mixed += weight * chain["image"]
        return {**data, "image": np.rint(mixed).astype(np.uint8)}

    def to_dict_private(self) -> dict[str, Any]:
        return {**super().to_dict_private(), "chains": self.chains, "n": self.n, "groups": self.groups}


def _drawn(rng: np.random.Generator, count: int, groups: list[Params], depth: int | None) -> list[int]:
    """The indices of the transforms, of `count`, that are applied to an image, in order. depth: how many are chosen."""
    left = list(range(count))
    for group in groups:
        if group["take"] == "one":
            weights = np.array(group["weights"])
            winner = rng.choice(group["members"], p=weights / weights.sum())
            left = [i for i in left if i == winner or i not in group["members"]]
    if depth is not None:
        left = sorted(rng.choice(left, min(depth, len(left)), replace=False).tolist())
    for group in groups:
        if rng.random() >= group["p"]:
            left = [i for i in left if i not in group["members"]]
    return left


@lru_cache(maxsize=8)
def _elastic_basis(height: int, width: int) -> np.ndarray:
    return elastic_basis(height, width).flatten(1).numpy()


def _pixel(edge: float) -> int:
    """The first pixel whose centre lies at or beyond the edge."""
    return max(math.ceil(edge - 0.5), 0)
