"""How fast is `fit` with augmentation, mixing, averaged weights and validation, compared with the bare training step?

    python benchmarks/pipeline.py [--rounds 5] [--images 640]

One thread, 28x28x1, batches of 128. The bare step is forward, backward and update on one float batch that stays in
memory, with the same optimizer, layout and batch size. The two take turns, A B A B, so that a slower minute slows both;
they are timed in CPU seconds of this process, which the work of other processes does not change much. The result is the
median of the ratios; 1 means that nothing is lost. Validation is on a quarter as many images as training, as in
five-fold cross-validation. Writes benchmarks/results/pipeline.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from common import read_arguments, write

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.loop import evaluate
from tune_digits.learn.losses import loss_per_sample
from tune_digits.learn.metrics import ACCURACY
from tune_digits.learn.optim import set_lr
from tune_digits.patches.allocator import keep_freed_memory

CPU = torch.device("cpu")
AUGMENT = {"rotate": 12, "shift": 0.1, "zoom": 0.1, "shear": 8, "elastic": 0.02, "cutout": 0.3}
# what is switched on; the last is what an epoch of a search does
LOOPS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "augmentation": {"augment": AUGMENT},
    "all": {
        "augment": AUGMENT,
        "mix": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0},
        "train": {"ema_decay": 0.99},
    },
}
MODELS: tuple[dict[str, Any], ...] = (
    {"name": "lean_cnn", "width": 16},
    {"name": "lean_cnn", "width": 32, "depth": 2},
    {"name": "keras8"},
)


class Bare:
    """The bare step of a model, on one batch that is already there."""

    def __init__(self, config: TrialConfig, images: np.ndarray) -> None:
        self.config = config
        state = start_training(config, images, np.arange(len(images)), 10, 0, 0, CPU)
        self.model, self.optimizer = state.model.train(), state.optimizer
        size = config.train.batch_size
        self.images = torch.rand(size, 1, 28, 28).contiguous(memory_format=torch.channels_last)
        self.targets = torch.eye(10)[torch.arange(size) % 10]
        set_lr(self.optimizer, 1e-4)

    def seconds_per_image(self, steps: int) -> float:
        """CPU seconds for each image over `steps` updates."""
        started = time.process_time()
        for _ in range(steps):
            each = loss_per_sample(self.model(self.images), self.targets, self.config.loss, (slice(0, 10),))
            self.optimizer.zero_grad(set_to_none=True)
            each.mean().backward()
            self.optimizer.step()
        return (time.process_time() - started) / (steps * len(self.images))


class Loop:
    """`fit` with what is switched on: one epoch at a time."""

    def __init__(
        self, raw: dict[str, Any], images: np.ndarray, proba: np.ndarray, count: int, rounds: int
    ) -> None:
        self.config = TrialConfig.model_validate(
            {**raw, "train": {**raw.get("train", {}), "epochs": rounds + 1}}
        )
        self.state = start_training(self.config, images, np.arange(count), 10, 0, 0, CPU)
        self.data = to_device(images, proba, (Target("digit", tuple("0123456789")),), CPU)
        self.valid, self.count = torch.arange(count, len(images)), count
        self.epochs = fit(self.state, self.config, self.data, torch.arange(count), seed=0)

    def seconds_per_image(self) -> float:
        started = time.process_time()
        next(self.epochs)
        return (time.process_time() - started) / self.count

    def validation_seconds_per_image(self) -> float:
        """Of the whole validation, for each image trained on."""
        started = time.process_time()
        evaluate(self.state, self.config, self.data, self.valid, ACCURACY)
        return (time.process_time() - started) / self.count


def measure(model: dict[str, Any], images: int, rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images + images // 4, 1, 28, 28), dtype=np.uint8)
    proba = np.eye(10, dtype=np.float32)[rng.integers(0, 10, len(pixels))]
    bare = Bare(TrialConfig.model_validate({"model": model}), pixels)
    loops = {
        name: Loop({"model": model, **raw}, pixels, proba, images, rounds) for name, raw in LOOPS.items()
    }
    steps = images // bare.config.train.batch_size
    times: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        turn: dict[str, float] = {}
        for name, loop in loops.items():
            reference = bare.seconds_per_image(steps // 2)
            spent = loop.seconds_per_image()
            # a bare step before and after: a machine that slows down meanwhile slows both
            reference = (reference + bare.seconds_per_image(steps // 2)) / 2
            turn[f"fit with {name} / bare"] = reference / spent
            if name == "all":
                whole = spent + loop.validation_seconds_per_image()
                turn["fit with all and validation / bare"] = reference / whole
        turn["bare_images_per_cpu_second"] = 1 / reference
        for name, value in turn.items():
            times.setdefault(name, []).append(value)
    # the first round warms up
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--only", help="measure one model, named as it is printed; nothing is kept")
    args = read_arguments(parser)
    torch.set_num_threads(1)
    keep_freed_memory()  # as every worker of a search does
    results = {}
    for model in MODELS:
        name = " ".join(f"{k} {v}" if k != "name" else str(v) for k, v in model.items())
        if args.only in (None, name):
            results[name] = measure(model, args.images, args.rounds)
            print(name, {k: round(v, 3) for k, v in results[name].items()}, flush=True)
    if args.only is None:
        write("pipeline", {"images": args.images, "rounds": args.rounds, "results": results}, args)


if __name__ == "__main__":
    main()
