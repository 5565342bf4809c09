"""What depends on the device: where the data lie, number formats, the order of images in memory, batch sizes.

Shape letters: N samples, B batch, C channels, H W pixels, K class columns (all targets side by side).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tune_digits.data.dataset import Target, head_slices


@dataclass(frozen=True, slots=True)
class DeviceData:
    """A data set on its device: images uint8 (N, C, H, W), targets float32 (N, K), probabilities per target.

    teacher: float32 (N, K), a teacher's probabilities for the same samples; None = no distillation.
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
        # Ray's shared memory is read-only, and nothing here writes to it
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The number format of matrix products that config.train.precision means.

    auto: bfloat16 on a GPU; float32 on a CPU, where bfloat16 was slower (0.7 times as fast).
    """
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which networks compute as config.train.precision says."""
    dtype = product_dtype(precision, device)
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype)


def memory_format(layout: str) -> torch.memory_format:
    """The order in memory that config.train.layout means.

    Convolutions are faster with the channels innermost (channels_last), on CPUs and on tensor cores.
    """
    return torch.contiguous_format if layout == "contiguous" else torch.channels_last


def laid_out(images: Tensor, layout: str) -> Tensor:
    """(B, C, H, W) in the memory order of config.train.layout; copied only where the order differs."""
    if memory_format(layout) == torch.channels_last:
        return images.contiguous(memory_format=torch.channels_last)
    # images of one channel are in both orders at once, and convolutions choose by the strides: set those of the
    # plain order
    return images.contiguous().flatten(1).view(images.shape)


def to_float(images: Tensor, layout: str = "auto") -> Tensor:
    """uint8 (B, C, H, W) 0..255 -> float32 0..1 in the memory order of config.train.layout."""
    return images.to(torch.float32, memory_format=memory_format(layout)).div_(255)


def prediction_batch_size(device: torch.device) -> int:
    """Images per forward pass of a prediction.

    128 fit a CPU's cache: with 1024 each image took 1.3 times as long (lean_cnn).
    """
    return 128 if device.type == "cpu" else 2048


def images_augmented_together(device: torch.device) -> int:
    """About how many images are augmented in one call, several small batches at a time.

    On a CPU the fixed cost of a call shows below 512 images, and larger groups leave the cache. A GPU launches as many
    kernels for few images as for many.
    """
    return 4096 if device.type == "cuda" else 512
