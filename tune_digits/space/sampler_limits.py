"""What a sampler can do with a space: refused, or said, when the study is read."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from tune_digits.config import Search
from tune_digits.errors import ConfigError
from tune_digits.space.domains import Range
from tune_digits.space.space import Space
from tune_digits.space.tree import OneOf, Parameter, parameters

GRID_LIMIT = 10_000  # points of a grid that are counted, and trained where no flag says how many
MODELLED = ("gp", "cmaes", "qmc", "nsga2")  # samplers that propose the same parameters every time


def fit_sampler(search: Search, space: Space, trials_given: bool, place: str) -> tuple[Search, list[str]]:
    """The search as its sampler can do it on this space, and what there is to say of it, a line each.

    place: what messages begin with. Raises ConfigError where the sampler cannot search this space.
    """
    if search.sampler == "grid":
        return _fit_grid(search, space, trials_given, place)
    if search.sampler == "cmaes":
        _check_cmaes(space, place)
    if search.sampler not in MODELLED:
        return search, []
    said = []
    if of_branches := _keys(p for p in _searched(space) if not _always_there(p, space, search.sampler)):
        said.append(
            f"{search.sampler}: drawn at random, since only some configurations have them: {of_branches}"
        )
    if search.sampler == "cmaes" and (choices := _keys(p for p in _searched(space) if not _is_number(p))):
        said.append(f"cmaes: drawn at random, since they are choices and not numbers: {choices}")
    return search, said


def _fit_grid(search: Search, space: Space, trials_given: bool, place: str) -> tuple[Search, list[str]]:
    """Where no number of trials is given, it is that of all configurations.

    Raises ConfigError for a space that is not finite, too large to be gone through, or not valid at each of its points.
    """
    if endless := space.continuous():
        keys = ", ".join(f"{key} ({domain})" for key, domain in endless.items())
        raise ConfigError(
            f"{place}: grid goes through every point of a space, but these keys are continuous: {keys}. Give them a "
            "choice or a domain with steps, or leave sampler at tpe"
        )
    size = space.size or 0
    if size > GRID_LIMIT and not trials_given:
        raise ConfigError(
            f"{place}: the grid has {size:,} points; say with --trials (search.trials) how many of them to train"
        )
    trials = search.trials
    if size > GRID_LIMIT:
        return search, [f"grid: the first {trials:,} of {size:,} points"]
    count = sum(1 for _ in space.configurations())
    if not trials_given:
        return search.model_copy(update={"trials": count}), [f"grid: {count:,} points, each trained once"]
    if trials < count:
        return search, [f"grid: the first {trials:,} of {count:,} points"]
    return search, [f"grid: {count:,} points, each trained once"]


def _check_cmaes(space: Space, place: str) -> None:
    if find_spec("cmaes") is None:
        raise ConfigError(
            f"{place}: cmaes needs a package that is not installed: pip install 'tune_digits[cmaes]'"
        )
    if not any(_is_number(p) and _always_there(p, space, "cmaes") for p in _searched(space)):
        raise ConfigError(
            f"{place}: cmaes moves a distribution of numbers, but no number is searched in every configuration of this "
            f"space (searched: {_keys(_searched(space)) or 'nothing'}). Use another sampler, such as tpe"
        )


def _searched(space: Space) -> Iterator[Parameter]:
    """The parameters that can take more than one value."""
    for p in parameters(space.tree):
        if (len(p.node.labels) if isinstance(p.node, OneOf) else p.node.size) != 1:
            yield p


def _always_there(p: Parameter, space: Space, sampler: str) -> bool:
    """Whether the sampler has a model of it: it is in every branch, or, for qmc, in those of the baseline."""
    if sampler == "qmc":
        return p.name in space.point(space.baseline)[0]
    nodes = space.parameters()
    branchings = [nodes[name] for name in p.inside]
    return all(isinstance(node, OneOf) and len(node.labels) == 1 for node in branchings)


def _is_number(p: Parameter) -> bool:
    return isinstance(p.node, Range)


def _keys(found: Iterator[Parameter]) -> str:
    return ", ".join(dict.fromkeys(p.key for p in found))
