"""Images per second of the batched augmentation, albumentations and kornia, on one thread of one CPU.

    python benchmarks/augmentation.py [--rounds 15]

All chains do affine, elastic, brightness, contrast, gamma and cutout on the same digits, from uint8 to a
float32 batch. They take turns within one process, so that a slower minute of the machine slows all of them;
the numbers are medians. Writes benchmarks/results/augmentation.json.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from tune_digits.config import Augment
from tune_digits.learn.albumentations_backend import A, augment_batches
from tune_digits.learn.augment import augment

SIDE = 28
CONFIG = Augment(
    rotate=15,
    shift=0.1,
    zoom=0.1,
    shear=10,
    elastic=0.03,
    brightness=0.2,
    contrast=0.2,
    gamma=0.3,
    cutout=0.3,
)
RESULT = Path(__file__).parent / "results" / "augmentation.json"


def digits(batch: int) -> Tensor:
    """uint8 (batch, 1, 28, 28): scikit-learn's digits, enlarged."""
    images = torch.from_numpy(load_digits().images[:batch]).float()[:, None] * (255 / 16)
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear").round().byte()


def batched(images: Tensor) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda: augment(images.float().div_(255), CONFIG, generator)


def albumentations(images: Tensor, config: Augment) -> Callable[[], Tensor]:
    every = torch.arange(len(images))
    return lambda: next(augment_batches(images, [every], config, seed=0, workers=1))


def stock_pipeline() -> Augment:
    """What one would write with albumentations alone; its elastic sigma and alpha suit 28 x 28 pixels."""
    both, shift = (0.9, 1.1), (-0.1, 0.1)
    pipeline = A.Compose(
        [
            A.Affine(
                scale={"x": both, "y": both},
                translate_percent={"x": shift, "y": shift},
                rotate=15,
                shear={"x": (-10, 10), "y": (0, 0)},
                p=1,
            ),
            A.ElasticTransform(alpha=35, sigma=3.4, p=1),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=1),
            A.RandomGamma(gamma_limit=(74, 135), p=1),
            A.CoarseDropout((1, 1), hole_height_range=(0.01, 0.3), hole_width_range=(0.01, 0.3), p=1),
        ]
    )
    return Augment(backend="albumentations", pipeline=A.to_dict(pipeline))


def kornia(images: Tensor) -> Callable[[], Tensor] | None:
    try:
        import kornia.augmentation as K
    except ImportError:
        return None
    chain = torch.nn.Sequential(
        K.RandomAffine(15, (0.1, 0.1), (0.9, 1.1, 0.9, 1.1), 10, p=1),
        K.RandomElasticTransform((27, 27), (3.4, 3.4), (0.4, 0.4), p=1),
        K.RandomBrightness((0.8, 1.2), p=1),
        K.RandomContrast((0.8, 1.2), p=1),
        K.RandomGamma((0.74, 1.35), p=1),
        K.RandomErasing((0.001, 0.09), (1, 1), p=1),
    )
    return lambda: chain(images.float().div_(255))


def rates(chains: dict[str, Callable[[], Tensor]], batch: int, rounds: int) -> dict[str, float]:
    """Median images per second of each chain, the chains taking turns; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in chains}
    for _ in range(rounds + 1):
        for name, run in chains.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: batch / statistics.median(times[1:]) for name, times in seconds.items()}


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=512)
    args = parser.parse_args()

    torch.set_num_threads(1)
    images = digits(args.batch)
    chains = {
        "batched": batched(images),
        "albumentations, our knobs": albumentations(images, CONFIG),
        "albumentations, stock": albumentations(images, stock_pipeline()),
    }
    packages = ["torch", "albumentations", "opencv-python-headless", "numpy"]
    if (chain := kornia(images)) is None:
        print("kornia is not installed: left out")
    else:
        chains["kornia"] = chain
        packages.append("kornia")

    measured = rates(chains, args.batch, args.rounds)
    for name, rate in measured.items():
        print(f"{name:28}{rate:10,.0f} images/s   batched is {measured['batched'] / rate:6.1f} times as fast")

    RESULT.parent.mkdir(exist_ok=True)
    record = {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_model(),
        "threads": 1,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "image": [1, SIDE, SIDE],
        "batch": args.batch,
        "rounds": args.rounds,
        "augment": CONFIG.model_dump(exclude_defaults=True),
        "images_per_second": {name: round(rate) for name, rate in measured.items()},
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
