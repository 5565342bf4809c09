"""Several trainings of one configuration as one network: the same graph, with other weights, rows and random numbers.

Folds and seeds of one configuration differ in nothing else. Their weights are laid side by side, and one step of all is
one forward, backward and update of tensors with a dimension more (torch.func.vmap: convolutions become grouped ones).
A GPU that one small network leaves idle is filled so (HFTA, Wang et al. 2021, arXiv:2102.02344); a CPU is not.

Shape letters: G networks, B batch, V views, K class columns.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tune_digits.config import TrialConfig
from tune_digits.learn import losses
from tune_digits.learn.batches import Batch, DeviceData
from tune_digits.learn.ema import average_into, ema_decay_at, tensors_of
from tune_digits.learn.epoch import EpochReport, is_over
from tune_digits.learn.loop import Loop, average_epoch
from tune_digits.learn.optim import build_optimizer, set_lr
from tune_digits.learn.predict import memory_format
from tune_digits.learn.schedule import multiplier, snapshot_epochs
from tune_digits.learn.state import TrainState, derive_seed

Named = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Member:
    """One training: its state, its training rows int64 (n,), and what seeds it, as in `fit`."""

    state: TrainState
    rows: Tensor
    seed: int
    fold: int


class CannotFuse(Exception):
    """These trainings cannot be one network; the message says why."""


def why_apart(config: TrialConfig) -> str | None:
    """What in a configuration its trainings cannot share; None where they can be fused."""
    reasons = {
        f"{config.optimizer.name} looks at each network's layers": config.optimizer.name in ("lamb", "muon"),
        "the plateau schedule gives each training its own rate": config.schedule.name == "plateau",
        "center loss has centers for each training": config.loss.center_weight > 0,
        "the network is compiled": config.train.compile,
        "BatchNorm with Keras's variance replaces it": getattr(config.model, "bn_variance", "") == "biased",
        "networks of other libraries draw random numbers of their own": ":" in config.model.name,
        "early stopping ends each training at its own time": config.train.early_stopping > 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def fit_fused(
    members: Sequence[Member], config: TrialConfig, data: DeviceData, *, workers: int = 1
) -> Iterator[list[EpochReport]]:
    """Train the members' states in place, all of them in step, yielding each epoch's reports in their order.

    Each learns what `fit` without validation would have taught it, up to rounding; on a GPU dropout draws other masks.
    A member whose loss is no longer finite keeps its place, and its report stays what it was. seconds: a member's share
    of the time. All must have the same number of steps in an epoch, and be equally far. Raises CannotFuse otherwise,
    and where `why_apart` names a reason.
    """
    if reason := why_apart(config):
        raise CannotFuse(reason)
    loops = [
        Loop(m.state, config, data, m.rows, data.targets[m.rows].sum(0), (m.seed, m.fold), workers)
        for m in members
    ]
    lengths = {(loop.steps, loop.state.step, len(loop.state.history)) for loop in loops}
    if len(lengths) > 1:
        raise CannotFuse("trainings of different length cannot be fused")
    snapshot_at = snapshot_epochs(config.schedule, config.train)
    fused = _Fused(loops)
    for epoch in range(len(members[0].state.history), config.train.epochs):
        started = time.perf_counter()
        means, lr = fused.train_epoch(epoch)
        for loop in loops:
            average_epoch(loop, epoch)
        seconds = (time.perf_counter() - started) / len(loops)
        for loop, mean in zip(loops, means, strict=True):
            state = loop.state
            if is_over(state.history, config.train):
                continue
            rate = len(loop.rows) / seconds
            state.history.append(EpochReport(epoch + 1, mean, None, None, lr, seconds, 0.0, rate))
            if epoch + 1 in snapshot_at:
                state.take_snapshot(epoch + 1)
        fused.share_optimizer()
        yield [loop.state.history[-1] for loop in loops]
        if all(is_over(loop.state.history, config.train) for loop in loops):
            break
    fused.part()


class _Fused:
    """The members' tensors side by side, of which their own are views: what changes here has changed there."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self.loops, self.config, self.data = loops, loops[0].config, loops[0].data
        self.device = self.data.images.device
        models = [loop.state.model for loop in loops]
        self.skeleton = copy.deepcopy(models[0]).train()
        _reduce_means(self.skeleton)
        self.dropouts = _take_out_dropout(self.skeleton, self.data.images[:2])
        self.weights = _side_by_side([dict(m.named_parameters()) for m in models])
        self.buffers = _side_by_side([dict(m.named_buffers()) for m in models])
        self.ema: list[Tensor] | None = None
        if loops[0].state.ema is not None:
            averages = [dict(enumerate(tensors_of(loop.state.ema))) for loop in loops]
            self.ema = list(_side_by_side(averages).values())
        self.optimizer = build_optimizer(models[0], self.config.optimizer, self.weights)
        self.counts = torch.stack([loop.class_counts for loop in loops])
        self._gather_optimizer()

    # ── an epoch ──

    def train_epoch(self, epoch: int) -> tuple[list[float], float]:
        """One pass of each member over its rows: their mean losses, and the last learning rate."""
        config, loops = self.config, self.loops
        steps, total_steps = loops[0].steps, loops[0].steps * config.train.epochs
        total = torch.zeros(len(loops), device=self.device)
        masks = [
            torch.Generator(self.device).manual_seed(derive_seed(*loop.seeds, epoch, 1)) for loop in loops
        ]
        passes = [loop.batches(epoch, 1, loop.rows) for loop in loops]
        lr = 0.0
        for step, parts in enumerate(zip(*passes, strict=True), start=loops[0].state.step):
            lr = config.optimizer.lr * multiplier(config.schedule, step, steps, total_steps, [])
            set_lr(self.optimizer, lr)
            self.optimizer.zero_grad(set_to_none=True)
            for size, members in _by_size(parts).items():
                loss = self._losses(members, [parts[i] for i in members], masks, epoch)
                loss.sum().backward()
                if len(members) == len(loops):
                    total += loss.detach() * size
                else:
                    total[members] += loss.detach() * size
            if config.optimizer.clip_norm > 0:
                self._clip(config.optimizer.clip_norm)
            self.optimizer.step()
            if self.ema is not None:
                values = [*self.weights.values(), *self.buffers.values()]
                average_into(self.ema, values, ema_decay_at(step, config.train.ema_decay))
            for loop in loops:
                loop.state.step += 1
        sizes = torch.tensor([len(loop.rows) for loop in loops], device=self.device)
        return (total / sizes).tolist(), lr

    def _losses(
        self, members: list[int], parts: list[Batch], generators: list[torch.Generator], epoch: int
    ) -> Tensor:
        """What each of the members (g of the G) minimises on its batch: (g,). All batches are of one size."""
        everyone = len(members) == len(self.loops)
        some = slice(None) if everyone else torch.tensor(members, device=self.device)
        weights = {name: whole[some] for name, whole in self.weights.items()}
        buffers = {name: whole[some] for name, whole in self.buffers.items()}
        masks = [
            _masks(self.dropouts, len(part.images), generators[i])
            for i, part in zip(members, parts, strict=True)
        ]
        drawn = {name: torch.stack([m[name] for m in masks]) for name in self.dropouts}
        teacher = None if parts[0].teacher is None else torch.stack([p.teacher for p in parts])

        def loss(
            own: Named,
            stats: Named,
            drawn: Named,
            images: Tensor,
            targets: Tensor,
            counts: Tensor,
            teacher: Tensor,
        ) -> Tensor:
            with self.loops[0].autocast():
                logits = torch.func.functional_call(self.skeleton, (own, stats, drawn), (images,))
            each = losses.of_views(
                logits, targets, self.config, self.data.heads, class_counts=counts, teacher=teacher
            )
            return losses.reduce(each, self.config.loss, epoch)

        # randomness="error": a layer that draws for itself would not draw what it draws alone
        result = torch.func.vmap(loss, in_dims=(0, 0, 0, 0, 0, 0, None if teacher is None else 0))(
            weights,
            buffers,
            drawn,
            torch.stack([part.images for part in parts]),
            torch.stack([part.targets for part in parts]),
            self.counts[some],
            teacher,
        )
        if not everyone:
            for name, changed in buffers.items():
                self.buffers[name][some] = changed
        return result

    def _clip(self, most: float) -> None:
        """torch.nn.utils.clip_grad_norm_, of each network by itself."""
        grads = [whole.grad for whole in self.weights.values() if whole.grad is not None]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads]).norm(dim=0)
        factors = (most / (norms + 1e-6)).clamp(max=1)
        for g in grads:
            g.mul_(factors.view(-1, *[1] * (g.ndim - 1)))

    # ── the optimizers' memory ──

    def _pairs(self) -> Iterator[tuple[Tensor, list[tuple[torch.optim.Optimizer, nn.Parameter]]]]:
        """Each stacked parameter that is trained, with every member's own of that name."""
        for name, whole in self.weights.items():
            if whole.requires_grad:
                yield (
                    whole,
                    [(loop.state.optimizer, loop.state.model.get_parameter(name)) for loop in self.loops],
                )

    def _gather_optimizer(self) -> None:
        """Take over what the members' optimizers remember of earlier epochs."""
        for whole, own in self._pairs():
            remembered = [optimizer.state[p] for optimizer, p in own if p in optimizer.state]
            for key, value in (remembered[0] if remembered else {}).items():
                like = isinstance(value, Tensor) and value.shape == whole.shape[1:]
                self.optimizer.state[whole][key] = (
                    torch.stack([m[key] for m in remembered]) if like else _own(value)
                )

    def share_optimizer(self) -> None:
        """Let the members' optimizers remember what the common one does, so that each state is whole."""
        for whole, own in self._pairs():
            for i, (optimizer, p) in enumerate(own):
                optimizer.state[p] = {
                    key: value[i] if isinstance(value, Tensor) and value.shape == whole.shape else _own(value)
                    for key, value in self.optimizer.state[whole].items()
                }

    def part(self) -> None:
        """Give the members' networks tensors of their own, laid out for prediction."""
        layout = memory_format(self.config.train.layout)
        for loop in self.loops:
            state = loop.state
            for model in (m for m in (state.model, state.ema) if m is not None):
                for tensor in tensors_of(model):
                    tensor.data = tensor.data.clone()
                model.to(memory_format=layout)


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _side_by_side(members: Sequence[dict]) -> dict:
    """By key, the members' tensors stacked (G, ...); from now on the members' own are views of these."""
    stacked = {}
    for key, first in members[0].items():
        whole = torch.stack([tensors[key].detach() for tensors in members])
        for i, tensors in enumerate(members):
            tensors[key].data = whole[i]
        stacked[key] = whole.requires_grad_(first.requires_grad)
    return stacked


def _by_size(parts: Sequence[Batch]) -> dict[int, list[int]]:
    """The members by the size of their batch: folds that differ by a row have one batch of another size."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, part in enumerate(parts):
        members[len(part.targets)].append(i)
    return members


class _Mean(nn.Module):
    """nn.AdaptiveAvgPool2d(1), which vmap would take network by network."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((-2, -1), keepdim=True)


def _reduce_means(model: nn.Module) -> None:
    """Replace each pooling to one position by `_Mean`, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            model.set_submodule(name, _Mean())


# ── dropout, whose masks are drawn for each network as it would draw them alone ──────────────────────


class _Masked(nn.Module):
    """Multiplies by `mask`, a buffer that `functional_call` puts in place."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.mask.to(values.dtype)


@dataclass(frozen=True, slots=True)
class _Dropout:
    """Where nn.Dropout was: p, and what it took in: its shape (2, ...) and order in memory."""

    p: float
    shape: torch.Size
    layout: torch.memory_format


def _take_out_dropout(model: nn.Module, images: Tensor) -> dict[str, _Dropout]:
    """Replace each nn.Dropout that drops anything by `_Masked`, in place; the masks' names in the order of use."""
    found: dict[str, _Dropout] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and module.p > 0:

            def note(module: nn.Dropout, args: tuple[Tensor], name: str = name) -> None:
                last = (
                    args[0].is_contiguous(memory_format=torch.channels_last) if args[0].ndim == 4 else False
                )
                layout = torch.channels_last if last else torch.contiguous_format
                found[f"{name}.mask"] = _Dropout(module.p, args[0].shape, layout)

            handles.append(module.register_forward_pre_hook(note))
    if handles:
        with torch.no_grad():
            probe = images.float().contiguous(memory_format=torch.channels_last)
            copy.deepcopy(model).eval()(probe)
    for handle in handles:
        handle.remove()
    for name in found:
        model.set_submodule(name.removesuffix(".mask"), _Masked())
    return found


def _masks(dropouts: dict[str, _Dropout], batch: int, generator: torch.Generator) -> Named:
    """0 or 1 / (1 - p), as nn.Dropout draws them for a batch."""
    masks = {}
    for name, dropout in dropouts.items():
        shape = (batch, *dropout.shape[1:])
        mask = torch.empty(shape, device=generator.device, memory_format=dropout.layout)
        keep = 1 - dropout.p
        masks[name] = mask.bernoulli_(keep, generator=generator).div_(keep) if keep else mask.zero_()
    return masks
