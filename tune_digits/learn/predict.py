"""Predictions of a trained model, in batches, with test-time augmentation on request.

Shape letters: N samples, B batch, C channels, H W pixels, K class columns (all targets side by side).
"""

from __future__ import annotations

import time
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tune_digits.learn.augment import AugmentParams, apply
from tune_digits.learn.device import autocast, prediction_batch_size, to_float

# (down, right) in pixels: the image as it is, then the four straight and the four diagonal neighbours
SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))


def shifted(images: Tensor, dy: int, dx: int) -> Tensor:
    """(B, C, H, W) moved down by dy and right by dx pixels, both -1, 0 or 1; border pixels are repeated."""
    if dy == 0 and dx == 0:
        return images
    height, width = images.shape[2:]
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return padded[:, :, 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]


@torch.inference_mode()
def predict_logits(
    model: nn.Module,
    images: Tensor,
    rows: Tensor | None = None,
    *,
    batch_size: int | None = None,
    precision: str = "auto",
    layout: str = "auto",
) -> Tensor:
    """Logits float32 (N, K) of uint8 images (N, C, H, W), or of those at `rows`; model and images on one device."""
    model.eval()
    batch_size = batch_size or prediction_batch_size(images.device)
    count = len(images) if rows is None else len(rows)
    parts = []
    for start in range(0, count, batch_size):
        stop = min(start + batch_size, count)
        batch = images[start:stop] if rows is None else images[rows[start:stop]]
        parts.append(_forward(model, to_float(batch, layout), precision))
    return torch.cat(parts)


def _forward(model: nn.Module, images: Tensor, precision: str) -> Tensor:
    with autocast(precision, images.device):
        logits: Tensor = model(images)
    return logits.float()


def softmax_heads(logits: Tensor, heads: tuple[slice, ...]) -> Tensor:
    """Logits (N, K) -> probabilities (N, K) that add up to 1 in every target; heads: its class columns."""
    return torch.cat([logits[:, head].softmax(1) for head in heads], dim=1)


@torch.inference_mode()
def predict_proba(
    model: nn.Module,
    images: Tensor,
    heads: tuple[slice, ...],
    *,
    tta: int = 1,
    batch_size: int | None = None,
    precision: str = "auto",
) -> np.ndarray:
    """Probabilities float32 (N, K) of uint8 images (N, C, H, W): the mean over the first `tta` (1..9) of SHIFTS."""
    model.eval()
    parts = []
    for batch in torch.split(images, batch_size or prediction_batch_size(images.device)):
        plain = to_float(batch)
        proba = torch.zeros(len(batch), heads[-1].stop, device=images.device)
        for dy, dx in SHIFTS[:tta]:
            proba += softmax_heads(_forward(model, shifted(plain, dy, dx), precision), heads)
        parts.append((proba / tta).cpu())
    return torch.cat(parts).numpy() if parts else np.zeros((0, heads[-1].stop), np.float32)


@torch.inference_mode()
def predict_changed(
    model: nn.Module,
    images: Tensor,
    heads: tuple[slice, ...],
    params: AugmentParams,
    fill: str,
    *,
    batch_size: int | None = None,
    precision: str = "auto",
) -> np.ndarray:
    """Probabilities float32 (N, K) of uint8 images (N, C, H, W), all changed alike.

    params: of one image (B = 1). fill: as in `augment.apply`.
    """
    model.eval()
    if len(images) == 0:
        return np.zeros((0, heads[-1].stop), np.float32)
    parts = []
    for batch in torch.split(images, batch_size or prediction_batch_size(images.device)):
        changed = apply(to_float(batch), _repeated(params, len(batch), batch.device), fill)
        parts.append(softmax_heads(_forward(model, changed, precision), heads).cpu())
    return torch.cat(parts).numpy()


def _repeated(params: AugmentParams, count: int, device: torch.device) -> AugmentParams:
    """The same change for each of `count` images, on the device."""
    drawn = {f.name: getattr(params, f.name) for f in fields(params)}
    return AugmentParams(
        **{
            name: None if value is None else value.to(device).expand(count, *value.shape[1:])
            for name, value in drawn.items()
        }
    )


def inference_speed(
    model: nn.Module, images: Tensor, heads: tuple[slice, ...], *, precision: str = "auto", passes: int = 5
) -> float:
    """Images per second of `predict_proba` on one batch of these uint8 images (N, C, H, W).

    It is that of the fastest of so many passes: whatever else runs on the machine only makes a pass slower. One more
    pass before them warms up.
    """
    batch = images[: prediction_batch_size(images.device)]
    seconds = []
    for _ in range(passes + 1):
        begun = time.perf_counter()
        predict_proba(model, batch, heads, precision=precision)
        seconds.append(time.perf_counter() - begun)
    return len(batch) / min(seconds[1:])
