"""What comes before a network: its images repeated to three channels, and normalised.

It is the first module of a saved network, so that every prediction prepares its images as the training did.

Shape letters: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tune_digits.config.train import GivenNumbers, Named, Train


class Normalize(nn.Module):
    """(x - mean) / std per channel; mean and std (C,) are buffers, saved with the weights, never trained."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class NormalizeEach(nn.Module):
    """(x - mean) / std of each image by itself, over its channels and pixels.

    std is at least 1 / sqrt(C H W), so that an image of one value gives zeros (TensorFlow's per_image_standardization).
    """

    def forward(self, images: Tensor) -> Tensor:
        std, mean = torch.std_mean(images, (1, 2, 3), correction=0, keepdim=True)
        return (images - mean) / std.clamp_min(images[0].numel() ** -0.5)


class Repeat(nn.Module):
    """(B, 1, H, W) -> (B, 3, H, W), a view of the same memory."""

    def forward(self, images: Tensor) -> Tensor:
        return images.expand(-1, 3, -1, -1)


# of the training images of ImageNet, as torchvision's weights were trained with them
IMAGENET = GivenNumbers(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

# train.normalize in the configuration -> (mean, std) of the training images -> the module
NORMALIZATIONS: dict[Named, Callable[[Sequence[float], Sequence[float]], nn.Module]] = {
    "none": lambda mean, std: nn.Identity(),
    "dataset": Normalize,
    "image": lambda mean, std: NormalizeEach(),
    "imagenet": lambda mean, std: Normalize(IMAGENET.mean, IMAGENET.std),
}


def first_module(train: Train, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """The module that prepares float32 images (B, C, H, W) in [0, 1] for a network, as `train` says.

    mean, std: (C,) of the training images, which `normalize: dataset` uses.
    """
    if isinstance(train.normalize, GivenNumbers):
        module: nn.Module = Normalize(train.normalize.mean, train.normalize.std)
    else:
        module = NORMALIZATIONS[train.normalize](mean, std)
    return nn.Sequential(Repeat(), module) if train.channels == "repeat" else module
