"""What a training is at the end of an epoch: enough to go on exactly, as tensors and plain JSON values."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tune_digits.config import TrialConfig
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.models import build_model
from tune_digits.learn.optim import build_optimizer


@dataclass(slots=True)
class TrainState:
    """model and its moving average (None = off), optimizer, weight updates done, and the epochs so far."""

    model: nn.Module
    ema: nn.Module | None
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: list[EpochReport] = field(default_factory=list)

    @property
    def best_model(self) -> nn.Module:
        """The weights to judge and to keep: the average where there is one."""
        return self.model if self.ema is None else self.ema


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from whole numbers >= 0, well mixed (NumPy's SeedSequence)."""
    low, high = np.random.SeedSequence(parts).generate_state(2)
    return int(low) | (int(high) >> 1) << 32


def create_state(
    config: TrialConfig,
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int,
    device: torch.device,
) -> TrainState:
    """Freshly initialised, from `seed` alone. mean and std (C,) are of the training images in 0..1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 0))
        model = build_model(config.model, channels, height, width, classes, mean, std)
    # on CPUs and on tensor cores convolutions run faster with the channels innermost
    model = model.to(device=device, memory_format=torch.channels_last)
    ema = copy.deepcopy(model).requires_grad_(False).eval() if config.train.ema_decay > 0 else None
    return TrainState(model, ema, build_optimizer(model, config.optimizer))


def pack(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as named tensors and JSON values."""
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    if state.ema is not None:
        tensors |= {f"ema.{k}": v for k, v in state.ema.state_dict().items()}
    scalars: dict[str, Any] = {}
    for index, values in state.optimizer.state_dict()["state"].items():
        for key, value in values.items():
            name = f"optimizer.{index}.{key}"
            if isinstance(value, Tensor):
                tensors[name] = value
            else:
                scalars[name] = value
    meta = {"step": state.step, "history": [asdict(r) for r in state.history], "optimizer": scalars}
    return {k: v.detach().contiguous() for k, v in tensors.items()}, meta


def unpack(state: TrainState, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Put what `pack` gave into a state made from the same configuration."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    state.model.load_state_dict(part("model."))
    if state.ema is not None:
        state.ema.load_state_dict(part("ema."))
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    values: dict[int, dict[str, Any]] = {}
    for name, value in (part("optimizer.") | meta["optimizer"]).items():
        index, key = name.removeprefix("optimizer.").split(".", 1)
        like = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == like.shape:
            # fused optimizers walk parameter and moments in memory order: both must be laid out alike
            value = torch.empty_like(like).copy_(value)
        values.setdefault(int(index), {})[key] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": values, "param_groups": groups})
    state.step = meta["step"]
    state.history = [EpochReport(**r) for r in meta["history"]]
