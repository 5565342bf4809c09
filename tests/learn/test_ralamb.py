"""Over9000 against its published code, written out again one tensor after the other."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tune_digits.config.model import LeanCnn
from tune_digits.config.optimizer import Over9000
from tune_digits.learn.models import build_model
from tune_digits.learn.models.classifier import ImageClassifier
from tune_digits.learn.optim import build_optimizer, set_lr


class Published:
    """Ralamb and Lookahead of github.com/mgrankin/over9000; `decayed`: parameters that have weight decay."""

    def __init__(self, params: list[nn.Parameter], config: Over9000, decayed: set[int]) -> None:
        self.params, self.config, self.decayed = params, config, decayed
        self.step_count = 0
        self.means = [torch.zeros_like(p) for p in params]
        self.squares = [torch.zeros_like(p) for p in params]
        self.slow = [p.detach().clone() for p in params]
        self.rectified: list[bool] = []

    @torch.no_grad()
    def step(self, lr: float) -> None:
        beta1, beta2 = self.config.beta1, self.config.beta2
        self.step_count += 1
        t, decay = self.step_count, beta2**self.step_count
        n_max = 2 / (1 - beta2) - 1
        n = n_max - 2 * t * decay / (1 - decay)
        size = 1.0 / (1 - beta1**t)
        if n >= 5:
            size *= math.sqrt((1 - decay) * (n - 4) / (n_max - 4) * (n - 2) / n * n_max / (n_max - 2))
        self.rectified.append(n >= 5)
        for i, p in enumerate(self.params):
            assert p.grad is not None
            self.means[i] = beta1 * self.means[i] + (1 - beta1) * p.grad
            self.squares[i] = beta2 * self.squares[i] + (1 - beta2) * p.grad**2
            new = p.detach().clone()
            if id(p) in self.decayed:
                new -= self.config.weight_decay * lr * new
            denominator = self.squares[i].sqrt() + self.config.eps if n >= 5 else torch.ones(())
            direction = self.means[i] / denominator
            radam_norm = (new - size * lr * direction).pow(2).sum().sqrt()
            weight_norm = p.pow(2).sum().sqrt().clamp(0, 10)
            trust = 1.0 if weight_norm == 0 or radam_norm == 0 else float(weight_norm / radam_norm)
            p.copy_(new - size * lr * trust * direction)
        if self.config.lookahead_k and t % self.config.lookahead_k == 0:
            for slow, p in zip(self.slow, self.params, strict=True):
                slow += self.config.lookahead_alpha * (p - slow)
                p.copy_(slow)


def small() -> ImageClassifier:
    torch.manual_seed(0)
    model = build_model(LeanCnn(width=4, depth=1), 1, 8, 8, 3, (0.5,), (0.5,))
    with torch.no_grad():
        # one tensor longer than 10, where the trust ratio matters, and a bias of zeros, where it is 1
        model.classifier.weight.mul_(40 / model.classifier.weight.norm())
        model.classifier.bias.zero_()
    return model


def gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"weight_decay": 0.1},
        {"lookahead_k": 0},
        {"lookahead_k": 2, "lookahead_alpha": 0.3},
        {"beta2": 0.9},
    ],
    ids=str,
)
def test_over9000_is_the_published_code(change: dict[str, Any]) -> None:
    config = Over9000(**change)
    ours, theirs = small(), small()
    optimizer = build_optimizer(ours, config)
    published = Published(
        list(theirs.parameters()), config, {id(p) for p in theirs.parameters() if p.ndim >= 2}
    )
    for step, lr in enumerate([1e-2, 3e-3, 1e-2, 2e-2, 1e-2, 1e-2, 5e-3, 1e-2, 1e-2, 1e-3, 1e-2, 1e-2]):
        for model in (ours, theirs):
            gradients(model, step)
        set_lr(optimizer, lr)
        optimizer.step()
        published.step(lr)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert set(published.rectified) == {False, True}  # both branches have been compared


def test_the_defaults_are_the_published_ones() -> None:
    config = Over9000()
    assert (config.lr, config.beta1, config.beta2, config.eps) == (1e-3, 0.9, 0.999, 1e-8)
    assert (config.lookahead_k, config.lookahead_alpha, config.weight_decay) == (6, 0.5, 0.0)


def test_large_tensors_move_less() -> None:
    """The ratio of a tensor of norm 40 is about 10 / 40."""
    model = small()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.classifier.weight.mul_(0.1)
    moves: list[Tensor] = []
    for net in (model, twin):
        before = net.classifier.weight.detach().clone()
        gradients(net, 0)
        build_optimizer(net, Over9000(lookahead_k=0)).step()
        moves.append((net.classifier.weight.detach() - before).norm())
    assert moves[0] / moves[1] == pytest.approx(0.25, rel=0.01)
