"""The files that a configuration names, by their content: initial weights, and what a teacher says."""

from __future__ import annotations

from typing import Any

from tune_digits.config import TrialConfig
from tune_digits.config.given import SameFolds
from tune_digits.tune.initial_weights import initial_weights_digest
from tune_digits.tune.teacher import teacher_digest


def digests_of_given_files(config: TrialConfig) -> dict[str, str]:
    """Path -> hash of what is read from it; empty where the configuration names none."""
    found: dict[str, str] = {}
    start = config.model.init_from or config.model.weights
    weights = initial_weights_digest(config.model)
    if start is not None and weights is not None:
        found[given_path(start)] = weights
    if config.loss.teacher is not None and config.loss.teacher_weight > 0:
        found[given_path(config.loss.teacher)] = teacher_digest(config.loss.teacher)
    return found


def given_path(given: str | SameFolds) -> str:
    return given.run if isinstance(given, SameFolds) else given


def by_content(config: TrialConfig) -> dict[str, Any]:
    """The configuration's tree, with the hash of its content in place of each given file's name."""
    contents = digests_of_given_files(config)
    tree: dict[str, Any] = config.model_dump(mode="json")
    for part, key in (("model", "init_from"), ("model", "weights"), ("loss", "teacher")):
        given = getattr(getattr(config, part), key)
        tree[part][key] = None if given is None else contents.get(given_path(given))
    return tree
