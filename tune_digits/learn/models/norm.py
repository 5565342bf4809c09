"""BatchNorm as Keras counts: the running variance is the batch's own, divided by n, not by n - 1 as PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _BiasedVariance:
    """Mixed into a BatchNorm of PyTorch. n is the batch's number of values per channel."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        before = self.running_var.clone()
        out = super().forward(values)
        with torch.no_grad():
            # PyTorch has added momentum * s² * n / (n - 1); of what it added, 1/n goes again
            added = self.running_var - (1 - self.momentum) * before
            # not in place: the backward pass has kept the other one
            self.running_var = self.running_var - added * (values.shape[1] / values.numel())
        return out


class BiasedBatchNorm1d(_BiasedVariance, nn.BatchNorm1d):
    """nn.BatchNorm1d whose running variance is biased."""


class BiasedBatchNorm2d(_BiasedVariance, nn.BatchNorm2d):
    """nn.BatchNorm2d whose running variance is biased."""


BIASED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: BiasedBatchNorm1d,
    nn.BatchNorm2d: BiasedBatchNorm2d,
}


def bias_variance(network: nn.Module) -> None:
    """Put a BatchNorm with biased running variance in the place of each of PyTorch's, the same in all else."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) in BIASED:
                norm = BIASED[type(child)](child.num_features, eps=child.eps, momentum=child.momentum)
                norm.load_state_dict(child.state_dict())
                norm.keeps_knobs = getattr(child, "keeps_knobs", False)
                setattr(module, name, norm)
