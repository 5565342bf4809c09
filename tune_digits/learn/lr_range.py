"""The learning-rate range test (Smith 2017, arXiv:1506.01186): one short training whose learning rate rises with every
update; where its loss falls fastest, and where it begins to rise, says which learning rates train this network.

S updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.learn import mix
from tune_digits.learn.batches import Batch, batches
from tune_digits.learn.centers import classifier_inputs
from tune_digits.learn.device import DeviceData
from tune_digits.learn.fit import OneNetwork
from tune_digits.learn.loop import Setup, Training, updates
from tune_digits.learn.optim import set_lr
from tune_digits.learn.seeds import TRAINING
from tune_digits.learn.state import TrainState

DIVERGED = 4.0  # times the least smoothed loss: the test ends there, since later updates say nothing more
SMOOTHED = 1 / 40  # of all updates: the standard deviation of the Gaussian that smooths the losses
LEAST = 20  # updates, fewer are no curve


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What was seen: lr, float64 (S,), rising; loss, float64 (S,), of each update's batch before it; smoothed, the same
    with its noise removed. diverged: whether it ended because the loss rose, rather than at the highest rate."""

    lr: np.ndarray
    loss: np.ndarray
    smoothed: np.ndarray
    diverged: bool


@dataclass(frozen=True, slots=True)
class Suggestion:
    """lr: the peak learning rate to take. steepest: where the smoothed loss falls fastest; least: where it is least."""

    lr: float
    steepest: float
    least: float


def range_test(
    state: TrainState,
    config: TrialConfig,
    data: DeviceData,
    rows: Tensor,
    *,
    low: float,
    high: float,
    steps: int,
    seed: int,
    workers: int = 1,
    each: Callable[[int, float], None] = lambda done, loss: None,
) -> RangeTest:
    """Train `state` in place by up to `steps` updates, the learning rate rising evenly on a logarithmic scale.

    rows: int64 (n,) rows of data, on its device; they are passed over as often as is needed, augmented and mixed as the
    configuration says. low, high: the first and the last learning rate. It ends before where the loss is not finite, or
    more than DIVERGED times its least. each: called after every update with their number and the last loss.
    """
    rates = np.geomspace(low, high, steps)
    training, setup = Training(state, rows, seed), Setup(config, data, workers=workers)
    losses: list[float] = []
    best, running = math.inf, 0.0
    diverged = False
    with ExitStack() as stack:
        features = None if state.centers is None else stack.enter_context(classifier_inputs(state.model))
        network = OneNetwork(training, setup, features)
        update = updates(network, state, config)
        stack.enter_context(network.epoch(0))
        for step, (lr, batch) in enumerate(zip(rates.tolist(), _endless(training, setup), strict=False)):
            set_lr(network.optimizer, lr)
            network.optimizer.zero_grad(set_to_none=True)
            loss = network.losses([batch], 0)
            losses.append(float(loss.detach()))
            # the last few batches, without those to come
            running = losses[0] if step == 0 else 0.8 * running + 0.2 * losses[-1]
            best = min(best, running)
            if not math.isfinite(losses[-1]) or (step >= LEAST and running > DIVERGED * best):
                diverged = True
                break
            if update(loss.sum()):
                network.after_update(step)
            each(step + 1, losses[-1])
    seen = np.array(losses)
    finite = np.isfinite(seen)
    seen, tried = seen[finite], rates[: len(seen)][finite]
    return RangeTest(tried, seen, smooth(seen, steps), diverged)


def _endless(training: Training, setup: Setup) -> Iterator[Batch]:
    """The batches of epoch after epoch."""
    config, epoch = setup.config, 0
    while True:
        yield from batches(
            setup.data,
            training.rows,
            config,
            training.seed_of(epoch, TRAINING),
            mixes=mix.is_active(config.mix, 0, config.train.epochs),
            workers=setup.workers,
            drop_last=config.train.drop_last,
        )
        epoch += 1


def smooth(loss: np.ndarray, steps: int) -> np.ndarray:
    """Losses float64 (S,) smoothed by a Gaussian over the updates, which moves no slope to a higher rate as a running
    mean does. steps: of the whole test."""
    return np.asarray(gaussian_filter1d(loss, max(1.0, SMOOTHED * steps), mode="nearest"))


def suggest(seen: RangeTest, constant: bool = False) -> Suggestion | None:
    """The peak learning rate to take; None where the loss never falls.

    It is the geometric mean of the rate where the smoothed loss falls fastest (per factor of the rate), and of that
    where it is least: the first is often too careful, the second at the edge. constant: the schedule
    keeps the rate to the end, which then has to be a third of what a peak can be (docs/log.md has measurements).
    """
    if len(seen.lr) < LEAST:
        return None
    slope = np.gradient(seen.smoothed, np.log(seen.lr))
    least = int(seen.smoothed.argmin())
    if least == 0:
        return None
    steepest = int(slope[: least + 1].argmin())
    a, b = float(seen.lr[steepest]), float(seen.lr[least])
    return Suggestion(math.sqrt(a * b) / (3 if constant else 1), a, b)
