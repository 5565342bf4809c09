"""How much of the bare training step is left when `fit` augments, averages weights and measures?

One thread, 28x28x1, lean_cnn. The bare step is forward, backward and update on one resident float batch, with
the same optimizer, layout and batch size. The two take turns, A B A B, and the median of the ratios counts.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn.fit import fit, start_training, to_device
from tune_digits.learn.losses import loss_per_sample
from tune_digits.runs import environment

IMAGES, VALID, ROUNDS = 8192, 2048, 7
CPU = torch.device("cpu")
CONFIG = {
    "augment": {"rotate": 12, "shift": 0.1, "zoom": 0.1, "shear": 8, "elastic": 0.02, "cutout": 0.3},
    "train": {"epochs": ROUNDS, "batch_size": 128, "ema_decay": 0.99},
}


def bare_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: TrialConfig, steps: int
) -> float:
    """Images per second of `steps` updates on one batch that is already there."""
    size = config.train.batch_size
    images = torch.rand(size, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    targets = torch.eye(10)[torch.arange(size) % 10]
    model.train()
    started = time.perf_counter()
    for _ in range(steps):
        loss = loss_per_sample(model(images), targets, config.loss, (slice(0, 10),)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return steps * size / (time.perf_counter() - started)


def measure(model: dict) -> dict[str, float]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES + VALID, 1, 28, 28), dtype=np.uint8)
    proba = np.eye(10, dtype=np.float32)[rng.integers(0, 10, len(images))]
    config = TrialConfig.model_validate({**CONFIG, "model": model})
    rows = np.arange(IMAGES)
    state, twin = (start_training(config, images, rows, 10, 0, 0, CPU) for _ in range(2))
    data = to_device(images, proba, (Target("digit", tuple("0123456789")),), CPU)
    epochs = fit(state, config, data, torch.arange(IMAGES), torch.arange(IMAGES, IMAGES + VALID), seed=0)
    bare_step(twin.model, twin.optimizer, config, 5)
    train, whole, bare = [], [], []
    for report in epochs:
        bare.append(bare_step(twin.model, twin.optimizer, config, 24))
        train.append(report.images_per_second)
        whole.append(IMAGES / (report.seconds + report.valid_seconds))
    return {
        "bare_images_per_second": statistics.median(bare),
        "fit_over_bare": statistics.median(t / b for t, b in zip(train, bare, strict=True)),
        "fit_with_validation_over_bare": statistics.median(w / b for w, b in zip(whole, bare, strict=True)),
        "noise": (max(bare) - min(bare)) / statistics.median(bare),
    }


def main() -> None:
    torch.set_num_threads(1)
    results = {}
    for model in ({"name": "lean_cnn", "width": 16}, {"name": "lean_cnn", "width": 32, "depth": 1}):
        name = " ".join(f"{k} {v}" if k != "name" else str(v) for k, v in model.items())
        results[name] = measure(model)
        print(name, {k: round(v, 3) for k, v in results[name].items()}, flush=True)
    path = Path(__file__).parent / "results" / "pipeline.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({"date": time.strftime("%F"), **environment(), "results": results}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
