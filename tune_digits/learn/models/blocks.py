"""Parts that several networks share: activations, pooling, squeeze-and-excitation.

Shape letters: B batch, C channels, H W.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.1

# `activation` in the configuration -> a new module of it
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(LEAK, inplace=True),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "gelu": nn.GELU,
}


class GeM(nn.Module):
    """Generalised mean over positions: (B, C, H, W) -> (B, C, 1, 1) as mean(x^p)^(1/p), with p learned.

    p = 1 is the mean, p -> infinity the maximum; it starts at 3. Values below 1e-6 count as 1e-6.
    Radenović et al. 2018, arXiv 1711.02512.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))

    def forward(self, maps: Tensor) -> Tensor:
        # a power in half precision overflows at once
        powers = maps.float().clamp(min=1e-6).pow(self.p)
        return powers.mean((-2, -1), keepdim=True).pow(1 / self.p).to(maps.dtype)


# `pooling` in the configuration -> a new module (B, C, H, W) -> (B, C, 1, 1); flatten keeps every position
POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "avg": lambda: nn.AdaptiveAvgPool2d(1),
    "max": lambda: nn.AdaptiveMaxPool2d(1),
    "gem": GeM,
    "flatten": nn.Identity,
}


def vector_of(pooling: str, channels: int, height: int, width: int) -> tuple[list[nn.Module], int]:
    """The modules from maps (B, C, H, W) to vectors (B, D), and D: C, or C*H*W for `flatten`."""
    size = channels * height * width if pooling == "flatten" else channels
    return [POOLINGS[pooling](), nn.Flatten()], size


class MaxBlurPool(nn.Module):
    """Anti-aliased max-pooling at stride 2, (B, C, H, W) -> the size that nn.MaxPool2d(size, 2, padding) gives.

    A maximum at stride 1, then the 3x3 binomial filter at stride 2 with the edge repeated. size, padding: (height,
    width) in pixels of the maximum's window, 2 without padding or 3; ceil: sizes are rounded up and not down. Zhang
    2019, arXiv 1904.11486.

    >>> MaxBlurPool()(torch.zeros(1, 2, 7, 6)).shape
    torch.Size([1, 2, 3, 3])
    """

    kernel: Tensor

    def __init__(
        self, size: tuple[int, int] = (2, 2), padding: tuple[int, int] = (0, 0), *, ceil: bool = False
    ) -> None:
        super().__init__()
        self.size, self.padding, self.after = size, padding, 1 + ceil
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        highest = F.max_pool2d(maps, self.size, stride=1, padding=self.padding)
        highest = F.pad(highest, (1, self.after, 1, self.after), mode="replicate")
        channels = maps.shape[1]
        return F.conv2d(highest, self.kernel.expand(channels, 1, 3, 3), stride=2, groups=channels)


def halving(blur: bool) -> nn.Module:
    """2x2 max-pooling, with or without the blur; both give (H // 2, W // 2)."""
    return MaxBlurPool() if blur else nn.MaxPool2d(2)


class SqueezeExcite(nn.Module):
    """(B, C, H, W) -> the same shape: each channel times a gate in 0..1, computed from the means of all channels.

    Two dense layers make the gates, with C // ratio (at least 1) units and `activation` (of ACTIVATIONS; the paper's is
    relu) between them. Hu et al. 2018, arXiv 1709.01507.
    torchvision.ops.SqueezeExcitation computes the same, but importing it takes 4 s of a core in every worker, and saved
    weights would no longer fit (docs/log.md).
    """

    def __init__(self, channels: int, ratio: int, activation: str = "relu") -> None:
        super().__init__()
        squeezed = max(1, channels // ratio)
        self.gate = nn.Sequential(
            nn.Linear(channels, squeezed),
            ACTIVATIONS[activation](),
            nn.Linear(squeezed, channels),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        gates: Tensor = self.gate(maps.mean((-2, -1)))
        return maps * gates[:, :, None, None]


def squeeze_excite(channels: int, ratio: int, activation: str = "relu") -> list[nn.Module]:
    """A list of the one block, or an empty list where ratio is 0."""
    return [SqueezeExcite(channels, ratio, activation)] if ratio else []


def conv_norm_act(
    inputs: int,
    outputs: int,
    activation: str,
    *,
    kernel: int = 3,
    padding: int | None = None,
    bias: bool = False,
) -> list[nn.Module]:
    """Convolution, BatchNorm, activation. padding: None keeps the maps' size (odd kernels)."""
    padding = kernel // 2 if padding is None else padding
    return [
        # BatchNorm subtracts a bias again, so there is none unless it is asked for
        nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=bias),
        nn.BatchNorm2d(outputs),
        ACTIVATIONS[activation](),
    ]
