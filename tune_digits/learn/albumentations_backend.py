"""Augmentation per image, by albumentations in processes: any of its pipelines, or the configuration's operations.

Import this module only where the backend is asked for: albumentations takes seconds to load.

The operations mean here what they mean in `augment/`; transforms that differ in albumentations are adapted in
`albumentations_transforms.py`. For albumentations' own behaviour there is `augment.pipeline`. Between transforms an
image is uint8 and therefore rounded, and each geometric transform samples again, where the other backend samples once:
rotate, shift, zoom and shear are one A.Affine where all of them are always applied together, or in one group that
takes all.
On small images threads gain nothing: most of the time goes into albumentations' Python code, under Python's one lock.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
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
    Grouped,
    LinearHue,
    LogGamma,
    SmoothElastic,
    SubpixelAffine,
    ViewAffine,
    WhiteNoise,
)
from tune_digits.learn.augment.magnitudes import crop_margin, is_identity, magnitudes, probability

CHUNK = 64  # images per task and per seed; a constant, so that results do not depend on the number of workers
AFFINE = ("zoom", "rotate", "shear", "shift")  # in the order of application
BORDERS = {"zero": cv2.BORDER_CONSTANT, "nearest": cv2.BORDER_REPLICATE}  # augment.fill -> OpenCV's border


def build_pipeline(config: Augment, height: int, width: int, channels: int = 3) -> A.Compose:
    """The transforms of one (height, width, channels) uint8 image: `config.pipeline`, or else the operations.

    `config.p` also holds for a given pipeline. Raises ConfigError if that pipeline cannot be built.
    """
    if config.pipeline is not None:
        return A.Compose([read_pipeline(config.pipeline)], p=config.p)
    named = _transforms(config, height, width, channels)
    transforms, groups = list(named.values()), _groups(config, list(named))
    if config.augmix and transforms:
        return A.Compose([AugMix(transforms, config.augmix, config.randaugment_n, groups)], p=config.p)
    if groups:
        return A.Compose([Grouped(transforms, groups, config.randaugment_n)], p=config.p)
    if 0 < config.randaugment_n < len(transforms):
        return A.Compose([A.SomeOf(transforms, n=config.randaugment_n)], p=config.p)
    return A.Compose(transforms, p=config.p)


def read_pipeline(pipeline: dict[str, Any]) -> Any:
    """A.from_dict, with its warnings (a misspelt argument, a missing p) as errors. Raises ConfigError."""
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


def _groups(config: Augment, names: list[str]) -> list[dict[str, Any]]:
    """The groups that have any of these transforms, as `Grouped` takes them."""
    found = []
    for group in config.groups.values():
        members = [i for i, name in enumerate(names) if name in group.of]
        if members:
            weights = [group.of[names[i]] for i in members]
            found.append({"take": group.take, "p": group.p, "members": members, "weights": weights})
    return found


def _transforms(config: Augment, height: int, width: int, channels: int) -> dict[str, Any]:
    """The operations that are on by name, in the order of application; what is one A.Affine under the first's name."""
    m = magnitudes(config, channels)
    chance = {name: probability(config, name) for name in m}
    side = min(height, width)
    border = BORDERS[config.fill]
    found: dict[str, Any] = {}
    if m["hflip"]:
        found["hflip"] = A.HorizontalFlip(p=m["hflip"] * chance["hflip"])
    if m["vflip"]:
        found["vflip"] = A.VerticalFlip(p=m["vflip"] * chance["vflip"])
    if m["crop"]:
        down, right = crop_margin(m["crop"], height, width)
        pad = A.Pad((right, down, right, down), border_mode=border, p=1)
        found["crop"] = A.Sequential([pad, A.RandomCrop(height, width, p=1)], p=chance["crop"])
    found |= _affine(config, m, chance)
    if m["perspective"]:
        found["perspective"] = CornerPerspective(
            scale=(0, m["perspective"]), border_mode=border, p=chance["perspective"]
        )
    if m["optical_distortion"]:
        found["optical_distortion"] = CentredLens(
            distort_limit=_about(0, m["optical_distortion"]),
            border_mode=border,
            p=chance["optical_distortion"],
        )
    if m["grid_distortion"]:
        found["grid_distortion"] = EvenGridDistortion(
            config.grid_steps,
            distort_limit=_about(0, m["grid_distortion"]),
            border_mode=border,
            p=chance["grid_distortion"],
        )
    if m["elastic"]:
        found["elastic"] = SmoothElastic(alpha=m["elastic"] * side, border_mode=border, p=chance["elastic"])
    if m["blur"]:
        found["blur"] = A.GaussianBlur(blur_limit=0, sigma_limit=(1e-3, m["blur"] * side), p=chance["blur"])
    if m["brightness"]:
        # by_max: of the full range, and not of the image's mean
        found["brightness"] = A.RandomBrightnessContrast(
            brightness_limit=_about(0, m["brightness"]),
            contrast_limit=(0, 0),
            brightness_by_max=True,
            p=chance["brightness"],
        )
    for name in ("contrast", "saturation"):
        # ColorJitter's contrast is about the mean of the image, RandomBrightnessContrast's about 0
        if m[name]:
            still = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
            found[name] = A.ColorJitter(**still | {name: _about(1, m[name])}, p=chance[name])
    if m["hue"]:
        found["hue"] = LinearHue(limit=m["hue"], p=chance["hue"])
    if m["gamma"]:
        limits = 100 * math.exp(-m["gamma"]), 100 * math.exp(m["gamma"])
        found["gamma"] = LogGamma(gamma_limit=limits, p=chance["gamma"])
    if m["noise"]:
        found["noise"] = WhiteNoise(std_range=(0, m["noise"]), p=chance["noise"])
    if m["cutout"]:
        found["cutout"] = Cutout(
            m["cutout"] * side, config.cutout_holes, config.cutout_fixed, p=chance["cutout"]
        )
    if m["grid_mask"]:
        found["grid_mask"] = GridMask(
            m["grid_mask"], config.grid_mask_cells, config.grid_mask_fixed, p=chance["grid_mask"]
        )
    return found


def _affine(config: Augment, m: dict[str, float], chance: dict[str, float]) -> dict[str, A.Affine]:
    """One transform, or one for each operation where they are not always applied together."""
    on = [name for name in AFFINE if m[name]]
    homes = {next((key for key, g in config.groups.items() if name in g.of), None) for name in on}
    one_home = len(homes) == 1 and all(home is None or config.groups[home].take == "all" for home in homes)
    certain = not (config.randaugment_n or config.augmix) and all(chance[name] == 1 for name in on)
    groups = [on] if one_home and certain else [[name] for name in on]
    found = {}
    for names in groups:
        by = {name: m[name] if name in names else 0.0 for name in AFFINE}
        zoom, shift = _about(1, by["zoom"]), _about(0, by["shift"])
        affine = ViewAffine if config.zoom_of == "view" else SubpixelAffine
        found[names[0]] = affine(
            scale=zoom if config.zoom_axes == "both" else {"x": zoom, "y": zoom},
            keep_ratio=config.zoom_axes == "both",
            rotate=_about(0, by["rotate"]),
            shear={"x": _about(0, by["shear"]), "y": (0.0, 0.0)},
            translate_percent={"x": shift, "y": shift},
            border_mode=BORDERS[config.fill],
            p=chance[names[0]],
        )
    return found


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


def _nodes(node: Any) -> list[Any]:
    """The pipeline and all transforms in it, parents first."""
    children = node.transforms if isinstance(node, A.BaseCompose) else ()
    return [node, *(inner for child in children for inner in _nodes(child))]


def _seed(nodes: list[Any], entropy: tuple[int, ...]) -> None:
    """Seed each transform by itself: Compose.set_random_seed gives all of them the same stream, so that
    brightness and gamma, say, would always be drawn alike."""
    for node, seed in zip(nodes, np.random.SeedSequence(entropy).generate_state(len(nodes)), strict=True):
        node.set_random_seed(int(seed))
