"""Augmentation per image, by albumentations in processes: any of its pipelines, or the configuration's operations.

Import this module only where the backend is asked for: albumentations takes seconds to load.

The operations mean here what they mean in `augment/`; transforms that differ in albumentations are adapted in
`albumentations_transforms.py`. For albumentations' own behaviour there is `augment.pipeline`. Between transforms an
image is uint8 and therefore rounded, and each geometric transform samples again, where the other backend samples once:
rotate, shift, zoom and shear are one A.Affine as long as all of them are always applied together.
On small images threads gain nothing: most of the time goes into albumentations' Python code, under Python's one lock.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or it asks the network for a newer version when imported

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tune_digits.config import Augment
from tune_digits.errors import ConfigError
from tune_digits.learn.albumentations_transforms import (
    AugMix,
    CentredLens,
    CornerPerspective,
    Cutout,
    EvenGridDistortion,
    GridMask,
    LinearHue,
    LogGamma,
    SmoothElastic,
    SubpixelAffine,
    WhiteNoise,
)
from tune_digits.learn.augment.magnitudes import TONES, crop_margin, is_identity, magnitudes, probability

CHUNK = 64  # images per task and per seed; a constant, so that results do not depend on the number of workers
AFFINE = ("rotate", "shift", "zoom", "shear")


def build_pipeline(config: Augment, height: int, width: int, channels: int = 3) -> A.Compose:
    """The transforms of one (height, width, channels) uint8 image: `config.pipeline`, or else the operations.

    `config.p` also holds for a given pipeline. Raises ConfigError if that pipeline cannot be built.
    """
    if config.pipeline is not None:
        return A.Compose([_deserialize(config.pipeline)], p=config.p)
    transforms = _transforms(config, height, width, channels)
    if config.augmix and transforms:
        return A.Compose([AugMix(transforms, config.augmix, config.randaugment_n)], p=config.p)
    if 0 < config.randaugment_n < len(transforms):
        return A.Compose([A.SomeOf(transforms, n=config.randaugment_n)], p=config.p)
    return A.Compose(transforms, p=config.p)


def _transforms(config: Augment, height: int, width: int, channels: int) -> list[Any]:
    """The operations that are on, in the order of application."""
    m = magnitudes(config, channels)
    chance = {name: probability(config, name) for name in m}
    side = min(height, width)
    found: list[Any] = []
    if m["hflip"]:
        found.append(A.HorizontalFlip(p=m["hflip"] * chance["hflip"]))
    if m["vflip"]:
        found.append(A.VerticalFlip(p=m["vflip"] * chance["vflip"]))
    if m["crop"]:
        down, right = crop_margin(m["crop"], height, width)
        crop = [A.Pad((right, down, right, down), p=1), A.RandomCrop(height, width, p=1)]
        found.append(A.Sequential(crop, p=chance["crop"]))
    found += _affine(config, m, chance)
    if m["perspective"]:
        found.append(CornerPerspective(scale=(0, m["perspective"]), p=chance["perspective"]))
    if m["optical_distortion"]:
        limit = _about(0, m["optical_distortion"])
        found.append(CentredLens(distort_limit=limit, p=chance["optical_distortion"]))
    if m["grid_distortion"]:
        limit, steps = _about(0, m["grid_distortion"]), config.grid_steps
        found.append(EvenGridDistortion(steps, distort_limit=limit, p=chance["grid_distortion"]))
    if m["elastic"]:
        found.append(SmoothElastic(alpha=m["elastic"] * side, p=chance["elastic"]))
    if m["blur"]:
        found.append(A.GaussianBlur(blur_limit=0, sigma_limit=(1e-3, m["blur"] * side), p=chance["blur"]))
    tones = _tones(m, chance)
    if config.tone_one_of and len(tones) > 1:
        # not A.OneOf: it takes the probabilities for weights
        found.append(A.SomeOf(list(tones.values()), n=1))
        tones = {}
    found += [tones[name] for name in ("brightness", "contrast") if name in tones]
    if m["saturation"]:
        found.append(
            A.ColorJitter(
                saturation=_about(1, m["saturation"]), **_still("saturation"), p=chance["saturation"]
            )
        )
    if m["hue"]:
        found.append(LinearHue(limit=m["hue"], p=chance["hue"]))
    if "gamma" in tones:
        found.append(tones["gamma"])
    if m["noise"]:
        found.append(WhiteNoise(std_range=(0, m["noise"]), p=chance["noise"]))
    if m["cutout"]:
        found.append(Cutout(size=m["cutout"] * side, p=chance["cutout"]))
    if m["grid_mask"]:
        found.append(GridMask(side=m["grid_mask"], p=chance["grid_mask"]))
    return found


def _affine(config: Augment, m: dict[str, float], chance: dict[str, float]) -> list[A.Affine]:
    """One transform, or one for each operation where they are not always applied together."""
    on = [name for name in AFFINE if m[name]]
    together = not (config.randaugment_n or config.augmix) and all(chance[name] == 1 for name in on)
    if together:
        groups = [on] if on else []
    else:
        groups = [[name] for name in ("zoom", "rotate", "shear", "shift") if name in on]
    found = []
    for names in groups:
        by = {name: m[name] if name in names else 0.0 for name in AFFINE}
        zoom, shift = _about(1, by["zoom"]), _about(0, by["shift"])
        found.append(
            SubpixelAffine(
                scale={"x": zoom, "y": zoom},
                rotate=_about(0, by["rotate"]),
                shear={"x": _about(0, by["shear"]), "y": (0.0, 0.0)},
                translate_percent={"x": shift, "y": shift},
                p=1 if together else chance[names[0]],
            )
        )
    return found


def _tones(m: dict[str, float], chance: dict[str, float]) -> dict[str, A.BasicTransform]:
    """Those of brightness, contrast and gamma that are on."""
    made: dict[str, Callable[[], Any]] = {
        # by_max: of the full range, and not of the image's mean
        "brightness": lambda: A.RandomBrightnessContrast(
            brightness_limit=_about(0, m["brightness"]),
            contrast_limit=(0, 0),
            brightness_by_max=True,
            p=chance["brightness"],
        ),
        # ColorJitter's contrast is about the mean of the image, RandomBrightnessContrast's about 0
        "contrast": lambda: A.ColorJitter(
            contrast=_about(1, m["contrast"]), **_still("contrast"), p=chance["contrast"]
        ),
        "gamma": lambda: LogGamma(
            gamma_limit=(100 * math.exp(-m["gamma"]), 100 * math.exp(m["gamma"])), p=chance["gamma"]
        ),
    }
    return {name: made[name]() for name in TONES if m[name]}


def _still(changed: str) -> dict[str, tuple[float, float]]:
    """The limits of ColorJitter that leave everything but `changed` as it is."""
    still: dict[str, tuple[float, float]] = {
        "brightness": (1, 1),
        "contrast": (1, 1),
        "saturation": (1, 1),
        "hue": (0, 0),
    }
    return {name: limits for name, limits in still.items() if name != changed}


def check_pipeline(config: Augment, channels: int, height: int, width: int) -> None:
    """Build the pipeline and try it on images of the data's size; ConfigError says what is wrong."""
    if config.backend != "albumentations":
        return
    pipeline = build_pipeline(config, height, width, channels)
    shape = (height, width, channels)
    for seed in range(8):  # several: a step with a probability does not run each time
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

    Each of `index_batches` is int64 (B,). The result depends on `seed`, not on `workers`, the number of processes; with
    1 there is no further process. OpenCV's own threads are switched off: on small images they only cost time.
    """
    if is_identity(config, images.shape[1]):
        yield from (images[index].float().div_(255) for index in index_batches)
        return
    cv2.setNumThreads(0)
    chunks_of: deque[int] = deque()

    # arrays in both directions, which go through a pipe: tensors would need room in /dev/shm
    def tasks() -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
        for number, index in enumerate(index_batches):
            chunks = torch.split(index, CHUNK)
            chunks_of.append(len(chunks))
            yield from ((chunk.numpy(), (seed, number, i)) for i, chunk in enumerate(chunks))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")  # more than there are cores
        done = iter(
            DataLoader(
                _Augmented(images, config),
                batch_size=None,
                sampler=tasks(),
                collate_fn=np.asarray,
                num_workers=0 if workers == 1 else workers,
                generator=torch.Generator(),  # or it would draw from PyTorch's global generator
            )
        )
    for first in done:
        batch = np.concatenate([first, *islice(done, chunks_of.popleft() - 1)])
        yield torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().float().div_(255)


class _Augmented(Dataset[np.ndarray]):
    """Items are augmented images uint8 (n, H, W, C), asked for by their rows (n,) and the entropy of their numbers."""

    def __init__(self, images: Tensor, config: Augment) -> None:
        channels, height, width = images.shape[1:]
        self.images = images
        self.nodes = _nodes(build_pipeline(config, height, width, channels))

    def __getitem__(self, task: tuple[np.ndarray, tuple[int, ...]]) -> np.ndarray:
        index, entropy = task
        _seed(self.nodes, entropy)
        chunk = self.images[torch.from_numpy(index)].permute(0, 2, 3, 1).contiguous().numpy()
        return np.stack([self.nodes[0](image=image)["image"] for image in chunk])


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────────


def _about(centre: float, magnitude: float) -> tuple[float, float]:
    return centre - magnitude, centre + magnitude


def _deserialize(pipeline: dict[str, Any]) -> Any:
    """A.from_dict, with its warnings (a misspelt argument, a missing p) as errors."""
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
    """The pipeline and all transforms in it, parents first."""
    children = node.transforms if isinstance(node, A.BaseCompose) else ()
    return [node, *(inner for child in children for inner in _nodes(child))]


def _seed(nodes: list[Any], entropy: tuple[int, ...]) -> None:
    """Seed each transform by itself: Compose.set_random_seed gives all of them the same stream, so that
    brightness and gamma, say, would always be drawn alike."""
    for node, seed in zip(nodes, np.random.SeedSequence(entropy).generate_state(len(nodes)), strict=True):
        node.set_random_seed(int(seed))
