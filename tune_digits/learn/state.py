"""The state of a training at the end of an epoch: enough to resume it exactly, as tensors and plain JSON values."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.learn.device import memory_format
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.models import build_model
from tune_digits.learn.models.classifier import ImageClassifier
from tune_digits.learn.optim import build_optimizer
from tune_digits.learn.seeds import derive_seed


@dataclass(slots=True)
class TrainState:
    """Everything that training changes.

    model      the network that is trained
    ema        moving average of the weights; None = off
    swa        equal average of the weights at the ends of `averaged` epochs; None = off
    best       the weights of the best epoch so far, number `best_epoch`, counted from 1; 0: no epoch was validated
               yet; None = the last weights are kept
    scaler     scales the loss of a float16 training, so that small gradients do not become 0; None = off
    centers    float32 (K, D), of center loss; None = off
    step       weight updates done, those included that a float16 training left out
    history    the reports of the finished epochs, oldest first
    snapshots  epoch -> the weights at its end, by name
    """

    model: ImageClassifier
    ema: ImageClassifier | None
    swa: ImageClassifier | None
    best: ImageClassifier | None
    centers: Tensor | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None
    step: int = 0
    averaged: int = 0
    best_epoch: int = 0
    history: list[EpochReport] = field(default_factory=list)
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def current_model(self) -> ImageClassifier:
        """The weights of the last update: their moving average where there is one."""
        return self.model if self.ema is None else self.ema

    @property
    def validated_model(self) -> ImageClassifier:
        """The weights that are validated: the average over epochs, once there is one."""
        return self.swa if self.swa is not None and self.averaged else self.current_model

    @property
    def best_model(self) -> ImageClassifier:
        """The weights that are kept: those of the best epoch, once there is one, or those that are validated."""
        return self.best if self.best is not None and self.best_epoch else self.validated_model

    def keep_best(self, epoch: int) -> None:
        """Keep a copy of the validated weights, those at the end of `epoch` (from 1), as the best so far."""
        assert self.best is not None
        self.best.load_state_dict(self.validated_model.state_dict())
        self.best_epoch = epoch

    def take_snapshot(self, epoch: int) -> None:
        """Keep a copy of the current weights as those at the end of `epoch`."""
        weights = self.current_model.state_dict()
        self.snapshots[epoch] = {k: v.detach().clone() for k, v in weights.items()}


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
    weights: Mapping[str, Tensor] | None = None,
) -> TrainState:
    """The state before the first update; random weights depend on `seed` alone.

    mean and std: (C,) of the training images on the scale 0..1. weights: initial weights by name, which replace the
    random ones where names and shapes fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 0))
        model = build_model(
            config.model,
            channels,
            height,
            width,
            classes,
            mean,
            std,
            train=config.train,
            weights=weights,
        )
    model.to(device).to(memory_format=memory_format(config.train.layout))

    def beside(on: bool) -> ImageClassifier | None:
        return copy.deepcopy(model).requires_grad_(False).eval() if on else None

    centers = None
    if config.loss.center_weight > 0:
        centers = torch.zeros(classes, model.classifier.weight.shape[1], device=device)
    return TrainState(
        model=model,
        ema=beside(config.train.ema_decay > 0),
        swa=beside(config.train.swa_start < 1),
        best=beside(config.train.keep != "last"),
        centers=centers,
        optimizer=build_optimizer(model, config.optimizer),
        scaler=torch.amp.GradScaler(device.type) if config.train.precision == "float16" else None,
    )


def pack(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as named tensors and JSON values.

    Names: model.*, ema.*, swa.*, best.* and snapshot.EPOCH.* as in the networks' state_dict, optimizer.INDEX.* with
    the number of the parameter, centers.
    """
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    for name, other in (("ema", state.ema), ("swa", state.swa), ("best", state.best)):
        if other is not None:
            tensors |= {f"{name}.{k}": v for k, v in other.state_dict().items()}
    for epoch, weights in state.snapshots.items():
        tensors |= {f"snapshot.{epoch}.{k}": v for k, v in weights.items()}
    if state.centers is not None:
        tensors["centers"] = state.centers
    scalars: dict[str, Any] = {}
    for index, values in state.optimizer.state_dict()["state"].items():
        for key, value in values.items():
            name = f"optimizer.{index}.{key}"
            if isinstance(value, Tensor):
                tensors[name] = value
            else:
                scalars[name] = value
    meta = {
        "step": state.step,
        "averaged": state.averaged,
        "best_epoch": state.best_epoch,
        "scaler": None if state.scaler is None else state.scaler.state_dict(),
        "history": [asdict(r) for r in state.history],
        "optimizer": scalars,
    }
    return {k: v.detach().contiguous() for k, v in tensors.items()}, meta


def unpack(state: TrainState, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Load what `pack` gave into a state made from the same configuration, in place."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    state.model.load_state_dict(under("model."))
    for name, other in (("ema.", state.ema), ("swa.", state.swa), ("best.", state.best)):
        if other is not None:
            other.load_state_dict(under(name))
    if state.scaler is not None:
        state.scaler.load_state_dict(meta["scaler"])
    if state.centers is not None:
        state.centers.copy_(tensors["centers"])
    state.snapshots = {}
    for name, value in under("snapshot.").items():
        epoch, key = name.split(".", 1)
        state.snapshots.setdefault(int(epoch), {})[key] = value
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    values: dict[int, dict[str, Any]] = {}
    remembered: dict[str, Any] = under("optimizer.") | meta["optimizer"]
    for name, value in remembered.items():
        index, key = name.removeprefix("optimizer.").split(".", 1)
        like = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == like.shape:
            # fused optimizers go through parameter and moments in memory order: both must be laid out alike
            value = torch.empty_like(like).copy_(value)
        values.setdefault(int(index), {})[key] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": values, "param_groups": groups})
    state.step, state.averaged, state.best_epoch = meta["step"], meta["averaged"], meta["best_epoch"]
    state.history = [EpochReport(**r) for r in meta["history"]]
