"""Does it pay to train several networks of one configuration as one, folds and seeds side by side?

    python benchmarks/fused.py [--networks 2 5] [--rounds 5]

The weights of G networks are stacked (torch.func.stack_module_state) and one step of all is one forward, backward and
update of tensors with a dimension more: convolutions become grouped ones. First it is checked that the stacked
networks learn what they would learn alone; then both ways take turns, and the median ratio of their CPU time, on a GPU
of the wall time, is told. Above 1 fusing pays. lean_cnn, 28x28x1, batches of 128, SGD. Writes
benchmarks/results/fused-<cpu or cuda>.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from tune_digits.config import LeanCnn, Sgd
from tune_digits.learn.models import build_model
from tune_digits.learn.optim import parameter_groups
from tune_digits.runs import environment

BATCH = 128
OPTIMIZER = Sgd(lr=0.02)


def networks(width: int, count: int, device: torch.device) -> list[nn.Module]:
    """`count` networks with weights of their own; no dropout, whose random numbers would differ."""
    torch.manual_seed(0)
    config = LeanCnn(width=width, dropout=0)
    built = [build_model(config, 1, 28, 28, 10, (0.5,), (0.3,)).train() for _ in range(count)]
    return [model.to(device=device, memory_format=torch.channels_last) for model in built]


def sgd(groups: list[dict]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=OPTIMIZER.lr, momentum=0.9, nesterov=True, fused=True)


def apart(models: list[nn.Module]) -> Callable[[Tensor, Tensor], Tensor]:
    """A step of each network by itself: images (G, B, C, H, W), labels (G, B) -> losses (G,)."""
    optimizers = [sgd(parameter_groups(model, OPTIMIZER)) for model in models]

    def step(images: Tensor, labels: Tensor) -> Tensor:
        losses = []
        for model, optimizer, x, y in zip(models, optimizers, images, labels, strict=True):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    return step


def fused(models: list[nn.Module]) -> tuple[Callable[[Tensor, Tensor], Tensor], dict[str, Tensor]]:
    """A step of all networks at once, as `apart`, and their stacked weights by name."""
    weights, buffers = stack_module_state(models)
    names = {p: name for name, p in models[0].named_parameters()}
    groups = [
        {**group, "params": [weights[names[p]] for p in group["params"]]}
        for group in parameter_groups(models[0], OPTIMIZER)
    ]
    optimizer = sgd(groups)
    skeleton = copy.deepcopy(models[0])

    def loss_of(own: dict[str, Tensor], stats: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(skeleton, (own, stats), (x,)), y)

    def step(images: Tensor, labels: Tensor) -> Tensor:
        losses = vmap(loss_of)(weights, buffers, images, labels)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        return losses.detach()

    return step, weights


def batch(count: int, device: torch.device, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, BATCH, 1, 28, 28, generator=generator)
    labels = torch.randint(10, (count, BATCH), generator=generator)
    return images.to(device), labels.to(device)


def check(width: int, count: int, device: torch.device) -> float:
    """The largest difference of any weight after three steps of either way, in double precision."""
    models = [model.double() for model in networks(width, count, device)]
    alone = copy.deepcopy(models)
    one, (other, weights) = apart(alone), fused(models)
    for seed in range(3):
        images, labels = batch(count, device, seed)
        one(images.double(), labels)
        other(images.double(), labels)
    differences = [
        (dict(model.named_parameters())[name] - value[i]).abs().max().item()
        for i, model in enumerate(alone)
        for name, value in weights.items()
    ]
    return max(differences)


def seconds(step: Callable[[Tensor, Tensor], Tensor], data: tuple[Tensor, Tensor], steps: int) -> float:
    on_gpu = data[0].is_cuda
    clock = time.perf_counter if on_gpu else time.process_time
    started = clock()
    for _ in range(steps):
        losses = step(*data)
    if on_gpu:
        losses.sum().item()
    return clock() - started


def measure(width: int, count: int, device: torch.device, rounds: int, steps: int) -> dict[str, float]:
    one = apart(networks(width, count, device))
    other, _ = fused(networks(width, count, device))
    data = batch(count, device, 0)
    ratios, rates = [], []
    for _ in range(rounds + 1):
        alone, together = seconds(one, data, steps), seconds(other, data, steps)
        ratios.append(alone / together)
        rates.append(count * BATCH * steps / alone)
    return {
        "fused_over_apart": statistics.median(ratios[1:]),
        "apart_images_per_second": statistics.median(rates[1:]),
        "largest_difference": check(width, count, device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    # the mean over positions falls back to a loop over networks: a small part of the step
    warnings.filterwarnings("ignore", message=".*performance drop.*")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    steps = 50 if device.type == "cuda" else 1
    results = {}
    for width in args.widths:
        for count in args.networks:
            name = f"lean_cnn width {width}, {count} networks"
            results[name] = measure(width, count, device, args.rounds, steps)
            print(name, {k: float(f"{v:.3g}") for k, v in results[name].items()}, flush=True)
    path = Path(__file__).parent / "results" / f"fused-{device.type}.json"
    path.parent.mkdir(exist_ok=True)
    record = {"date": time.strftime("%F"), "rounds": args.rounds, **environment(), "results": results}
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
