"""Images per second of the batched augmentation, albumentations and kornia, on one thread of one CPU.

    python benchmarks/augmentation.py [--rounds 15]

Three chains on the same digits, from uint8 to a float32 batch: `core` does affine, elastic, brightness, contrast, gamma
and cutout, `full` every operation that a grey image knows, all of them on every image; `common` is `full` without grid
distortion and GridMask, which kornia lacks. The chains take turns within one process, so that a slower minute
of the machine slows all of them; the numbers are medians of CPU seconds. Writes benchmarks/results/augmentation.json.
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
CORE = Augment(
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
FULL = CORE.model_copy(
    update={
        "grid_distortion": 0.2,
        "optical_distortion": 0.1,
        "perspective": 0.05,
        "crop": 0.1,
        "hflip": 0.3,
        "vflip": 0.3,
        "blur": 0.03,
        "noise": 0.05,
        "grid_mask": 0.3,
    }
)
COMMON = FULL.model_copy(update={"grid_distortion": 0.0, "grid_mask": 0.0})  # what kornia has too
RESULT = Path(__file__).parent / "results" / "augmentation.json"


def digits(batch: int) -> Tensor:
    """uint8 (batch, 1, 28, 28): scikit-learn's digits, enlarged."""
    images = torch.from_numpy(load_digits().images[:batch]).float()[:, None] * (255 / 16)
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear").round().byte()


def batched(images: Tensor, config: Augment) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda: augment(images.float().div_(255), config, generator)


def albumentations(images: Tensor, config: Augment) -> Callable[[], Tensor]:
    every = torch.arange(len(images))
    return lambda: next(augment_batches(images, [every], config, seed=0, workers=1))


def stock_pipeline(full: bool) -> Augment:
    """What one would write with albumentations alone; its elastic sigma and alpha suit 28 x 28 pixels."""
    both, shift = (0.9, 1.1), (-0.1, 0.1)
    flips = [A.HorizontalFlip(p=0.3), A.VerticalFlip(p=0.3), A.Pad(3, p=1), A.RandomCrop(SIDE, SIDE, p=1)]
    bends = [A.Perspective((0, 0.05), p=1), A.OpticalDistortion(0.1, p=1), A.GridDistortion(5, 0.2, p=1)]
    blur = [A.GaussianBlur(0, (0.01, 0.84), p=1)]
    masks = [
        A.GaussNoise((0, 0.05), p=1),
        A.GridDropout(0.3, unit_size_range=(7, 21), random_offset=True, p=1),
    ]
    pipeline = A.Compose(
        [
            *(flips if full else []),
            A.Affine(
                scale={"x": both, "y": both},
                translate_percent={"x": shift, "y": shift},
                rotate=15,
                shear={"x": (-10, 10), "y": (0, 0)},
                p=1,
            ),
            *(bends if full else []),
            A.ElasticTransform(alpha=35, sigma=3.4, p=1),
            *(blur if full else []),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=1),
            A.RandomGamma(gamma_limit=(74, 135), p=1),
            A.CoarseDropout((1, 1), hole_height_range=(0.01, 0.3), hole_width_range=(0.01, 0.3), p=1),
            *(masks if full else []),
        ]
    )
    return Augment(backend="albumentations", pipeline=A.to_dict(pipeline))


def kornia(images: Tensor, full: bool) -> Callable[[], Tensor] | None:
    try:
        import kornia.augmentation as K
    except ImportError:
        return None
    flips = [K.RandomHorizontalFlip(p=0.3), K.RandomVerticalFlip(p=0.3), K.RandomCrop((SIDE, SIDE), 3, p=1)]
    bends = [
        K.RandomPerspective(0.1, p=1),
        K.RandomFisheye(*(torch.tensor([-x, x]) for x in (0.1, 0.1, 0.1)), p=1),
    ]
    blur = [K.RandomGaussianBlur((7, 7), (0.1, 0.84), p=1)]
    noise = [K.RandomGaussianNoise(std=0.025, p=1)]
    chain = torch.nn.Sequential(
        *(flips if full else []),
        K.RandomAffine(15, (0.1, 0.1), (0.9, 1.1, 0.9, 1.1), 10, p=1),
        *(bends if full else []),
        K.RandomElasticTransform((27, 27), (3.4, 3.4), (0.4, 0.4), p=1),
        *(blur if full else []),
        K.RandomBrightness((0.8, 1.2), p=1),
        K.RandomContrast((0.8, 1.2), p=1),
        K.RandomGamma((0.74, 1.35), p=1),
        *(noise if full else []),
        K.RandomErasing((0.001, 0.09), (1, 1), p=1),
    )
    return lambda: chain(images.float().div_(255))


def rates(chains: dict[str, Callable[[], Tensor]], batch: int, rounds: int) -> dict[str, float]:
    """Median images per second of each chain, the chains taking turns; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in chains}
    for _ in range(rounds + 1):
        for name, run in chains.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
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
        "core, batched": batched(images, CORE),
        "core, albumentations": albumentations(images, CORE),
        "core, albumentations stock": albumentations(images, stock_pipeline(full=False)),
        "full, batched": batched(images, FULL),
        "common, batched": batched(images, COMMON),
        "full, albumentations": albumentations(images, FULL),
        "full, albumentations stock": albumentations(images, stock_pipeline(full=True)),
    }
    packages = ["torch", "albumentations", "opencv-python-headless", "numpy"]
    if kornia(images, full=False) is None:
        print("kornia is not installed: left out")
    else:
        chains |= {"core, kornia": kornia(images, full=False), "common, kornia": kornia(images, full=True)}
        packages.append("kornia")

    measured = rates(chains, args.batch, args.rounds)
    for name, rate in sorted(measured.items()):
        times = measured[name.split(",")[0] + ", batched"] / rate
        print(f"{name:28}{rate:10,.0f} images/s   batched is {times:6.1f} times as fast")

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
        "augment": {
            "core": CORE.model_dump(exclude_defaults=True),
            "full": FULL.model_dump(exclude_defaults=True),
        },
        "clock": "CPU seconds of the process",
        "images_per_second": {name: round(rate) for name, rate in measured.items()},
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
