"""The configurations of a table: points of a Sobol sequence over a search space.

A Sobol sequence fills the space evenly, and is the same on every machine: the first 16 points stay where they are if
32 are asked for. As powers of two, the points are half in each half of every range (Sobol 1967).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import qmc

from tune_digits.config import TrialConfig
from tune_digits.space.domains import Label
from tune_digits.study import load_study

SPACE = Path(__file__).parent / "space.yaml"


def design(count: int, path: Path = SPACE) -> list[dict[str, Any]]:
    """`count` trees of TrialConfig, without the number of epochs. Raises ConfigError where the file cannot be used."""
    space = load_study(path).space
    points = qmc.Sobol(len(space.parameters()), seed=0).random(count)
    found = []
    for point in points.tolist():
        tree = TrialConfig.model_validate(space.suggest(_Point(iter(point)))).model_dump(mode="json")
        del tree["train"]["epochs"]
        found.append(tree)
    return found


def with_epochs(tree: dict[str, Any], epochs: int) -> TrialConfig:
    """The configuration of a tree, with a training and a schedule of so many epochs."""
    return TrialConfig.model_validate({**tree, "train": {**tree["train"], "epochs": epochs}})


class _Point:
    """Stands in for an Optuna trial: each value is the next coordinate, in 0..1, on its scale."""

    def __init__(self, coordinates: Iterator[float]) -> None:
        self._coordinates = coordinates

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        at = next(self._coordinates)
        if step is not None:
            return low + step * min(
                math.floor(at * (round((high - low) / step) + 1)), round((high - low) / step)
            )
        return low * (high / low) ** at if log else low + (high - low) * at

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        if log:
            raise NotImplementedError(
                f"{name}: whole numbers on a logarithmic scale have no place in a design"
            )
        steps = (high - low) // step
        return low + step * min(math.floor(next(self._coordinates) * (steps + 1)), steps)

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        return choices[min(math.floor(next(self._coordinates) * len(choices)), len(choices) - 1)]
