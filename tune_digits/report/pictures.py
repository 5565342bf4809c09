"""Images as parts of a page, and galleries: mistakes, likely label errors, disputes, what augmentation does."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tune_digits.config import TrialConfig
from tune_digits.space.domains import Range
from tune_digits.space.space import Space

LARGEST = 96  # pixels of a side; larger images are made smaller
LOSSLESS = 40  # pixels of a side up to which an image is kept exactly


@dataclass(frozen=True, slots=True)
class Picture:
    """uri: the image itself, as a data URI; title: in the first line below it; lines: further ones."""

    uri: str
    title: str
    lines: tuple[str, ...] = ()


def data_uri(image: np.ndarray) -> str:
    """An image uint8 (C, H, W) as WebP in a data URI. Of other than three channels only the first is shown."""
    picture = Image.fromarray(image.transpose(1, 2, 0) if len(image) == 3 else image[0])
    picture.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=max(picture.size) <= LOSSLESS, quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def gallery(
    images: np.ndarray, rows: Sequence[int], titles: Sequence[str], lines: Sequence[tuple[str, ...]]
) -> list[Picture]:
    """A picture of each of the rows of `images`, uint8 (N, C, H, W), with its title and lines."""
    return [
        Picture(data_uri(images[row]), title, below)
        for row, title, below in zip(rows, titles, lines, strict=True)
    ]


def strongest(config: TrialConfig, space: Space) -> TrialConfig | None:
    """The configuration with every searched number of its augmentation at the upper end of its domain.

    None where none is searched. Raises pydantic's ValidationError, a ValueError, where they cannot stand together.
    """
    tree = config.model_dump()
    found = False
    for key, nodes in space.searched().items():
        path = key.split(".")
        ranges = [node for node in nodes if isinstance(node, Range)]
        if path[0] != "augment" or not ranges:
            continue
        at: Any = tree
        for part in path[:-1]:
            at = at.get(part) if isinstance(at, dict) else None
        if isinstance(at, dict) and path[-1] in at:
            at[path[-1]] = max(node.high for node in ranges)
            found = True
    return TrialConfig.model_validate(tree) if found else None


def augmented(images: np.ndarray, config: TrialConfig, seed: int) -> np.ndarray:
    """The images, uint8 (N, C, H, W), as a training with this configuration may see them; drawn from `seed`."""
    import torch

    from tune_digits.learn.augment import augment
    from tune_digits.learn.device import to_float

    tensor = torch.from_numpy(np.ascontiguousarray(images))
    if config.augment.backend == "albumentations":
        from tune_digits.learn.albumentations_backend import augment_batches

        changed = next(iter(augment_batches(tensor, [torch.arange(len(tensor))], config.augment, seed, 1)))
    else:
        generator = torch.Generator().manual_seed(seed)
        changed = augment(to_float(tensor, "auto"), config.augment, generator)
    return np.asarray((changed * 255).round().clamp(0, 255).to(torch.uint8).numpy())


def augmentation_rows(
    images: np.ndarray, configs: Mapping[str, TrialConfig], draws: int = 3
) -> list[tuple[str, list[str]]]:
    """What is drawn in a table: (name, data URIs of the images) for the originals and `draws` draws of each config."""
    rows = [("original", [data_uri(image) for image in images])]
    for name, config in configs.items():
        for seed in range(draws):
            rows.append(
                (name if seed == 0 else "", [data_uri(image) for image in augmented(images, config, seed)])
            )
    return rows
