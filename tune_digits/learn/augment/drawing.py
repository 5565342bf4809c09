"""Drawing the random numbers of a batch, one set per sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tune_digits.config import Augment
from tune_digits.learn.augment.autoaugment import draw_policy
from tune_digits.learn.augment.geometry import elastic_nodes
from tune_digits.learn.augment.magnitudes import crop_margin, is_identity, magnitudes, probability
from tune_digits.learn.augment.params import AugmentParams

AUGMIX_DEPTH = 3  # largest number of operations in an AugMix chain, as in the paper
GRID_MASK_UNIT = (0.25, 0.75)  # smallest and largest, as fractions of the shorter side
# name -> centre and shape of what is uniform in centre +- magnitude. In the order of drawing, which must stay: another
# order gives other numbers for a seed
_AROUND: dict[str, tuple[float, tuple[int, ...]]] = {
    "gamma": (0, ()),
    "zoom": (1, (2,)),
    "rotate": (0, ()),
    "shear": (0, ()),
    "shift": (0, (2,)),
    "brightness": (0, ()),
    "contrast": (1, ()),
    "perspective": (0, (4, 2)),
    "optical_distortion": (0, ()),
    "saturation": (1, ()),
    "hue": (0, ()),
}
# the values that change nothing, where they are not 0
_NEUTRAL = {"zoom": 1.0, "hflip": 1.0, "vflip": 1.0, "contrast": 1.0, "saturation": 1.0, "gamma": 1.0}


def draw(
    config: Augment, batch: int, height: int, width: int, generator: torch.Generator, channels: int = 1
) -> AugmentParams:
    """The random numbers for one batch of shape (batch, channels, height, width), on the generator's device.

    Each operation that is on is applied to a sample with its own probability, or that of its group. With
    `randaugment_n` = n, n of the operations (a group of which one is taken counts as one) are chosen, all equally
    likely and without repetition (RandAugment, arXiv:1909.13719, repeats), and then applied with their own
    probabilities; all of them if there are fewer than n. The order of application is always the same.

    With `augmix` (Hendrycks et al. 2020, arXiv:1912.02781) this is done for each chain of each sample, and the image
    and its chains get weights (1 - m, m * w): w from a flat Dirichlet distribution, m uniform, the paper's alpha of 1.
    """
    if is_identity(config, channels):
        return AugmentParams()
    m = magnitudes(config, channels)
    device = generator.device
    rows = batch * max(config.augmix, 1)
    values = _amounts(config, m, rows, height, width, generator)
    chosen = torch.rand(batch, device=device, generator=generator) < config.p if config.p < 1 else None
    happens = _happens(config, list(values), rows, generator) if values else None
    if happens is not None:
        for column, name in zip(happens.unbind(1), values, strict=True):
            value = values[name]
            column = column.view(-1, *(1 for _ in value.shape[1:]))
            values[name] = torch.where(column, value, _NEUTRAL.get(name, 0.0))
    if "noise" in values:
        normal = torch.randn(rows, channels, height, width, device=device, generator=generator)
        values["noise"] = normal.mul_(values["noise"].view(-1, 1, 1, 1))
    augmix = _mixing(batch, config.augmix, generator) if config.augmix else None
    steps = None if config.autoaugment == "none" else draw_policy(config.autoaugment, batch, generator)
    return AugmentParams(**values, autoaugment=steps, chosen=chosen, augmix=augmix)


def _amounts(
    config: Augment, m: dict[str, float], batch: int, height: int, width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """What each operation that is on does to each sample, if applied; of noise only the standard deviation (B,)."""
    device = generator.device
    side = min(height, width)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(batch, *shape, device=device).uniform_(low, high, generator=generator)

    values: dict[str, Tensor] = {}
    if m["elastic"]:
        nodes = math.prod(elastic_nodes(height, width))
        normal = torch.randn(batch, 2, nodes, device=device, generator=generator)
        values["elastic"] = normal.mul_(m["elastic"])
    if m["cutout"]:
        x, y = (uniform(0, length, config.cutout_holes) for length in (width, height))
        largest = m["cutout"] * side
        sides = torch.full_like(x, largest) if config.cutout_fixed else uniform(0, largest, *x.shape[1:])
        values["cutout"] = torch.stack([x, y, sides], dim=2)
    for name, (centre, shape) in _AROUND.items():
        if m[name]:
            shape = (1,) if name == "zoom" and config.zoom_axes == "both" else shape
            values[name] = uniform(centre - m[name], centre + m[name], *shape)
    if m["zoom"]:
        factors = values["zoom"].reciprocal_() if config.zoom_of == "view" else values["zoom"]
        values["zoom"] = factors.expand(-1, 2)
    if m["gamma"]:
        values["gamma"].exp_()
    if m["grid_distortion"]:
        limit, steps = m["grid_distortion"], config.grid_steps
        edges = uniform(1 - limit, 1 + limit, 2, steps).cumsum(2)
        even = torch.arange(1, steps + 1, device=device) / steps
        # divided by their sum, so that the outermost lines stay where they are
        values["grid_distortion"] = torch.nn.functional.pad(edges / edges[:, :, -1:] - even, (1, 0))
    if m["crop"]:
        down, right = crop_margin(m["crop"], height, width)
        moves = [
            torch.randint(-r, r + 1, (batch,), device=device, generator=generator) for r in (right, down)
        ]
        values["crop"] = torch.stack(moves, dim=1).float()
    for name in ("hflip", "vflip"):
        if m[name]:
            values[name] = (uniform(0, 1) < m[name]) * -2.0 + 1
    for name in ("blur", "noise"):
        if m[name]:
            values[name] = uniform(0, m[name])
    if m["grid_mask"]:
        low, high = GRID_MASK_UNIT
        cells, largest = config.grid_mask_cells, m["grid_mask"]
        unit = uniform(low * side, high * side) if cells is None else uniform(side / cells, side / cells)
        x, y = uniform(0, 1), uniform(0, 1)
        covered = uniform(largest if config.grid_mask_fixed else 0, largest)
        values["grid_mask"] = torch.stack([unit, x * unit, y * unit, covered * unit], dim=1)
    return values


def _happens(config: Augment, names: list[str], batch: int, generator: torch.Generator) -> Tensor | None:
    """(batch, names) bool: which operations are applied to which sample; None is all to all."""
    device = generator.device
    shape = (batch, len(names))
    chances = [probability(config, name) for name in names]
    happens = None
    if min(chances) < 1:
        chance = torch.tensor(chances, device=device)
        happens = torch.rand(shape, device=device, generator=generator) < chance
    out = torch.zeros(shape, dtype=torch.bool, device=device)
    coins = None
    units = len(names)
    for group in config.groups.values():
        members = [i for i, name in enumerate(names) if name in group.of]
        if group.take == "one" and len(members) > 1:
            weights = torch.tensor([group.of[names[i]] for i in members], device=device)
            # the first of exponential variables with these rates is each with a probability by weight
            waits = torch.empty(batch, len(members), device=device).exponential_(generator=generator)
            winner = (waits / weights).argmin(1, keepdim=True)
            out[:, members] = torch.arange(len(members), device=device) != winner
            units -= len(members) - 1
            happens = ~out if happens is None else happens & ~out
        if members and group.p < 1:
            coins = torch.ones_like(out) if coins is None else coins
            coins[:, members] = torch.rand(batch, 1, device=device, generator=generator) < group.p
    depth = _depth(config, units, batch, generator)
    if depth is not None:
        # those with the smallest random keys; what its group has not taken has larger keys than all others
        keys = torch.rand(shape, device=device, generator=generator) + out
        taken = keys <= keys.sort(dim=1).values.gather(1, depth - 1)
        happens = taken if happens is None else happens & taken
    if coins is not None:
        happens = coins if happens is None else happens & coins
    return happens


def _depth(config: Augment, units: int, batch: int, generator: torch.Generator) -> Tensor | None:
    """(batch, 1): how many of the operations are chosen for each sample; None is all."""
    if config.randaugment_n:
        if config.randaugment_n >= units:
            return None
        return torch.full((batch, 1), config.randaugment_n, device=generator.device)
    if config.augmix:
        shape = (batch, 1)
        depth = torch.randint(1, AUGMIX_DEPTH + 1, shape, device=generator.device, generator=generator)
        return depth.clamp_(max=units)
    return None


def _mixing(batch: int, chains: int, generator: torch.Generator) -> Tensor:
    """(batch, 1 + chains): weights that add up to 1."""
    device = generator.device
    # exponential variables divided by their sum are a draw from the flat Dirichlet distribution
    parts = torch.empty(batch, chains, device=device).exponential_(generator=generator)
    m = torch.rand(batch, 1, device=device, generator=generator)
    return torch.cat([1 - m, m * parts / parts.sum(1, keepdim=True)], dim=1)
