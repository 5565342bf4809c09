"""A whole search compared with what one would write without this package: same trials, epochs, images and networks.

8 trials of 3 epochs (or as many as the environment variable EPOCHS says) on 6,000 images of 28x28, lean_cnn, 2 cores.
Timed from the command to its end, with imports and the start of Ray:

  ours       `run_search`: Ray Tune, the data in memory once, reused workers, batched augmentation
  tutorial   Ray Tune as in its tutorial: a data set and a DataLoader in each trial, albumentations image by image
  bare       two processes without Ray, each with half of the trials, `fit` on one thread
  optuna     Optuna in one process, one trial after the other, `fit` on two threads
  floor      Ray Tune with two trials that import PyTorch, report once and train nothing: the time of Ray itself
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import child_environment, random_images, ratio, read_arguments, take_turns, write

# set by an environment variable, since each side runs in a process of its own
EPOCHS = int(os.environ.get("EPOCHS", "3"))
TRIALS, TRAIN, VALID, BATCH = 8, 6000, 1000, 128
MODEL = {"name": "lean_cnn", "width": 16, "depth": 2}
AUGMENT = {"rotate": 12, "shift": 0.1, "zoom": 0.1, "shear": 8, "elastic": 0.02, "cutout": 0.3}
RATES = [1e-3 * 1.3**i for i in range(TRIALS)]


def trial_tree(lr) -> dict:
    return {
        "model": MODEL,
        "augment": AUGMENT,
        "optimizer": {"name": "adamw", "lr": lr},
        "train": {"epochs": EPOCHS, "batch_size": BATCH, "ema_decay": 0.99},
    }


def ours() -> None:
    import numpy as np
    from common import noise_task, search_on

    from tune_digits.data.folds.split import Fold
    from tune_digits.study import make_study

    raw = {
        "trial": trial_tree({"loguniform": [1e-3, 1e-2]}),
        "search": {"trials": TRIALS, "grace_period": EPOCHS},
    }
    study = make_study(raw, "benchmark", "benchmark", {})
    fold = Fold(0, np.arange(TRAIN), np.arange(TRAIN, TRAIN + VALID))
    _, records = search_on(study, noise_task(TRAIN + VALID), fold, Path("runs"))
    assert [r.epochs for r in records] == [EPOCHS] * TRIALS


def train_with_fit(lr: float, threads: int) -> float:
    import numpy as np
    import torch

    from tune_digits.config import TrialConfig
    from tune_digits.data.dataset import Target
    from tune_digits.learn.device import to_device
    from tune_digits.learn.fit import fit, start_training

    torch.set_num_threads(threads)
    images, labels = random_images(TRAIN + VALID)
    config = TrialConfig.model_validate(trial_tree(lr))
    cpu = torch.device("cpu")
    state = start_training(config, images, np.arange(TRAIN), 10, 0, 0, cpu)
    data = to_device(
        images, np.eye(10, dtype=np.float32)[labels], (Target("digit", tuple("0123456789")),), cpu
    )
    rows, valid = torch.arange(TRAIN), torch.arange(TRAIN, TRAIN + VALID)
    return [report.score for report in fit(state, config, data, rows, valid, seed=0)][-1]


def bare() -> None:
    code = "import whole_search as w, sys; [w.train_with_fit(lr, 1) for lr in w.RATES[int(sys.argv[1])::2]]"
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], env=child_environment()) for i in range(2)
    ]
    assert [w.wait() for w in workers] == [0, 0]


def with_optuna() -> None:
    import optuna

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(lambda t: train_with_fit(t.suggest_float("lr", 1e-3, 1e-2, log=True), 2), n_trials=TRIALS)


def tutorial() -> None:
    import ray
    from ray import tune

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(tutorial_trainable, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-3, 1e-2)},
        tune_config=tune.TuneConfig(num_samples=TRIALS, metric="score", mode="max"),
        run_config=tune.RunConfig(storage_path=str(Path("ray").resolve()), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors and len(results) == TRIALS


def tutorial_trainable(config: dict) -> None:
    import albumentations as A
    import numpy as np
    import torch
    from ray import tune
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader, Dataset

    from tune_digits.config import TrialConfig
    from tune_digits.learn.models import build_model

    pipeline = A.Compose(
        [
            A.Affine(
                rotate=(-12, 12),
                translate_percent=(-0.1, 0.1),
                scale=(0.9, 1.1),
                shear={"x": (-8, 8), "y": (0, 0)},
                p=1,
            ),
            A.ElasticTransform(alpha=15, sigma=5, p=1),
            A.CoarseDropout(
                num_holes_range=(1, 1), hole_height_range=(0.01, 0.3), hole_width_range=(0.01, 0.3), p=1
            ),
        ]
    )

    class Digits(Dataset):
        def __init__(self, images: np.ndarray, labels: np.ndarray, augment: bool) -> None:
            self.images, self.labels, self.augment = images, labels, augment

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> tuple:
            image = self.images[i, 0]
            if self.augment:
                image = pipeline(image=image)["image"]
            return torch.from_numpy(image).float().div(255)[None], self.labels[i]

    images, labels = random_images(TRAIN + VALID)
    train = DataLoader(Digits(images[:TRAIN], labels[:TRAIN], True), batch_size=BATCH, shuffle=True)
    valid = DataLoader(Digits(images[TRAIN:], labels[TRAIN:], False), batch_size=BATCH)
    model = build_model(TrialConfig.model_validate({"model": MODEL}).model, 1, 28, 28, 10, (0.5,), (0.3,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    for _ in range(EPOCHS):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in valid)
        tune.report({"score": hits / VALID})


def floor() -> None:
    import ray
    from ray import tune

    def nothing(config: dict) -> None:
        import torch

        tune.report({"score": float(torch.zeros(()))})

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(nothing, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-3, 1e-2)},
        tune_config=tune.TuneConfig(num_samples=2, metric="score", mode="max"),
        run_config=tune.RunConfig(storage_path=str(Path("ray").resolve()), verbose=0),
    )
    assert not tuner.fit().errors


SIDES = {"ours": ours, "tutorial": tutorial, "bare": bare, "optuna": with_optuna, "floor": floor}


def seconds(side: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        log = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), "--side", side, "--allow-dirty"],
            cwd=folder,
            env=child_environment(),
            check=False,
            capture_output=True,
            text=True,
        )
        if log.returncode:
            raise SystemExit(f"{side} failed:\n{log.stdout[-2000:]}{log.stderr[-4000:]}")
        took = time.perf_counter() - started
    print(f"{side} {took:.1f} s", flush=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=SIDES, help="run one side in this process")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--rounds", type=int, default=3)
    args = read_arguments(parser)
    if args.side:
        SIDES[args.side]()
        return
    seen = take_turns({side: lambda side=side: seconds(side) for side in args.sides}, args.rounds)
    ratios = {f"{s} / ours": ratio(seen[s], seen["ours"]) for s in seen if s != "ours"}
    write(
        "whole_search" if EPOCHS == 3 else f"whole_search-{EPOCHS}-epochs",
        {"results": {"seconds": seen, **ratios}},
        args,
    )


if __name__ == "__main__":
    main()
