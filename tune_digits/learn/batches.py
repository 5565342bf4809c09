"""The batches of one pass over the data, made on the data's device: shuffled, augmented, mixed.

Shape letters: N samples, B batch, C channels, H W pixels, K class columns (all targets side by side), V views.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.learn import augment, mix
from tune_digits.learn.device import DeviceData, images_augmented_together, laid_out, to_float
from tune_digits.learn.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Batch:
    """images: float32 (V B, C, H, W) in 0..1; targets and teacher: float32 (B, K), probabilities.

    V = 1 augmented view, or for the Jensen-Shannon consistency 3: the B plain images, then two augmented views.
    mixed: what the targets and the teacher of a mixed batch were made of; None where the batch is not mixed.
    """

    images: Tensor
    targets: Tensor
    teacher: Tensor | None
    mixed: mix.Mixed | None = None


def steps_of(rows: int, batch_size: int, drop_last: bool) -> int:
    """Batches of one pass over so many rows.

    >>> steps_of(100, 32, drop_last=False), steps_of(100, 32, drop_last=True)
    (4, 3)
    """
    return rows // batch_size if drop_last else math.ceil(rows / batch_size)


def batches(
    data: DeviceData,
    rows: Tensor,
    config: TrialConfig,
    seed: int,
    *,
    mixes: bool,
    workers: int = 1,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """One pass over `rows`, int64 (n,), shuffled, augmented and mixed with random numbers from `seed` alone.

    The sizes of the batches differ by one at most, so that no sample is left out and no batch has a single one.
    drop_last: all have batch_size samples, and the rows after the last full batch are left out. mixes: whether
    config.mix is on. workers: processes of the albumentations backend; 1 = no further process.
    """
    generator = torch.Generator(data.images.device).manual_seed(seed)
    # mixing needs its random numbers on the host, and would wait for those of a GPU's generator
    on_host = (
        generator if generator.device.type == "cpu" else torch.Generator().manual_seed(derive_seed(seed))
    )
    steps = steps_of(len(rows), config.train.batch_size, drop_last)
    order = rows[torch.randperm(len(rows), generator=generator, device=rows.device)]
    parts = (order[: steps * config.train.batch_size] if drop_last else order).tensor_split(steps)
    together = max(1, images_augmented_together(data.images.device) // config.train.batch_size)
    groups = [parts[i : i + together] for i in range(0, steps, together)]
    for group, views in zip(groups, _views(data, groups, config, generator, workers), strict=True):
        sizes = [len(part) for part in group]
        chosen = torch.cat(group)
        columns = data.targets[chosen]
        if data.teacher is not None:
            # side by side with the targets, so that both are mixed alike
            columns = torch.cat([columns, data.teacher[chosen]], dim=1)
        split = zip(*(torch.split(view, sizes) for view in views), strict=True)
        for images, y in zip(split, torch.split(columns, sizes), strict=True):
            x = images[0] if len(images) == 1 else torch.cat(images)
            height, width = x.shape[2:]
            params = mix.draw(config.mix, len(x), height, width, on_host) if mixes else None
            targets, teacher = _columns(y, data)
            if params is None:
                yield Batch(x, targets, teacher)
                continue
            x, blended = mix.apply(x, y, params)
            partners = _columns(y[params.partner.to(y.device)], data)
            both = None if teacher is None or partners[1] is None else (teacher, partners[1])
            yield Batch(x, *_columns(blended, data), mix.Mixed(params.own, (targets, partners[0]), both))


def _columns(columns: Tensor, data: DeviceData) -> tuple[Tensor, Tensor | None]:
    """The targets and the teacher, float32 (B, K) each, of columns side by side."""
    classes = data.targets.shape[1]
    return columns[:, :classes], None if data.teacher is None else columns[:, classes:]


def _views(
    data: DeviceData,
    groups: list[tuple[Tensor, ...]],
    config: TrialConfig,
    generator: torch.Generator,
    workers: int,
) -> Iterator[tuple[Tensor, ...]]:
    """The views of each group of batches, float32 (n, C, H, W): one augmented, or the plain one and two augmented."""
    layout = config.train.layout
    if config.augment.backend == "albumentations":
        from tune_digits.learn.albumentations_backend import augment_batches

        seed = generator.initial_seed()
        host = data.images.cpu()
        indices = [torch.cat(group).cpu() for group in groups]
        for images in augment_batches(host, indices, config.augment, seed, workers):
            yield (laid_out(images.to(data.images.device), layout),)
        return
    for group in groups:
        plain = to_float(data.images[torch.cat(group)], layout)
        views = [plain] if config.augment.augmix_jsd > 0 else []
        views += [augment.augment(plain, config.augment, generator) for _ in range(2 if views else 1)]
        yield tuple(laid_out(view, layout) for view in views)
