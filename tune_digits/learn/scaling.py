"""Updates of a float16 training, whose small gradients would become 0 if the loss were not scaled up."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tune_digits.learn.optim.wrappers import Wrapper


class ScaledUpdates:
    """Updates of one optimizer with scaled gradients (Micikevicius et al. 2018, arXiv:1710.03740).

    The loss is multiplied by a scale before the gradients are computed, and these are divided by it before the update.
    Where a gradient overflows, the update is left out and the scale is halved; after 2,000 updates in a row it is
    doubled. The scale is in `scaler`, which is saved with the training.
    """

    def __init__(self, scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer) -> None:
        self.scaler = scaler
        # PyTorch calls some optimizers with gradients that have overflowed, and lets their kernels leave the update
        # out; through a wrapper none is called, so that its counters and Lookahead's stand still as well
        self.optimizer = Wrapper(optimizer)

    def update(self, loss: Tensor, clip: Callable[[], None]) -> bool:
        """One update from the loss, float32 (), with `clip` called on the gradients; False where it was left out."""
        before = self.scaler.get_scale()
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.unscale_(self.optimizer)
        clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before
