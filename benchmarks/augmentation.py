"""Images per second of the batched augmentation, albumentations and kornia, on one thread of one CPU.

    python benchmarks/augmentation.py [--rounds 15]

Three chains on the same digits, from uint8 to a float32 batch. `core` has nine operations: the four of an affine map,
elastic, brightness, contrast, gamma and cutout. `full` has all 18 operations for grey images. `common` is `full`
without grid distortion and GridMask, which kornia does not have. Every operation is applied to every image. The chains
take turns within one process, so that a slower minute of the machine slows all of them; the numbers are medians of CPU
seconds. As in every worker of a search, the process keeps the memory that it frees (`patches/allocator.py`).

Then, by wall clock, the albumentations backend against a DataLoader that runs the same pipeline image by image with as
many workers; and the fraction of an epoch of lean_cnn (width 32, depth 2) that the batched augmentation takes. Writes
benchmarks/results/augmentation.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from common import random_images, ratio, read_arguments, take_turns, write
from pipeline import Loop
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tune_digits.config import Augment
from tune_digits.learn.albumentations_backend import A, augment_batches, build_pipeline
from tune_digits.learn.augment import augment
from tune_digits.patches.allocator import keep_freed_memory

SIDE = 28
LEAN_CNN = {"name": "lean_cnn", "width": 32, "depth": 2}
BATCH = 128  # of training, and of the DataLoader
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
    """What one would write with albumentations alone; sigma and alpha of its elastic transform suit 28 x 28 pixels."""
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


class PerImage(Dataset[Tensor]):
    """The usual way with a DataLoader: uint8 images (N, 1, 28, 28), each augmented when it is asked for."""

    def __init__(self, images: Tensor, config: Augment) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.pipeline = build_pipeline(config, SIDE, SIDE, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        out = self.pipeline(image=self.images[row])["image"]
        return torch.from_numpy(out).permute(2, 0, 1).float().div_(255)


def against_data_loader(workers: int, rounds: int, count: int = 7680) -> dict[str, float]:
    """Images per second of the backend, and of a DataLoader that keeps its workers; the first epoch warms up."""
    images = digits(1536).repeat(count // 1536, 1, 1, 1)
    loader = DataLoader(
        PerImage(images, CORE), BATCH, shuffle=True, num_workers=workers, persistent_workers=True
    )
    sides = {
        "backend": lambda: augment_batches(images, torch.randperm(count).split(BATCH), CORE, 0, workers),
        "data_loader": lambda: loader,
    }

    def rate(side: str) -> float:
        start = time.perf_counter()
        seen = sum(len(batch) for batch in sides[side]())
        return seen / (time.perf_counter() - start)

    seen = take_turns({side: lambda side=side: rate(side) for side in sides}, rounds + 1)
    seen = {side: rates[1:] for side, rates in seen.items()}
    out = {f"{side}_images_per_second": round(statistics.median(rates)) for side, rates in seen.items()}
    return {**out, "backend_over_data_loader": ratio(seen["backend"], seen["data_loader"])}


def fraction_of_epoch(config: Augment, rounds: int, count: int = 2048) -> dict[str, float]:
    """CPU seconds of augmentation alone over those of an epoch of `fit` with augmentation, per image."""
    pixels, labels = random_images(count + BATCH)
    proba = np.eye(10, dtype=np.float32)[labels]
    raw = {
        "model": LEAN_CNN,
        "augment": config.model_dump(exclude_defaults=True),
        "train": {"batch_size": BATCH},
    }
    loop = Loop(raw, pixels, proba, count, rounds + 1)
    run = batched(digits(512), config)

    def alone() -> float:
        start = time.process_time()
        for _ in range(8):
            run()
        return (time.process_time() - start) / (8 * 512)

    seen = take_turns({"alone": alone, "epoch": loop.seconds_per_image}, rounds + 1)
    return ratio(seen["alone"][1:], seen["epoch"][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=512)
    args = read_arguments(parser)

    torch.set_num_threads(1)
    keep_freed_memory()
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
    packages = ["opencv-python-headless"]  # beside those that every result names
    if kornia(images, full=False) is None:
        print("kornia is not installed: left out")
    else:
        chains |= {"core, kornia": kornia(images, full=False), "common, kornia": kornia(images, full=True)}
        packages.append("kornia")

    measured = rates(chains, args.batch, args.rounds)
    for name, rate in sorted(measured.items()):
        times = measured[name.split(",")[0] + ", batched"] / rate
        print(f"{name:28}{rate:10,.0f} images/s   batched is {times:6.1f} times as fast")

    fractions = {name: fraction_of_epoch(config, 3) for name, config in (("core", CORE), ("full", FULL))}
    loaders = {f"{workers} workers": against_data_loader(workers, 7) for workers in (1, 2)}
    setting = {
        "threads": 1,
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "image": [1, SIDE, SIDE],
        "batch": args.batch,
        "rounds": args.rounds,
        "augment": {
            "core": CORE.model_dump(exclude_defaults=True),
            "full": FULL.model_dump(exclude_defaults=True),
        },
        "clock": "CPU seconds of the process",
    }
    results = {
        "images_per_second": {name: round(rate) for name, rate in measured.items()},
        "part_of_an_epoch": {"model": LEAN_CNN, **fractions},
        "albumentations_against_a_data_loader": {"chain": "core", "clock": "wall", "batch": BATCH, **loaders},
    }
    write("augmentation", {**setting, "results": results}, args)


if __name__ == "__main__":
    main()
