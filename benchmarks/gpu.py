"""What keeps a GPU busy with small networks: several processes, fused networks, bfloat16, CUDA graphs.

    python benchmarks/gpu.py [--processes 1 2 4 8 16] [--fused 1 2 4 8 16 32] [--seconds 10]

Without Ray: `fit` and `fit_fused` with the data on the device, 28x28x1, batches of 128, lean_cnn (width 32, depth 2).
Measured are images per second, of all networks together:

  processes     N processes, each training one network; counted while all of them train
  fused         G networks as one, in one process; `gain` is the ratio to one network alone in one process
  precision     one network in bfloat16 and in float32
  augmentation  the fraction of a training step's time that augmentation takes: `fit` with it and without it
  graphs        the bare step (forward, backward, update) as a CUDA graph, over the same step launched by Python

Without a GPU it runs on the CPU, which tests the script but tells nothing about GPUs; `graphs` is then left out.
Writes benchmarks/results/gpu-<cuda or cpu>.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from common import random_images, ratio, read_arguments, take_turns, write

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn.device import DeviceData, to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.fused import fit_fused
from tune_digits.learn.loop import Training
from tune_digits.learn.optim import set_lr

AUGMENT = {"rotate": 12, "shift": 0.1, "zoom": 0.1, "shear": 8, "elastic": 0.02, "cutout": 0.3}
BATCH = 128


def trial(images: int, **change: Any) -> TrialConfig:
    """A configuration with more epochs than are ever run here."""
    raw = {
        "model": {"name": "lean_cnn", "width": 32, "depth": 2},
        "augment": AUGMENT,
        "train": {"epochs": 10_000, "batch_size": BATCH, "ema_decay": 0.99},
    }
    return TrialConfig.model_validate(raw | change)


class Bench:
    """The data on the device, and trainings on them."""

    def __init__(self, count: int, device: str) -> None:
        self.images, labels = random_images(count)
        self.device = torch.device(device)
        target = Target("digit", tuple("0123456789"))
        self.data: DeviceData = to_device(
            self.images, np.eye(10, dtype=np.float32)[labels], (target,), self.device
        )
        self.count = count

    def training(self, config: TrialConfig, seed: int) -> Training:
        rows = np.arange(self.count)
        state = start_training(config, self.images, rows, 10, seed, 0, self.device)
        return Training(state, torch.from_numpy(rows).to(self.device), seed)

    def alone(self, config: TrialConfig) -> Iterator[Any]:
        one = self.training(config, 0)
        return fit(one.state, config, self.data, one.rows, seed=0)

    def fused(self, config: TrialConfig, networks: int) -> Iterator[Any]:
        return fit_fused([self.training(config, seed) for seed in range(networks)], config, self.data)


def rate(epochs: Iterator[Any], images: int, seconds: float) -> float:
    """Images per second over as many whole epochs as fill `seconds`, after one that warms up."""
    next(epochs)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        next(epochs)
        done += 1
    return done * images / (time.perf_counter() - started)


def one_process(count: int, device: str, start: Any, stop: Any, done: Any) -> None:
    torch.set_num_threads(1)
    bench = Bench(count, device)
    epochs = bench.alone(trial(count))
    next(epochs)
    start.wait()
    trained = 0
    while not stop.is_set():
        next(epochs)
        trained += count
    done.put(trained)


def processes_rate(number: int, count: int, device: str, seconds: float) -> float:
    """Images per second of `number` processes together. Each counts whole epochs; the time runs until the last ends."""
    context = multiprocessing.get_context("spawn")
    start, stop, done = context.Barrier(number + 1), context.Event(), context.Queue()
    workers = [
        context.Process(target=one_process, args=(count, device, start, stop, done)) for _ in range(number)
    ]
    for worker in workers:
        worker.start()
    start.wait(600)
    started = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    trained = sum(done.get(timeout=600) for _ in workers)
    took = time.perf_counter() - started
    for worker in workers:
        worker.join()
    return trained / took


def graph_gain(bench: Bench, seconds: float) -> dict[str, float]:
    """The bare step as a CUDA graph over the step launched by Python; capture as in PyTorch's notes on CUDA graphs."""
    config = trial(bench.count, optimizer={"name": "sgd", "lr": 0.01})
    state = bench.training(config, 0).state
    model, optimizer = state.model.train(), state.optimizer
    set_lr(optimizer, 0.01)
    images = torch.rand(BATCH, 1, 28, 28, device="cuda").contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,), device="cuda")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def steps_per_second(run: Callable[[], None]) -> float:
        torch.cuda.synchronize()
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds / 4:
            for _ in range(50):
                run()
            torch.cuda.synchronize()
            done += 50
        return done / (time.perf_counter() - started)

    seen = take_turns(
        {"graph": lambda: steps_per_second(graph.replay), "python": lambda: steps_per_second(step)}, 3
    )
    return {
        "python images/s": BATCH * statistics.median(seen["python"]),
        **ratio(seen["graph"], seen["python"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--fused", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=10.0, help="per figure")
    parser.add_argument("--images", type=int, default=8192)
    args = read_arguments(parser)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    count, results = args.images, {"device": name, "images": args.images}
    bench = Bench(count, device)

    def measured(config: TrialConfig) -> float:
        return rate(bench.alone(config), count, args.seconds / 3)

    plain = trial(count)
    bare = trial(count, augment={})
    seen = take_turns({"with": lambda: measured(plain), "without": lambda: measured(bare)}, 3)
    speed = ratio(seen["with"], seen["without"])
    results["augmentation, fraction of a step"] = {
        "median": 1 - speed["median"],
        "low": 1 - speed["high"],
        "high": 1 - speed["low"],
    }
    train = plain.train
    precise = {
        p: plain.model_copy(update={"train": train.model_copy(update={"precision": p})})
        for p in ("float32", "bfloat16")
    }
    seen = take_turns({p: lambda c=c: measured(c) for p, c in precise.items()}, 3)
    results["precision"] = {p: statistics.median(rates) for p, rates in seen.items()}
    alone = rate(bench.alone(plain), count, args.seconds)
    results["fused"] = {}
    for networks in args.fused:
        together = rate(bench.fused(plain, networks), count * networks, args.seconds)
        results["fused"][networks] = {"images/s": together, "gain": together / alone}
    results["processes"] = {n: processes_rate(n, count, device, args.seconds) for n in args.processes}
    if device == "cuda":
        results["graphs"] = graph_gain(bench, args.seconds)
    write(f"gpu-{device}", {"results": results}, args)


if __name__ == "__main__":
    main()
