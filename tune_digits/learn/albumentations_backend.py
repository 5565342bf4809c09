"""Augmentation per image, with albumentations in threads: any of its pipelines, or the config's own knobs.

Import this module only where the backend is asked for: albumentations takes seconds to load.

The knobs mean here what they mean in `augment.py`. Four stock transforms do not say the same and are adapted:
  Affine           truncates shifts to whole pixels: a shift of 0.1 of 28 pixels loses 43 % of its variance
  ElasticTransform displaces by a size that depends on the image's, and twice as far at the border
  RandomGamma      draws the exponent, not its logarithm, evenly: darkening would be the rule
  CoarseDropout    draws the two sides apart and keeps its holes whole inside the image
Stock behaviour is what `augment.pipeline` is for. Between transforms an image is uint8 and therefore rounded.
On small images threads gain little: most of the time goes into albumentations' Python, under its one lock.
"""

from __future__ import annotations

import math
import os
import queue
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or it asks the network for a newer version when imported

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor

from tune_digits.config import Augment
from tune_digits.errors import ConfigError
from tune_digits.learn.augment import elastic_basis, is_identity, magnitudes

CHUNK = 64  # images per task and per seed; a constant, so that results do not depend on the number of threads
AHEAD = 2  # batches being made while one is in use


def build_pipeline(config: Augment, height: int, width: int) -> A.Compose:
    """The transforms of one (height, width, C) uint8 image: `config.pipeline`, or else the knobs.

    Of the knobs, `p` also holds for a given pipeline. Raises ConfigError if that pipeline cannot be built.
    """
    if config.pipeline is not None:
        return A.Compose([_deserialize(config.pipeline)], p=config.p)
    m = magnitudes(config)
    side = min(height, width)
    transforms: list[A.BasicTransform] = []
    if m["rotate"] or m["shift"] or m["zoom"] or m["shear"]:
        zoom, shift, shear = _about(1, m["zoom"]), _about(0, m["shift"]), _about(0, m["shear"])
        transforms.append(
            SubpixelAffine(
                scale={"x": zoom, "y": zoom},
                rotate=_about(0, m["rotate"]),
                shear={"x": shear, "y": (0.0, 0.0)},
                translate_percent={"x": shift, "y": shift},
                p=1,
            )
        )
    if m["elastic"]:
        transforms.append(SmoothElastic(alpha=m["elastic"] * side, p=1))
    if m["brightness"]:
        transforms.append(
            A.RandomBrightnessContrast(
                brightness_limit=_about(0, m["brightness"]),
                contrast_limit=(0, 0),
                brightness_by_max=True,
                p=1,
            )
        )
    if m["contrast"]:
        # ColorJitter's contrast is about the image mean, RandomBrightnessContrast's about 0.
        still = {"brightness": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
        transforms.append(A.ColorJitter(contrast=_about(1, m["contrast"]), **still, p=1))
    if m["gamma"]:
        limits = (100 * math.exp(-m["gamma"]), 100 * math.exp(m["gamma"]))
        transforms.append(LogGamma(gamma_limit=limits, p=1))
    if m["cutout"]:
        transforms.append(Cutout(size=m["cutout"] * side, p=1))
    return A.Compose(transforms, p=config.p)


def check_pipeline(config: Augment, channels: int, height: int, width: int) -> None:
    """Build the pipeline and try it on images of the data's size; ConfigError says what is wrong."""
    if config.backend != "albumentations":
        return
    pipeline = build_pipeline(config, height, width)
    shape = (height, width, channels)
    for seed in range(8):  # several: a step may run with probability p only
        pipeline.set_random_seed(seed)
        try:
            out = pipeline(image=np.zeros(shape, np.uint8))["image"]
        except Exception as error:  # any transform may raise anything
            raise ConfigError(f"augment.pipeline fails on an image of shape {shape}: {error}") from error
        if out.dtype != np.uint8 or tuple(out.shape) != shape:
            raise ConfigError(
                f"augment.pipeline turns a uint8 image of shape {shape} into {out.dtype} {tuple(out.shape)}."
                " It must keep both: leave out Normalize, ToFloat and ToTensorV2, and resize after a crop."
            )


def augment_batches(
    images: Tensor, index_batches: Iterable[Tensor], config: Augment, seed: int, workers: int
) -> Iterator[Tensor]:
    """Augmented batches float32 (B, C, H, W) in [0, 1] of images uint8 (N, C, H, W) on the CPU, in order.

    Each of `index_batches` is int64 (B,). The result depends on `seed` and not on `workers`, the number of
    threads. OpenCV's own threads are switched off in this process: on small images they only get in the way.
    """
    height, width = images.shape[2:]
    if is_identity(config):
        yield from (images[index].float().div_(255) for index in index_batches)
        return
    cv2.setNumThreads(0)
    # A pipeline holds its random state, so each thread takes one of its own while it works.
    idle: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    for _ in range(workers):
        idle.put(_nodes(build_pipeline(config, height, width)))

    def run(index: Tensor, place: tuple[int, int]) -> np.ndarray:
        nodes = idle.get()
        try:
            _seed(nodes, (seed, *place))
            chunk = images[index].permute(0, 2, 3, 1).contiguous().numpy()
            return np.stack([nodes[0](image=image)["image"] for image in chunk])
        finally:
            idle.put(nodes)

    with ThreadPoolExecutor(workers, thread_name_prefix="augment") as pool:
        pending: deque[list[Future[np.ndarray]]] = deque()
        try:
            for number, index in enumerate(index_batches):
                chunks = index.split(CHUNK)
                pending.append([pool.submit(run, chunk, (number, i)) for i, chunk in enumerate(chunks)])
                if len(pending) > AHEAD:
                    yield _collect(pending.popleft())
            while pending:
                yield _collect(pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # the reader may stop early


# ── transforms ───────────────────────────────────────────────────────────────────────────────────────


class SubpixelAffine(A.Affine):
    """A.Affine whose translate_percent is not truncated to whole pixels."""

    def _get_translate_params(self, image_shape: tuple[int, int]) -> dict[str, float]:
        height, width = image_shape[:2]
        x, y = (self.py_random.uniform(*self.translate_percent[axis]) for axis in "xy")
        return {"x": x * width, "y": y * height}


class SmoothElastic(A.ElasticTransform):
    """A.ElasticTransform with the field of `elastic_basis`; alpha is its standard deviation in pixels."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        basis = _elastic_basis(height, width)
        values = self.random_generator.standard_normal((2, len(basis)), dtype=np.float32) * self.alpha
        x, y = (values @ basis).reshape(2, height, width)
        x += np.arange(width)
        y += np.arange(height)[:, None]
        return {"map_x": x, "map_y": y}


class LogGamma(A.RandomGamma):
    """A.RandomGamma with the exponent's logarithm uniform within gamma_limit (percent)."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        low, high = self.gamma_limit
        return {"gamma": math.exp(self.py_random.uniform(math.log(low / 100), math.log(high / 100)))}


class Cutout(A.ImageOnlyTransform):
    """Set to 0 a square with its centre anywhere in the image and a side uniform in 0..size pixels."""

    def __init__(self, size: float = 8, p: float = 0.5):
        super().__init__(p=p)
        self.size = size

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        half = self.py_random.uniform(0, self.size) / 2
        centres = [self.py_random.uniform(0, side) for side in params["shape"][:2]]
        # A pixel belongs to the square if its centre does.
        return {"box": [(_pixel(c - half), _pixel(c + half)) for c in centres]}

    def apply(self, img: np.ndarray, box: list[tuple[int, int]], **params: Any) -> np.ndarray:
        (top, bottom), (left, right) = box
        img = img.copy()
        img[top:bottom, left:right] = 0
        return img


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────────


def _about(centre: float, magnitude: float) -> tuple[float, float]:
    return centre - magnitude, centre + magnitude


def _pixel(edge: float) -> int:
    """The first pixel whose centre lies at or beyond the edge."""
    return max(math.ceil(edge - 0.5), 0)


@lru_cache(maxsize=8)
def _elastic_basis(height: int, width: int) -> np.ndarray:
    return elastic_basis(height, width).flatten(1).numpy()


def _deserialize(pipeline: dict[str, Any]) -> Any:
    """A.from_dict, but what it only warns of (a misspelt argument, a missing p) is an error here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", message=".*is a special case of Affine")  # old but sound
            return A.from_dict(pipeline)
    except KeyError as error:
        raise ConfigError(
            f"augment.pipeline has no key, or albumentations {A.__version__} no transform, {error}."
            " Write the pipeline with albumentations.to_dict(...)."
        ) from error
    except Exception as error:  # any transform may raise anything
        raise ConfigError(f"augment.pipeline cannot be built: {error}") from error


def _nodes(node: Any) -> list[Any]:
    """The pipeline and all that is in it, parents first."""
    children = node.transforms if isinstance(node, A.BaseCompose) else ()
    return [node, *(inner for child in children for inner in _nodes(child))]


def _seed(nodes: list[Any], entropy: tuple[int, ...]) -> None:
    """Seed each transform by itself: Compose.set_random_seed gives all of them the same stream, so that
    brightness and gamma, say, would always be drawn alike."""
    for node, seed in zip(nodes, np.random.SeedSequence(entropy).generate_state(len(nodes)), strict=True):
        node.set_random_seed(int(seed))


def _collect(chunks: list[Future[np.ndarray]]) -> Tensor:
    batch = torch.from_numpy(np.concatenate([chunk.result() for chunk in chunks]))
    return batch.permute(0, 3, 1, 2).contiguous().float().div_(255)
