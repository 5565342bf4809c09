"""The data on their device, and the batches made of them there: shuffled, augmented, mixed.

Shape letters: N samples, B batch, C channels, H W, K class columns (all heads side by side).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target, head_slices
from tune_digits.learn import augment, mix
from tune_digits.learn.predict import laid_out, to_float
from tune_digits.learn.state import derive_seed

# Several small batches are augmented in one go. On a CPU the fixed cost per call shows below about 512 images, and
# larger groups leave the cache; a GPU launches as many kernels for few images as for many.
AUGMENT_TOGETHER = {"cpu": 512, "cuda": 4096}


@dataclass(frozen=True, slots=True)
class DeviceData:
    """A data set on its device: images uint8 (N, C, H, W), targets float32 (N, K) probabilities per head.

    teacher: float32 (N, K), what a teacher says of the same samples; None = nothing is distilled.
    """

    images: Tensor
    targets: Tensor
    heads: tuple[slice, ...]
    teacher: Tensor | None = None


def to_device(
    images: np.ndarray,
    proba: np.ndarray,
    targets: tuple[Target, ...],
    device: torch.device,
    teacher: np.ndarray | None = None,
) -> DeviceData:
    """Move images uint8 (N, C, H, W), target and teacher probabilities float32 (N, K) to `device`, once.

    On a CPU nothing is copied: the arrays may be read-only views into Ray's shared memory, and are never written.
    """
    moved = None if teacher is None else _tensor(teacher).to(device)
    return DeviceData(_tensor(images).to(device), _tensor(proba).to(device), head_slices(targets), moved)


def _tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        # Ray's shared memory is read-only, and so is our use of it
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)


def channel_stats(images: np.ndarray, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (C,) of uint8 images (N, C, H, W) at `rows`, on the scale 0..1; std >= 1e-3."""
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for part in np.array_split(rows, math.ceil(len(rows) / 4096)):
            # a histogram of bytes is exact and needs no float copy of the images
            counts += np.bincount(images[part, channel].reshape(-1), minlength=256)
        values = np.arange(256) / 255
        mean = float(counts @ values / counts.sum())
        means.append(mean)
        stds.append(max(1e-3, math.sqrt(float(counts @ (values - mean) ** 2 / counts.sum()))))
    return tuple(means), tuple(stds)


@dataclass(frozen=True, slots=True)
class Batch:
    """images float32 (V B, C, H, W) in 0..1, targets and teacher float32 (B, K).

    V = 1, or 3 for the Jensen-Shannon consistency: the B plain images, then two augmented views of them.
    """

    images: Tensor
    targets: Tensor
    teacher: Tensor | None


def batches(
    data: DeviceData, rows: Tensor, config: TrialConfig, seed: int, *, mixes: bool, workers: int = 1
) -> Iterator[Batch]:
    """One pass over `rows`, int64 (n,), in an order and with changes that `seed` alone decides.

    The sizes of the batches differ by one at most, so that no sample is left out and none stands alone. mixes:
    whether config.mix is on. workers: processes of the albumentations backend; with 1 it works in this one.
    """
    generator = torch.Generator(data.images.device).manual_seed(seed)
    # mixing reads its random numbers on the host, for which a GPU's generator would make it wait
    on_host = (
        generator if generator.device.type == "cpu" else torch.Generator().manual_seed(derive_seed(seed))
    )
    steps = math.ceil(len(rows) / config.train.batch_size)
    order = rows[torch.randperm(len(rows), generator=generator, device=rows.device)]
    parts = order.tensor_split(steps)
    at_once = AUGMENT_TOGETHER.get(data.images.device.type, 512)
    together = max(1, at_once // config.train.batch_size)
    groups = [parts[i : i + together] for i in range(0, steps, together)]
    for group, views in zip(groups, _views(data, groups, config, generator, workers), strict=True):
        sizes = [len(part) for part in group]
        chosen = torch.cat(group)
        columns = data.targets[chosen]
        if data.teacher is not None:
            # the teacher's answer is mixed as the target is: side by side they are one
            columns = torch.cat([columns, data.teacher[chosen]], dim=1)
        split = zip(*(view.split(sizes) for view in views), strict=True)
        for images, y in zip(split, columns.split(sizes), strict=True):
            x = images[0] if len(images) == 1 else torch.cat(images)
            if mixes:
                x, y = mix.apply(x, y, mix.draw(config.mix, *x.shape[0:1], *x.shape[2:], on_host))
            classes = data.targets.shape[1]
            yield Batch(x, y[:, :classes], None if data.teacher is None else y[:, classes:])


def _views(
    data: DeviceData,
    groups: list[tuple[Tensor, ...]],
    config: TrialConfig,
    generator: torch.Generator,
    workers: int,
) -> Iterator[tuple[Tensor, ...]]:
    """For each group of batches its images, float32 (n, C, H, W): augmented, or plain and twice augmented."""
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
