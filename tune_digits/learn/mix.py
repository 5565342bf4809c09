"""Mixing pairs of one batch, images and targets: MixUp, CutMix and FMix.

`draw` makes the random numbers for one batch; `apply` is a pure function of the batch and those numbers.
Shape letters: B batch, C channels, H W pixels, K class columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tune_digits.config import Mix


@dataclass(frozen=True, slots=True)
class MixParams:
    """How one batch is mixed.

    partner  (B,) int64: the sample that each sample is mixed with
    own      in [0, 1]: the fraction of a sample that stays its own (lambda in the papers); the partner gives the rest
    box      (top, bottom, left, right) in pixels, taken from the partner: CutMix
    mask     (H, W) bool, True where a pixel is the sample's own: FMix
    MixUp has neither.
    """

    partner: Tensor
    own: float
    box: tuple[int, int, int, int] | None = None
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Mixed:
    """Both targets of each sample of a mixed batch, and the teacher's for both images.

    own      in [0, 1]: weight of the sample's own target; its partner's has the rest
    targets  float32 (B, K) each: the samples' own, their partners'
    teacher  float32 (B, K) each, in the same order; None without a teacher
    """

    own: float
    targets: tuple[Tensor, Tensor]
    teacher: tuple[Tensor, Tensor] | None


def is_active(config: Mix, epoch: int, epochs: int) -> bool:
    """Whether batches of `epoch` (from 0) of `epochs` may be mixed: not in the last config.off_last epochs."""
    return config.p > 0 and bool(config.kinds()) and epoch < epochs - config.off_last


def draw(config: Mix, batch: int, height: int, width: int, generator: torch.Generator) -> MixParams | None:
    """The random numbers for one batch, one lambda for all samples as in the papers' code; None if it is not mixed.

    torch has no Beta distribution with an explicit generator, so one integer of the torch generator seeds a
    NumPy generator that draws all the rest. The host needs that integer: with a generator on the CPU it does not wait
    for a GPU.
    """
    kinds = config.kinds()
    if config.p == 0 or not kinds:
        return None
    seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
    rng = np.random.default_rng(int(seed))
    if rng.random() >= config.p:
        return None
    partner = torch.from_numpy(rng.permutation(batch))
    kind = _choose(kinds, rng)
    alpha = getattr(config, f"{kind}_alpha")
    if config.alpha_low < 1:
        alpha *= rng.uniform(config.alpha_low, 1)
    own = rng.beta(alpha, alpha)
    if kind == "mixup":
        return MixParams(partner, own)
    if kind == "fmix":
        mask = fmix_mask(own, height, width, config.fmix_decay, rng)
        return MixParams(partner, float(mask.mean()), mask=torch.from_numpy(mask))
    centre_y, centre_x = rng.integers(height), rng.integers(width)
    box = cut_box(own, int(centre_y), int(centre_x), height, width)
    return MixParams(partner, _fraction_outside(box, height, width), box)


def _choose(weights: dict[str, float], rng: np.random.Generator) -> str:
    """One of the keys, with probabilities in proportion to the weights; a single key needs no random number."""
    names = list(weights)
    if len(names) == 1:
        return names[0]
    ends = np.cumsum(list(weights.values()))
    return names[int(np.searchsorted(ends / ends[-1], rng.random(), side="right"))]


def cut_box(own: float, centre_y: int, centre_x: int, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a box shaped like the image, of area 1 - own before clipping.

    Algorithm 1 of the CutMix paper.
    """
    side = math.sqrt(1 - own)
    half_y, half_x = int(height * side) // 2, int(width * side) // 2
    top, bottom = max(centre_y - half_y, 0), min(centre_y + half_y, height)
    left, right = max(centre_x - half_x, 0), min(centre_x + half_x, width)
    return top, bottom, left, right


def fmix_mask(own: float, height: int, width: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """bool (height, width), True in the fraction `own` of the pixels, rounded up or down at random.

    These are the largest values of a random image whose frequencies are damped with the power `decay` (Harris et al.
    2020, arXiv:2002.12047, section 4; as in the authors' code, frequencies below one period per side count as one).
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    damping = np.maximum(frequency, 1 / max(height, width)) ** -decay
    noise = rng.standard_normal((2, *frequency.shape))
    grey = np.fft.irfft2((noise[0] + 1j * noise[1]) * damping, (height, width)).reshape(-1)
    count = own * grey.size
    kept = math.ceil(count) if rng.random() < 0.5 else math.floor(count)
    mask = np.zeros(grey.size, bool)
    mask[np.argsort(grey, kind="stable")[grey.size - kept :]] = True
    return mask.reshape(height, width)


def apply(images: Tensor, targets: Tensor, params: MixParams | None) -> tuple[Tensor, Tensor]:
    """Mix float images (B, C, H, W) and float targets (B, K) on one device; the inputs stay as they are.

    MixUp: Zhang et al. 2018, arXiv:1710.09412. CutMix: Yun et al. 2019, arXiv:1905.04899. FMix: Harris et al.
    2020, arXiv:2002.12047. Rows of targets that sum to 1 still do. params None returns the inputs themselves.

    >>> pair = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> apply(torch.zeros(2, 1, 4, 4), pair, MixParams(partner=torch.tensor([1, 0]), own=0.75))[1]
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """
    if params is None:
        return images, targets
    partner = params.partner.to(images.device, non_blocking=True)
    mixed_targets = torch.lerp(targets[partner], targets, params.own)
    if params.mask is not None:
        mask = params.mask.to(images.device, non_blocking=True)
        return torch.where(mask, images, images[partner]), mixed_targets
    if params.box is None:
        return torch.lerp(images[partner], images, params.own), mixed_targets
    top, bottom, left, right = params.box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, mixed_targets


def _fraction_outside(box: tuple[int, int, int, int], height: int, width: int) -> float:
    top, bottom, left, right = box
    return 1 - (bottom - top) * (right - left) / (height * width)
