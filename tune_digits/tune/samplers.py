"""What proposes configurations: Optuna's samplers by name, and around each a guard against repetitions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseGASampler, BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from tune_digits.config import Search, TrialConfig
from tune_digits.errors import RunError
from tune_digits.space.domains import Label
from tune_digits.space.space import Space, config_key
from tune_digits.space.tree import OneOf

EXHAUSTED = "no configuration is left that has not been tried; search a larger space"
REDRAWS = 10  # how often a sampler that repeats itself is asked once more
# a Gaussian process that has learnt nothing new proposes the same once more, after seconds
REDRAWS_OF = {"gp": 1}
RANDOM_DRAWS = 1000  # how often, after that, a configuration is drawn at random


def tpe(search: Search, space: Space, seed: int) -> BaseSampler:
    """Tree-structured Parzen Estimator, after `startup_trials` random trials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=search.startup_trials,
            multivariate=True,
            # parameters of different branches are never seen together, so each branch has its own model
            group=any(isinstance(node, OneOf) for node in space.parameters().values()),
            # trials in flight count as bad ones, so that those proposed meanwhile lie elsewhere
            constant_liar=True,
        )


def random(search: Search, space: Space, seed: int) -> BaseSampler:
    """Every parameter by itself, whatever the results are."""
    return RandomSampler(seed=seed)


def gp(search: Search, space: Space, seed: int) -> BaseSampler:
    """Gaussian process, after `startup_trials` random trials that trained to their end."""
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=search.startup_trials)


def cmaes(search: Search, space: Space, seed: int) -> BaseSampler:
    """Covariance matrix adaptation, after `startup_trials` random trials that trained to their end."""
    return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=search.startup_trials)


def qmc(search: Search, space: Space, seed: int) -> BaseSampler:
    """A scrambled Sobol sequence: that of the study's own seed, so that a resumed search goes on with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.QMCSampler(
            seed=search.seed, scramble=True, independent_sampler=RandomSampler(seed=seed)
        )


def grid(search: Search, space: Space, seed: int) -> BaseSampler:
    """Every configuration of a finite space, in the order of the file. The seed changes nothing."""
    return GridSampler(space)


def nsga2(search: Search, space: Space, seed: int) -> BaseSampler:
    """Genetic algorithm for two objectives, of generations of `startup_trials`."""
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=search.startup_trials)


# the names that `search.sampler` may have
SAMPLERS: dict[str, Callable[[Search, Space, int], BaseSampler]] = {
    "tpe": tpe,
    "random": random,
    "gp": gp,
    "cmaes": cmaes,
    "qmc": qmc,
    "grid": grid,
    "nsga2": nsga2,
}


def tried(study: optuna.Study) -> set[str]:
    """The keys (`config_key`) of all configurations that trials of the study have, failed ones included."""
    trials = study.get_trials(deepcopy=False)
    return {_key_of(t.user_attrs["config"]) for t in trials if "config" in t.user_attrs}


@cache
def _key_of(text: str) -> str:
    return config_key(TrialConfig.model_validate_json(text))


class GridSampler(BaseSampler):
    """The first configuration that no trial of the study has. Optuna's own grid is for spaces without branches."""

    def __init__(self, space: Space) -> None:
        self._left = space.configurations()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        taken = tried(study)
        return next((params for params, config in self._left if config_key(config) not in taken), {})

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise RunError(EXHAUSTED)


class DistinctSampler(BaseSampler):
    """Proposes what `inner` does, but no configuration that a trial of the study already has.

    Baseline and start points come first. A proposal that was there before is drawn again: by `inner`, then at random,
    and from a finite space at last the first configuration that is left. Configurations are compared as a whole, as
    TrialConfig has them; those of the trials are the user attribute `config`, which the caller sets when a trial has
    been asked for, and before the next one is.
    """

    def __init__(self, inner: BaseSampler, space: Space, seed: int, redraws: int = REDRAWS) -> None:
        self._inner = inner
        self._space = space
        self._redraws = redraws
        self._random = RandomSampler(seed=seed)
        self._first = [space.point(point)[0] for point in (space.baseline, *space.start)]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters, those of all branches included: `sample_relative` decides them at once."""
        draw = _Draw({}, lambda name, distribution: _first_value(distribution))
        for name, node in self._space.parameters().items():
            if isinstance(node, OneOf):
                draw.suggest_categorical(name, node.labels)
            else:
                node.suggest(draw, name)
        return draw.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a configuration that no trial has. Raises RunError where there is none left."""
        if trial.params:  # one that an interrupted run left behind has its configuration
            return {}
        taken = tried(study)

        def independent(sampler: BaseSampler) -> Callable[[str, BaseDistribution], Any]:
            return lambda name, distribution: sampler.sample_independent(study, trial, name, distribution)

        def new(draw: _Draw) -> bool:
            return config_key(TrialConfig.model_validate(self._space.suggest(draw))) not in taken

        for params in self._first:
            draw = _Draw(params, independent(self._random))
            if new(draw):
                if isinstance(self._inner, BaseGASampler):
                    self._inner.get_trial_generation(study, trial)  # makes it one of the first generation
                return draw.params
        for _ in range(self._redraws):
            space = self._inner.infer_relative_search_space(study, trial)
            draw = _Draw(self._inner.sample_relative(study, trial, space), independent(self._inner))
            if new(draw):
                return draw.params
        for _ in range(RANDOM_DRAWS):
            draw = _Draw({}, independent(self._random))
            if new(draw):
                return draw.params
        if self._space.size is not None:
            for params, config in self._space.configurations():
                if config_key(config) not in taken:
                    return params
        raise RunError(EXHAUSTED)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)


def _first_value(distribution: BaseDistribution) -> Any:
    """A value of a distribution: the lowest, or the first of its choices."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    return distribution.low


class _Draw:
    """Stands in for an Optuna trial: a value is the one in `known`, or else drawn; the study hears nothing of it."""

    def __init__(self, known: Mapping[str, Any], draw: Callable[[str, BaseDistribution], Any]) -> None:
        self._known = known
        self._draw = draw
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._value(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._value(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        label: Label = self._value(name, CategoricalDistribution(choices))
        return label

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        self.distributions[name] = distribution
        if name in self._known:
            value = self._known[name]
        elif distribution.single():  # which samplers leave out
            value = _first_value(distribution)
        else:
            value = self._draw(name, distribution)
        self.params[name] = value
        return value
