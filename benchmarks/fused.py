"""Is it faster to train several networks of one configuration (folds or seeds) as one network than one after the other?

    python benchmarks/fused.py [--networks 2 5] [--rounds 3]

This is the measurement that a run makes on a GPU before it confirms (`fusing_gain`): the real training loop with
augmentation, mixing and moving average, G trainings as one network against G trainings one after the other, in turns.
The result is how many times as fast the fused ones are; above 1, fusing is worth it. One thread on a CPU, 28x28x1,
batches of 128. Writes benchmarks/results/fused-<cpu or cuda>.json.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from common import random_images, read_arguments, write

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn.device import to_device
from tune_digits.learn.fusing_gain import fusing_gain

MODELS = (
    {"name": "lean_cnn", "width": 4, "depth": 1},
    {"name": "lean_cnn", "width": 16},
    {"name": "lean_cnn", "width": 32, "depth": 2},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--rounds", type=int, default=3)
    args = read_arguments(parser)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = random_images(4096)
    target = Target("digit", tuple("0123456789"))
    data = to_device(images, np.eye(10, dtype=np.float32)[labels], (target,), device)
    results = {}
    for model in MODELS:
        config = TrialConfig.model_validate(
            {
                "model": model,
                "augment": {"rotate": 12, "shift": 0.1, "zoom": 0.1, "elastic": 0.02, "cutout": 0.3},
                "mix": {"mixup_alpha": 0.4},
                "train": {"ema_decay": 0.99},
            }
        )
        for networks in args.networks:
            gains = [
                fusing_gain(config, images, data, np.arange(len(images)), networks)
                for _ in range(args.rounds)
            ]
            name = f"{' '.join(map(str, model.values()))}, {networks} networks"
            results[name] = {"median": statistics.median(gains), "low": min(gains), "high": max(gains)}
    write(f"fused-{device.type}", {"results": results}, args)


if __name__ == "__main__":
    main()
