"""What each of Keras's defaults is worth: the keras8 baseline, and the same with one default of PyTorch's at a time.

    python benchmarks/keras_parity.py --data FOLDER --seeds 5

Trains on a subset of `--data` (a training file of the Kaggle format, or any other format that the search reads) and
scores on other rows; all recipes get the same rows and seeds. Schedule and augmentation are those of the baseline, with
the schedule shortened to `--epochs`. Every finished training is kept in results/keras_parity.json at once: the same
command continues where it was stopped, and more seeds are added to those that are there. Prints the table that
`table.py` puts into docs/keras-parity.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, commit, read_arguments, write
from table import keras_table

from tune_digits.config import Cv, TrialConfig
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.loop import evaluate
from tune_digits.learn.metrics import ACCURACY

CPU = torch.device("cpu")
BASELINE_EPOCHS = 56

BASELINE: dict[str, Any] = {
    "model.name": "keras8",
    "model.conv_bias": True,
    "model.init": "keras",
    "model.bn_gamma_init": "uniform",
    "model.bn_momentum": 0.1,
    "model.bn_eps": 1e-5,
    "model.bn_variance": "biased",
    "model.dense_bn": "keras",
    "loss.name": "cross_entropy",
    "loss.label_smoothing": 0.1,
    "optimizer.name": "rmsprop",
    "optimizer.lr": 2.5e-3,
    "optimizer.alpha": 0.9,
    "optimizer.eps": 1e-7,
    "optimizer.arithmetic": "keras",
    "train.normalize": "none",
}
TORCH_EPSILON = {"optimizer.eps": 1e-8, "optimizer.arithmetic": "torch"}
TORCH_INIT = {"model.init": "default", "model.bn_gamma_init": "ones"}
# name in the results, by which finished trainings are found again -> what differs from the baseline
RECIPES: dict[str, dict[str, Any]] = {
    "Keras's defaults": {},
    "first weights: PyTorch's": {"model.init": "default"},
    "gamma starts at 1": {"model.bn_gamma_init": "ones"},
    "epsilon 1e-8 beside the root": TORCH_EPSILON,
    "epsilon 1e-7 beside the root (Keras of 2019)": {"optimizer.arithmetic": "torch"},
    "no biases ahead of BatchNorm": {"model.conv_bias": False},
    "epsilon 1e-8 beside the root, no biases ahead of BatchNorm": {**TORCH_EPSILON, "model.conv_bias": False},
    "rho 0.99": {"optimizer.alpha": 0.99},
    "BatchNorm momentum 0.9 taken over as it stands": {"model.bn_momentum": 0.9},
    "last BatchNorm like the others": {"model.dense_bn": "same"},
    "running variance over n - 1": {"model.bn_variance": "unbiased"},
    "no label smoothing": {"loss.label_smoothing": 0.0},
    "images less their mean over their deviation": {"train.normalize": "dataset"},
    "all of PyTorch's": {
        **TORCH_INIT,
        **TORCH_EPSILON,
        "optimizer.alpha": 0.99,
        "model.dense_bn": "same",
        "model.bn_variance": "unbiased",
    },
}


def config_of(changes: dict[str, Any], width: int, epochs: int, batch: int) -> TrialConfig:
    """The baseline with `changes`, and its 56 epochs shortened to `epochs`."""
    tree: dict[str, Any] = {
        "model": {"width": width},
        "augment": {"rotate": 10, "shift": 0.25, "shear": 10, "zoom": 0.4},
        "schedule": {
            "name": "step_epochs",
            "milestones": [m * epochs / BASELINE_EPOCHS for m in (35, 43, 48, 52)],
            "factors": [0.25, 0.25, 0.25, 0.256],
        },
        "train": {"epochs": epochs, "batch_size": batch},
    }
    for key, value in {**BASELINE, **changes}.items():
        part, name = key.split(".")
        tree.setdefault(part, {})[name] = value
    return TrialConfig.model_validate(tree)


def score_of(config: TrialConfig, sets: tuple, seed: int) -> dict[str, float]:
    """Accuracy and cross-entropy on the rows that were not trained on, after the last epoch."""
    images, labels, targets, train, valid = sets
    state = start_training(config, images, train, len(targets[0].classes), seed, 0, CPU)
    data = to_device(images, np.eye(len(targets[0].classes), dtype=np.float32)[labels[:, 0]], targets, CPU)
    started = time.process_time()
    for _ in fit(state, config, data, torch.from_numpy(train), None, seed=seed):
        pass
    loss, accuracy = evaluate(state, config, data, torch.from_numpy(valid), ACCURACY)
    return {
        "accuracy": accuracy,
        "cross_entropy": loss,
        "train_loss": state.history[-1].train_loss,
        "cpu_seconds": time.process_time() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="data set (default: scikit-learn's digits)")
    add("--seeds", type=int, default=5)
    add("--epochs", type=int, default=12, help="the baseline has 56")
    add("--subset", type=int, default=4000, help="rows to train on")
    add("--valid", type=int, default=5000, help="other rows to score on")
    add("--width", type=int, default=8, help="the baseline has 64")
    add("--batch", type=int, default=64, help="the baseline has 1024")
    add("--only", nargs="*", default=list(RECIPES), help="these recipes, by their names")
    args = read_arguments(parser)
    torch.set_num_threads(1)

    task = load_task(Auto(path=None if args.data is None else str(args.data)), Cv())
    order = np.random.default_rng(0).permutation(len(task.train.labels))
    train, valid = order[: args.subset], order[args.subset : args.subset + args.valid]
    sets = (task.train.images, task.train.labels, task.targets, train, valid)

    setting = {
        "data": task.name,
        "train": len(train),
        "valid": len(valid),
        **{k: getattr(args, k) for k in ("epochs", "width", "batch")},
    }
    runs: dict[str, dict[str, dict[str, Any]]] = {}
    known = RESULTS / "keras_parity.json"
    if known.exists() and (kept := json.loads(known.read_text()))["setting"] == setting:
        runs = kept["runs"]
    for seed in range(args.seeds):
        for name in args.only:
            if str(seed) in runs.setdefault(name, {}):
                continue
            config = config_of(RECIPES[name], args.width, args.epochs, args.batch)
            result = score_of(config, sets, seed)
            runs[name][str(seed)] = {**result, "git": commit()}
            print(
                f"seed {seed}  {result['accuracy']:.4f}  {result['cpu_seconds']:4.0f} s  {name}", flush=True
            )
            write("keras_parity", {"setting": setting, "runs": runs}, args, show=False)
    print(f"\n{setting}\n\n{keras_table(runs)}")


if __name__ == "__main__":
    main()
