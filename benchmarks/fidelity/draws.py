"""What would it gain if every operation of the augmentation had random numbers of its own?

    python benchmarks/fidelity/draws.py --data FOLDER [--seeds 12]

The product draws one operation after the other from one generator: where a configuration has one more operation on, all
that come after it draw other numbers. Here that is changed for the time of a training, and the fraction of rows that
one of two trainings alone has right is compared: as it is, with a generator for each operation, and with less shared.
Configurations that differ little: plain (rotate, shift, zoom, shear), weaker (the same at 0.8 times the strength), with
elastic deformation, with that and cutout. Rows and sizes are those of make.py. Ten minutes of one core. Writes
benchmarks/results/fidelity-draws.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import read_arguments, write
from fidelity.design import with_epochs
from fidelity.make import CPU, FOLD, Data, Sizes, prepare

from tune_digits.config import Augment
from tune_digits.learn import augment
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.predict import predict_proba
from tune_digits.learn.seeds import derive_seed

PLAIN: dict[str, Any] = {"rotate": 10, "shift": 0.08, "zoom": 0.12, "shear": 8}
CONFIGURATIONS = {
    "plain": PLAIN,
    "weaker": {**PLAIN, "strength": 0.8},
    "elastic": {**PLAIN, "elastic": 0.02},
    "elastic, cutout": {**PLAIN, "elastic": 0.02, "cutout": 0.2},
}
OTHER = 1_000  # added to a seed: nothing is shared with that seed's training


def draw_apart(
    config: Augment, batch: int, height: int, width: int, generator: torch.Generator, channels: int, salt: int
) -> augment.AugmentParams:
    """As `augment.draw`, but each operation draws from a generator of its own, seeded by the given one and its name.

    For operations that are applied to every image, without groups.
    """
    base = int(torch.randint(2**62, (1,), generator=generator))
    strong = augment.magnitudes(config, channels)
    found: dict[str, Any] = {}
    for index, name in enumerate(augment.MAGNITUDES):
        if strong[name]:
            own = torch.Generator().manual_seed(derive_seed(base, index, salt))
            alone = config.model_copy(update={other: 0 for other in augment.MAGNITUDES if other != name})
            params = augment.draw(alone, batch, height, width, own, channels)
            found |= {
                f.name: getattr(params, f.name) for f in fields(params) if getattr(params, f.name) is not None
            }
    return augment.AugmentParams(**found)


@contextmanager
def apart(salt: int) -> Iterator[None]:
    """Trainings inside draw each operation by itself. Another salt: other draws of all operations."""

    def augmented(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
        batch, channels, height, width = images.shape
        return augment.apply(
            images, draw_apart(config, batch, height, width, generator, channels, salt), config.fill
        )

    with mock.patch("tune_digits.learn.batches.augment.augment", augmented):
        yield


def wrong_rows(data: Data, name: str, epochs: int, weights_seed: int, epochs_seed: int) -> np.ndarray:
    """Which validated rows a training gets wrong: bool (V,). Seeds of the initial weights, and of all epochs."""
    tree = {
        "model": {"name": "lean_cnn", "width": 8, "depth": 1},
        "augment": CONFIGURATIONS[name],
        "optimizer": {"name": "adamw", "lr": 8e-3, "weight_decay": 0.01},
        "schedule": {"name": "one_cycle"},
        "train": {"batch_size": 64, "ema_decay": 0.99},
    }
    config = with_epochs(tree, epochs)
    classes = len(data.targets[0].classes)
    state = start_training(config, data.images, data.train_rows, classes, weights_seed, FOLD, CPU)
    on_device = to_device(data.images, np.eye(classes, dtype=np.float32)[data.labels], data.targets, CPU)
    for _ in fit(state, config, on_device, torch.from_numpy(data.train_rows), seed=epochs_seed, fold=FOLD):
        pass
    proba = predict_proba(state.current_model, on_device.images[torch.from_numpy(data.rows)], on_device.heads)
    return np.asarray(proba.argmax(1) != data.labels[data.rows])


def trainings(data: Data, epochs: int, seed: int) -> dict[str, np.ndarray]:
    """What was wrong, by kind of training, of one seed."""
    found = {name: wrong_rows(data, name, epochs, seed, seed) for name in CONFIGURATIONS}
    found["weaker, other weights"] = wrong_rows(data, "weaker", epochs, seed + OTHER, seed)
    found["weaker, other epochs"] = wrong_rows(data, "weaker", epochs, seed, seed + OTHER)
    with apart(0):
        found |= {f"{name}, apart": wrong_rows(data, name, epochs, seed, seed) for name in CONFIGURATIONS}
    with apart(1):
        found["weaker, other draws"] = wrong_rows(data, "weaker", epochs, seed, seed)
    return found


# what is compared -> the two trainings, and whether they have different seeds
PAIRS: dict[str, tuple[str, str, bool]] = {
    "strength: all shared (as it is)": ("plain", "weaker", False),
    "strength: all but the draws": ("plain, apart", "weaker, other draws", False),
    "strength: all but the initial weights": ("plain", "weaker, other weights", False),
    "strength: initial weights alone": ("plain", "weaker, other epochs", False),
    "strength: nothing": ("plain", "weaker", True),
    "elastic: as it is": ("plain", "elastic", False),
    "elastic: each operation apart": ("plain, apart", "elastic, apart", False),
    "elastic: nothing": ("plain", "elastic", True),
    "elastic and cutout: as it is": ("plain", "elastic, cutout", False),
    "elastic and cutout: each operation apart": ("plain, apart", "elastic, cutout, apart", False),
    "elastic and cutout: nothing": ("plain", "elastic, cutout", True),
}


def compared(wrong: dict[str, list[np.ndarray]]) -> dict[str, dict[str, float]]:
    """Rows that one of two alone has right, and the variance of the difference of scores; errors over seeds."""
    found = {}
    for name, (a, b, different) in PAIRS.items():
        one, other = np.array(wrong[a]), np.array(wrong[b])
        if different:
            other = np.roll(other, 1, axis=0)
        apart_rows = (one != other).mean(1)
        difference = other.mean(1) - one.mean(1)
        found[name] = {
            "discordant": float(apart_rows.mean()),
            "error": float(apart_rows.std(ddof=1) / len(one) ** 0.5),
            "deviation of the difference": float(difference.std(ddof=1)),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--minutes", type=float, default=60, help="no further seed is begun after this time")
    args = read_arguments(parser)
    torch.set_num_threads(1)
    table, data = prepare(args.data, Sizes(1500, 1000, 5000), 0, [args.epochs], 1)
    begun = time.monotonic()
    wrong: dict[str, list[np.ndarray]] = {}
    for seed in range(args.seeds):
        if time.monotonic() - begun > 60 * args.minutes:
            break
        for name, rows in trainings(data, args.epochs, seed).items():
            wrong.setdefault(name, []).append(rows)
        print(f"seed {seed}", {k: round(float(1 - v[-1].mean()), 4) for k, v in wrong.items()}, flush=True)
    seeds = len(wrong["plain"])
    setting = {
        "data": table.setting.data,
        "epochs": args.epochs,
        "train": 1500,
        "validated": 5000,
        "seeds": seeds,
    }
    scores = {name: float(1 - np.mean(rows)) for name, rows in wrong.items()}
    write("fidelity-draws", {"setting": setting, "results": compared(wrong), "scores": scores}, args)


if __name__ == "__main__":
    main()
