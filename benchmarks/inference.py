"""Prediction by a saved ensemble against its bare forward passes: 5 members, 8 views, 1,024 images, one thread.

Bare: the same number of forward passes of the same networks on one resident float batch.
"""

from __future__ import annotations

import time

import torch
from common import random_images, ratio, take_turns, write

from tune_digits.config import TrialConfig
from tune_digits.learn.models import build_model
from tune_digits.learn.predict import predict_proba

MEMBERS, VIEWS, BATCH = 5, 8, 512


def main() -> None:
    torch.set_num_threads(1)
    images = torch.from_numpy(random_images(1024)[0])
    config = TrialConfig.model_validate({"model": {"name": "lean_cnn", "width": 16}})
    models = [
        build_model(config.model, 1, 28, 28, 10, (0.5,), (0.3,)).to(memory_format=torch.channels_last).eval()
        for _ in range(MEMBERS)
    ]

    def ensemble() -> float:
        started = time.perf_counter()
        for model in models:
            predict_proba(model, images, (slice(0, 10),), tta=VIEWS, batch_size=BATCH)
        return time.perf_counter() - started

    def bare() -> float:
        batch = torch.rand(BATCH, 1, 28, 28).contiguous(memory_format=torch.channels_last)
        started = time.perf_counter()
        with torch.inference_mode():
            for model in models:
                for start in range(0, len(images), BATCH):
                    for _ in range(VIEWS):
                        model(batch[: min(BATCH, len(images) - start)])
        return time.perf_counter() - started

    seen = take_turns({"ensemble": ensemble, "bare": bare}, 3)
    write("inference", {"seconds": seen, "ensemble / bare": ratio(seen["ensemble"], seen["bare"])})


if __name__ == "__main__":
    main()
