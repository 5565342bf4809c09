"""A learning rate for one configuration: the range test on the data of a study, in words and as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Task
from tune_digits.execute.inline import start_inline
from tune_digits.execute.slots import use_slots
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import start_training
from tune_digits.learn.lr_range import RangeTest, Suggestion, range_test
from tune_digits.learn.metrics import metric_of
from tune_digits.screen import Progress, Screen
from tune_digits.study import Study
from tune_digits.tune.initial_weights import read_initial_weights
from tune_digits.tune.prepare import draw_subset, trained_folds
from tune_digits.tune.training import teacher_of, training_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FACTOR = 3  # from the suggestion to each end of the domain that is suggested around it


def find_lr(
    study: Study, config: TrialConfig, task: Task, screen: Screen, *, low: float, high: float, steps: int
) -> RangeTest:
    """The range test of a configuration on the training rows of the fold that a search trains, in this process.

    Batches, augmentation, initial weights and a teacher are those of a trial; so is the seed. Raises ConfigError,
    DataError or RunError as the training would.
    """
    slots = start_inline(study.resources).slots
    device = use_slots(slots)
    fold = trained_folds(study, task.train, draw_subset(study, task.train))[study.search.fold]
    data = training_data(task.train, metric_of(study.cv, task.targets))
    seed, rows = study.search.seed, fold.train_idx
    weights = read_initial_weights(config.model, fold.index)
    classes = data.proba.shape[1]
    state = start_training(config, data.images, rows, classes, seed, fold.index, device, weights)
    teacher = teacher_of(config, data, rows, fold.index, device)
    on_device = to_device(data.images, data.proba, data.targets, device, teacher)
    progress = Progress("range test", total=steps)

    def advance(done: int, loss: float) -> None:
        progress.done = done
        progress.facts["loss"] = f"{loss:.3f}"
        screen.tick(progress)

    with screen.watch(progress):
        return range_test(
            state,
            config,
            on_device,
            torch.from_numpy(np.array(rows)).to(device),
            low=low,
            high=high,
            steps=steps,
            seed=seed,
            workers=slots.threads,
            each=advance,
        )


def in_words(seen: RangeTest, found: Suggestion | None, config: TrialConfig) -> list[str]:
    """What the curve says, and the lines to paste into a study file below `trial:`."""
    if found is None:
        return [
            f"the loss does not fall between learning rates of {seen.lr[0]:.2g} and {seen.lr[-1]:.2g}: no suggestion; "
            "try a lower --low, more --steps, or look whether the labels belong to the images"
        ]
    after = (
        f"rises beyond (the test ended at {seen.lr[-1]:.2g})" if seen.diverged else "has not diverged up to"
    )
    end = "" if seen.diverged else f" {seen.lr[-1]:.2g}"
    kind = "constant" if config.schedule.name == "constant" else "peak"
    name = config.optimizer.name
    lr = two_digits(found.lr)
    domain = [two_digits(found.lr / FACTOR), two_digits(found.lr * FACTOR)]
    return [
        f"the loss falls fastest near a learning rate of {found.steepest:.2g}, is least near {found.least:.2g} and "
        f"{after}{end}: take {lr:g} as the {kind} learning rate of {name}, in place of {config.optimizer.lr:g}",
        f"  optimizer: {{name: {name}, lr: {lr}}}",
        "or search around it:",
        f"  optimizer: {{name: {name}, lr: {{loguniform: {domain}}}}}",
    ]


def two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def curve(seen: RangeTest, found: Suggestion | None, title: str) -> Figure:
    """The losses over the learning rate, raw and smoothed, with the suggestion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(seen.lr, seen.loss, color="0.75", linewidth=1, label="loss of each batch")
    axes.plot(seen.lr, seen.smoothed, color="C0", label="smoothed")
    if found is not None:
        axes.axvline(found.lr, color="C3", label=f"suggestion {found.lr:.2g}")
        for value, name, offset in (
            (found.steepest, "falls fastest", (-8, -12)),
            (found.least, "least", (6, -14)),
        ):
            height = float(np.interp(np.log(value), np.log(seen.lr), seen.smoothed))
            axes.plot([value], [height], "o", color="C0", markersize=5)
            axes.annotate(name, (value, height), textcoords="offset points", xytext=offset, ha="right")
    top = float(np.quantile(seen.smoothed[: max(1, len(seen.lr) // 2)], 0.95))
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", title=title)
    # the end, where the loss explodes, would press the rest flat
    axes.set_ylim(0, max(top, float(seen.smoothed[0])) * 1.3)
    axes.legend(loc="lower left", frameon=False)
    return figure
