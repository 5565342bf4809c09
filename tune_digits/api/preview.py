"""A picture of what a study's augmentation does: the original beside draws of each operation at three strengths.

H, W: pixels of an image; C channels. Images are uint8 (C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tune_digits.config import Augment
from tune_digits.errors import ConfigError
from tune_digits.learn.augment.magnitudes import COLOURS, MAGNITUDES, is_identity, largest
from tune_digits.space.space import Space
from tune_digits.space.tree import OneOf

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 64  # pixels of an image in the picture, at least
GAP, LABEL, TEXT = 4, 170, 12  # pixels: between images, of the labels' column, of their letters
WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (130, 130, 130)
# what makes operations something else than one operation that is always applied
_ALONE: dict[str, Any] = {
    "p": 1.0, "each_p": 1.0, "ps": {}, "groups": {}, "strength": 1.0, "autoaugment": "none", "randaugment_n": 0,
    "augmix": 0, "augmix_jsd": 0.0, "pipeline": None,
}  # fmt: skip
BACKENDS: tuple[str, ...] = get_args(Augment.model_fields["backend"].annotation)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture. label: what is shown; by_backend: backend -> what is drawn, those that can draw it."""

    label: str
    by_backend: dict[str, Augment]


def rows_of(chosen: Augment, space: Space, channels: int) -> list[Row]:
    """What a picture of a configuration's augmentation shows: each of its operations by itself, and all together.

    See `strengths`. Raises ConfigError where nothing is changed at all.
    """
    rows = []
    for name in MAGNITUDES:
        if name in COLOURS and channels != 3:
            continue
        for what, value in strengths(name, chosen, space):
            tree = {**chosen.model_dump(), **_ALONE, **dict.fromkeys(MAGNITUDES, 0.0), name: value}
            rows.append(Row(f"{name} {value:.3g}  {what}", _on_each(tree)))
    if not is_identity(chosen, channels):
        rows.append(Row("all together  chosen", _on_each(chosen.model_dump())))
    if not rows:
        raise ConfigError("this study augments nothing: no operation below trial.augment is on or searched")
    return rows


def strengths(name: str, chosen: Augment, space: Space) -> list[tuple[str, float]]:
    """(low | chosen | high, value) of an operation, without values that are there twice; none where it is off.

    One that is searched has the lowest and the highest value of its domain and the chosen one; a fixed one half and
    twice its value, as far as that is allowed. 0 changes nothing: in place of a lowest value of 0 stands a quarter of
    the highest, or half of the chosen one where that is less, and in place of a chosen 0 half of the highest.
    """
    own = float(getattr(chosen, name))
    domains = [node for node in space.searched().get(f"augment.{name}", ()) if not isinstance(node, OneOf)]
    ends = [float(end) for domain in domains for end in domain.ends()]
    low, high = (min(ends), max(ends)) if ends else (own / 2, min(2 * own, largest(name)))
    if high == 0:
        return []
    low = low or min(high / 4, own / 2 or high)
    found = [("low", low), ("chosen", own) if own else ("middle; chosen: off", high / 2), ("high", high)]
    unique: dict[float, list[str]] = {}
    for what, value in found:
        unique.setdefault(value, []).append(what)
    return [(", ".join(names), value) for value, names in unique.items()]


def _on_each(tree: dict[str, Any]) -> dict[str, Augment]:
    """The augmentation on each backend that has all of it."""
    if tree["pipeline"] is not None:
        able: Sequence[str] = ("albumentations",)
    elif tree["autoaugment"] != "none" or tree["augmix_jsd"] > 0:
        able = ("batched",)
    else:
        able = BACKENDS
    return {backend: Augment.model_validate({**tree, "backend": backend}) for backend in able}


def drawn(image: np.ndarray, config: Augment, count: int, seed: int) -> np.ndarray:
    """`count` draws of an augmented image: uint8 (count, C, H, W), from `seed` alone."""
    import torch

    from tune_digits.learn.augment import augment
    from tune_digits.learn.device import to_float

    images = torch.from_numpy(np.repeat(image[None], count, axis=0))
    if config.backend == "albumentations":
        from tune_digits.learn.albumentations_backend import augment_batches

        (out,) = augment_batches(images, [torch.arange(count)], config, seed, workers=1)
    else:
        out = augment(to_float(images), config, torch.Generator().manual_seed(seed))
    return np.asarray((out * 255).round().clamp(0, 255).to(torch.uint8).numpy())


def picture(rows: Sequence[Row], images: np.ndarray, count: int, seed: int) -> Image:
    """The grid: a line for each row with the original and `count` draws of each backend.

    images: uint8 (n, C, H, W); the lines of one operation show one of them, those of the next the next.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(TEXT)
    height, width = map(int, images.shape[2:])
    scale = max(1, round(TILE / max(height, width)))
    tall, wide = height * scale + GAP, width * scale + GAP
    columns = 1 + count * len(BACKENDS)
    head = 2 * TEXT
    sheet = Image.new(
        "RGB", (LABEL + columns * wide + 3 * GAP * len(BACKENDS), head + len(rows) * tall), WHITE
    )
    pen = ImageDraw.Draw(sheet)

    def left_of(column: int) -> int:
        block = 0 if column == 0 else 1 + (column - 1) // count
        return LABEL + column * wide + 3 * GAP * block

    pen.text((left_of(0), 4), "original", BLACK, font)
    for place, backend in enumerate(BACKENDS):
        pen.text((left_of(1 + place * count), 4), backend, BLACK, font)
    operations = list(dict.fromkeys(row.label.split()[0] for row in rows))
    for line, row in enumerate(rows):
        image = images[operations.index(row.label.split()[0]) % len(images)]
        top = head + line * tall
        label, _, what = row.label.partition("  ")
        pen.text((GAP, top + tall // 2 - TEXT - 1), label, BLACK, font)
        pen.text((GAP, top + tall // 2 + 1), what, GREY, font)
        sheet.paste(tile(image, scale), (left_of(0), top))
        for place, backend in enumerate(BACKENDS):
            if backend not in row.by_backend:
                pen.text(
                    (left_of(1 + place * count), top + tall // 2 - TEXT), "not on this backend", GREY, font
                )
                continue
            for i, out in enumerate(drawn(image, row.by_backend[backend], count, seed + line)):
                sheet.paste(tile(out, scale), (left_of(1 + place * count + i), top))
    return sheet


def tile(image: np.ndarray, scale: int) -> Image:
    """uint8 (C, H, W) as a picture, each pixel `scale` pixels wide; of 2 or 4 channels only the first is shown."""
    from PIL import Image

    shown = image if len(image) == 3 else image[:1].repeat(3, axis=0)
    return Image.fromarray(np.ascontiguousarray(shown.transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1)))
