"""How much longer does prediction by a saved ensemble take than the bare forward passes of its networks?

    python benchmarks/inference.py [--images 10000] [--rounds 3]

5 members (lean_cnn, width 8, depth 1), 8 views of each of 10,000 images of 28x28, one thread: 400,000 images through a
network. The bare side sends as many images through the same networks, in batches of the same size, from one float batch
that stays in memory. The two take turns; they are timed in CPU seconds of this process, which the work of other
processes does not change much. Takes about two minutes of one core. Writes benchmarks/results/inference.json.
"""

from __future__ import annotations

import argparse
import time

import torch
from common import random_images, ratio, read_arguments, take_turns, write

from tune_digits.config import TrialConfig
from tune_digits.learn.device import prediction_batch_size
from tune_digits.learn.models import build_model
from tune_digits.learn.predict import predict_proba

MEMBERS, VIEWS = 5, 8
# a small network: what comes on top of its forward passes shows more than with a large one
MODEL = {"name": "lean_cnn", "width": 8, "depth": 1}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = read_arguments(parser)
    torch.set_num_threads(1)
    images = torch.from_numpy(random_images(args.images)[0])
    size = prediction_batch_size(images.device)
    config = TrialConfig.model_validate({"model": MODEL})
    models = [
        build_model(config.model, 1, 28, 28, 10, (0.5,), (0.3,)).to(memory_format=torch.channels_last).eval()
        for _ in range(MEMBERS)
    ]

    def ensemble() -> float:
        started = time.process_time()
        for model in models:
            predict_proba(model, images, (slice(0, 10),), tta=VIEWS)
        return time.process_time() - started

    def bare() -> float:
        batch = torch.rand(size, 1, 28, 28).contiguous(memory_format=torch.channels_last)
        started = time.process_time()
        with torch.inference_mode():
            for model in models:
                for start in range(0, len(images), size):
                    for _ in range(VIEWS):
                        model(batch[: min(size, len(images) - start)])
        return time.process_time() - started

    seen = take_turns({"ensemble": ensemble, "bare": bare}, args.rounds)
    setting = {"members": MEMBERS, "views": VIEWS, "images": args.images, "model": MODEL, "batch": size}
    results = {"seconds": seen, "ensemble / bare": ratio(seen["ensemble"], seen["bare"])}
    write("inference", {**setting, "clock": "CPU seconds of the process", "results": results}, args)


if __name__ == "__main__":
    main()
