"""Several trainings of one configuration as one network: the same graph with other weights, rows and random numbers.

Folds and seeds of one configuration differ in nothing else. Their weights stand side by side in tensors with one more
dimension, and a step of all is one forward pass, one backward pass and one update of these (torch.func.vmap, which
makes grouped convolutions of them). A GPU that one small network leaves idle is filled so (HFTA, Wang et al. 2021,
arXiv:2102.02344); a CPU is not. The loop itself is `loop.run_epochs`, as for one training.

Shape letters: G networks, B batch, V views, K class columns.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tune_digits.config import TrialConfig
from tune_digits.learn import batch_loss, seeds
from tune_digits.learn.batches import Batch
from tune_digits.learn.device import DeviceData, autocast, memory_format
from tune_digits.learn.ema import average_into, ema_decay_at, tensors_of
from tune_digits.learn.epoch import EpochReport
from tune_digits.learn.fused_layers import replace_dropout, replace_means
from tune_digits.learn.loop import Setup, Training, run_epochs
from tune_digits.learn.metrics import ACCURACY, Metric
from tune_digits.learn.optim import build_optimizer

Named = dict[str, Tensor]
Key = TypeVar("Key", bound=Hashable)


class CannotFuse(Exception):
    """These trainings cannot be fused; they can be trained one after the other. The message says why."""


def why_apart(config: TrialConfig) -> str | None:
    """What in a configuration its trainings cannot share; None where they can be fused."""
    reasons = {
        f"{config.optimizer.name} looks at each network's layers": config.optimizer.name
        in ("lamb", "muon", "over9000"),
        "the plateau schedule gives each training its own learning rate": config.schedule.name == "plateau",
        "center loss has centers for each training": config.loss.center_weight > 0,
        "the network is compiled": config.train.compile,
        "BatchNorm with Keras's variance replaces it": getattr(config.model, "bn_variance", "") == "biased",
        "networks of other libraries draw random numbers of their own": ":" in config.model.name,
        "early stopping ends each training at its own time": config.train.early_stopping > 0,
        "ohem depends on how each training's batches are mixed": config.loss.reduction == "ohem"
        and (config.loss.ohem_form == "separate" or config.loss.ohem_on == "mixed"),
        "float16 leaves out updates of each training by itself": config.train.precision == "float16",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def fit_fused(
    trainings: Sequence[Training],
    config: TrialConfig,
    data: DeviceData,
    *,
    metric: Metric = ACCURACY,
    workers: int = 1,
) -> Iterator[list[EpochReport]]:
    """Train all the states in place, step by step together, yielding after each epoch the reports in their order.

    Each ends with the weights that `fit` would have given it, up to rounding; on a GPU dropout draws other masks. A
    training whose loss is no longer finite stays among the others, and its last report is yielded again. seconds: the
    time of all divided by their number. All must have the same number of steps in an epoch, and be at the same epoch.
    Raises CannotFuse where they are not, and where `why_apart` names a reason.
    """
    if reason := why_apart(config):
        raise CannotFuse(reason)
    lengths = {(t.steps(config.train), t.state.step, len(t.state.history)) for t in trainings}
    if len(lengths) > 1:
        raise CannotFuse("the trainings differ in the number of their steps, or of the steps already done")
    setup = Setup(config, data, metric, workers)
    networks = _SideBySide(trainings, setup)
    try:
        yield from run_epochs(networks, trainings, setup)
    finally:
        networks.separate()


class _SideBySide:
    """The trainings' tensors stacked, as `loop.Networks`.

    From here until `separate` the tensors of each training's networks are views of the stacked ones, so that a change
    of either changes both.
    """

    def __init__(self, trainings: Sequence[Training], setup: Setup) -> None:
        self.trainings, self.setup = trainings, setup
        self.device = setup.data.images.device
        models = [t.state.model for t in trainings]
        self.skeleton = copy.deepcopy(models[0]).train()
        replace_means(self.skeleton)
        self.dropouts = replace_dropout(self.skeleton, setup.data.images[:2])
        self.weights = _stacked([dict(m.named_parameters()) for m in models])
        self.buffers = _stacked([dict(m.named_buffers()) for m in models])
        averages = [dict(enumerate(tensors_of(t.state.ema))) for t in trainings if t.state.ema is not None]
        self.ema = list(_stacked(averages).values()) if averages else None
        self.optimizer = build_optimizer(models[0], setup.config.optimizer, self.weights)
        self.class_counts = torch.stack([setup.data.targets[t.rows].sum(0) for t in trainings])
        self.generators: list[torch.Generator] = []
        self._gather_optimizer()

    @contextmanager
    def epoch(self, epoch: int) -> Iterator[None]:
        self.generators = [
            torch.Generator(self.device).manual_seed(t.seed_of(epoch, seeds.TRAINING)) for t in self.trainings
        ]
        yield
        self._share_optimizer()

    def losses(self, batches: Sequence[Batch], epoch: int) -> Tensor:
        # folds that differ by a row have one batch of another size
        by_size: dict[int, list[int]] = defaultdict(list)
        for i, batch in enumerate(batches):
            by_size[len(batch.targets)].append(i)
        parts = [self._losses(some, [batches[i] for i in some], epoch) for some in by_size.values()]
        if len(parts) == 1:
            return parts[0]
        order = torch.tensor([i for some in by_size.values() for i in some], device=self.device)
        return torch.cat(parts)[order.argsort()]

    def _losses(self, some: list[int], batches: Sequence[Batch], epoch: int) -> Tensor:
        """(g,): what g of the G networks, given by their numbers, minimise on batches of one size."""
        everyone = len(some) == len(self.trainings)
        chosen = slice(None) if everyone else torch.tensor(some, device=self.device)
        buffers = {name: whole[chosen] for name, whole in self.buffers.items()}
        # network by network, dropout by dropout: the order in which each would draw alone
        masks = [
            {name: d.mask(len(batch.images), self.generators[i]) for name, d in self.dropouts.items()}
            for i, batch in zip(some, batches, strict=True)
        ]
        teachers = [batch.teacher for batch in batches if batch.teacher is not None]
        config, data = self.setup.config, self.setup.data
        # `why_apart` leaves only ohem that does not ask whether a batch is mixed
        fraction = batch_loss.kept_fraction(config.loss, epoch, config.train.epochs, mixed=False)

        def loss(
            weights: Named,
            buffers: Named,
            masks: Named,
            images: Tensor,
            targets: Tensor,
            counts: Tensor,
            teacher: Tensor | None,
        ) -> Tensor:
            with autocast(config.train.precision, images.device):
                logits = torch.func.functional_call(self.skeleton, (weights, buffers, masks), (images,))
            each = batch_loss.loss_of_views(
                logits, targets, config, data.heads, class_counts=counts, teacher=teacher
            )
            return batch_loss.reduce(each, fraction)

        # randomness="error" by default: a layer that draws random numbers would not draw those of a single training
        result: Tensor = torch.func.vmap(loss, in_dims=(0, 0, 0, 0, 0, 0, 0 if teachers else None))(
            {name: whole[chosen] for name, whole in self.weights.items()},
            buffers,
            {name: torch.stack([mask[name] for mask in masks]) for name in self.dropouts},
            torch.stack([batch.images for batch in batches]),
            torch.stack([batch.targets for batch in batches]),
            self.class_counts[chosen],
            torch.stack(teachers) if teachers else None,
        )
        if not everyone:
            for name, changed in buffers.items():
                self.buffers[name][chosen] = changed
        return result

    def clip(self, largest: float) -> None:
        grads = [whole.grad for whole in self.weights.values() if whole.grad is not None]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads]).norm(dim=0)
        factors = (largest / (norms + 1e-6)).clamp(max=1)
        for g in grads:
            g.mul_(factors.view(-1, *[1] * (g.ndim - 1)))

    def after_update(self, step: int) -> None:
        if self.ema is not None:
            values = [*self.weights.values(), *self.buffers.values()]
            average_into(self.ema, values, ema_decay_at(step, self.setup.config.train.ema_decay))

    # ── the optimizers' memory ──

    def _parameters(self) -> Iterator[tuple[Tensor, list[tuple[torch.optim.Optimizer, nn.Parameter]]]]:
        """Each stacked parameter that is trained, with the optimizer and the parameter of every training."""
        for name, whole in self.weights.items():
            if whole.requires_grad:
                states = [t.state for t in self.trainings]
                yield whole, [(state.optimizer, state.model.get_parameter(name)) for state in states]

    def _gather_optimizer(self) -> None:
        """Stack the state of the trainings' own optimizers, if they have one from earlier epochs."""
        for whole, own in self._parameters():
            remembered = [optimizer.state[p] for optimizer, p in own if p in optimizer.state]
            for key, value in (remembered[0] if remembered else {}).items():
                like = isinstance(value, Tensor) and value.shape == whole.shape[1:]
                self.optimizer.state[whole][key] = (
                    torch.stack([m[key] for m in remembered]) if like else _copied(value)
                )

    def _share_optimizer(self) -> None:
        """Give each training's own optimizer its slice of the common state, so that it can be saved."""
        for whole, own in self._parameters():
            for i, (optimizer, p) in enumerate(own):
                optimizer.state[p] = {
                    key: value[i]
                    if isinstance(value, Tensor) and value.shape == whole.shape
                    else _copied(value)
                    for key, value in self.optimizer.state[whole].items()
                }

    def separate(self) -> None:
        """Give each training's networks tensors of their own, laid out for prediction."""
        layout = memory_format(self.setup.config.train.layout)
        for state in (t.state for t in self.trainings):
            for model in (m for m in (state.model, state.ema) if m is not None):
                for tensor in tensors_of(model):
                    tensor.data = tensor.data.clone()
                model.to(memory_format=layout)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _stacked(own: Sequence[Mapping[Key, Tensor]]) -> dict[Key, Tensor]:
    """By key, the tensors of all trainings stacked (G, ...), which become views of these."""
    stacked = {}
    for key, first in own[0].items():
        whole = torch.stack([tensors[key].detach() for tensors in own])
        for i, tensors in enumerate(own):
            tensors[key].data = whole[i]
        stacked[key] = whole.requires_grad_(first.requires_grad)
    return stacked
