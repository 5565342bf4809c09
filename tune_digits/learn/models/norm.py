"""BatchNorm as Keras computes it: the running variance divides by n, PyTorch's by n - 1.

Also BatchNorms that keep the momentum, epsilon and scale which their network gave them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _BiasedVariance(_BatchNorm):
    """Mixed into a BatchNorm of PyTorch. n is the batch's number of values per channel."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        assert self.running_var is not None and self.momentum is not None
        before = self.running_var.clone()
        out = super().forward(values)
        with torch.no_grad():
            # PyTorch has added momentum * s² * n / (n - 1); take 1/n of what it added away again
            added = self.running_var - (1 - self.momentum) * before
            # a new tensor: the backward pass needs the old one unchanged
            self.running_var = self.running_var - added * (values.shape[1] / values.numel())
        return out


class BiasedBatchNorm1d(_BiasedVariance, nn.BatchNorm1d):
    """nn.BatchNorm1d whose running variance is biased."""


class BiasedBatchNorm2d(_BiasedVariance, nn.BatchNorm2d):
    """nn.BatchNorm2d whose running variance is biased."""


class Fixed:
    """Marks a BatchNorm that `init.set_batchnorm` leaves as its network made it."""


class FixedBatchNorm1d(Fixed, nn.BatchNorm1d):
    """nn.BatchNorm1d with the network's own momentum, epsilon and scale."""


class FixedBiasedBatchNorm1d(Fixed, BiasedBatchNorm1d):
    """BiasedBatchNorm1d with the network's own momentum, epsilon and scale."""


BIASED: dict[type[nn.Module], type[_BatchNorm]] = {
    nn.BatchNorm1d: BiasedBatchNorm1d,
    nn.BatchNorm2d: BiasedBatchNorm2d,
    FixedBatchNorm1d: FixedBiasedBatchNorm1d,
}


def bias_variance(network: nn.Module) -> None:
    """Replace each BatchNorm by one whose running variance is biased and that is the same in all else, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and type(child) in BIASED:
                norm = BIASED[type(child)](child.num_features, eps=child.eps, momentum=child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
