"""Which configuration is sent in, and why that one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tune_digits.stats.compare import compare, paired_t
from tune_digits.stats.noise import Noise
from tune_digits.stats.outcomes import Outcomes
from tune_digits.stats.selection import candidates, shrunk
from tune_digits.stats.worst import worst_tenth

Role = Literal["baseline", "start", "search"]
Rule = Literal["score", "worst groups", "out of domain", "prior", "cost"]
PRIOR: tuple[Role, ...] = ("baseline", "start", "search")


@dataclass(frozen=True, slots=True)
class Facts:
    """What else is known of a configuration. role: the prior, baseline before start before search; cost: seconds per
    training; out_of_domain: float64 (k,), the score of each training on sets from elsewhere, in the same order of folds
    and seeds for all configurations; None without such a set. k may differ where trainings are missing."""

    role: Role
    cost: float
    out_of_domain: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """name: of the configuration chosen; rule: which decided; words: a sentence for the user; tied: all that could not
    be told from the best score, best shrunk mean first."""

    name: Hashable
    rule: Rule
    words: str
    tied: tuple[Hashable, ...]


def choose(
    outcomes: Outcomes,
    facts: Mapping[Hashable, Facts],
    groups: np.ndarray | None,
    noise: Noise,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> Choice:
    """The best by shrunk means; what cannot be told from it is narrowed down by one rule after the other.

    Those stay that `compare` cannot tell from the best (where the best is told to be better than the baseline, only
    those that are, too), then those whose worst tenth of the groups (groups given)
    cannot be told from the best one by a paired bootstrap over groups, then those whose out-of-domain scores a paired t
    cannot tell from the best, then the first by prior, then the cheapest. The rule that decides is the one that
    leaves one. groups: int64 (rows of the training set,) or None. weights: float64 (rows of the training set,), the
    most that a row can add to a score of the whole; None = all rows alike.
    """
    table = candidates(outcomes, groups, noise)
    means = dict(zip(table.names, shrunk(table.means, table.errors).means.tolist(), strict=True))
    order = sorted(means, key=lambda name: means[name], reverse=True)
    best = order[0]
    tied = [best] + [c for c in order[1:] if _beside(outcomes, best, c, groups, noise)]
    default = next((name for name in order if facts[name].role == "baseline"), None)
    if default is not None and default not in tied:
        tied = [best] + [c for c in tied[1:] if not _beside(outcomes, c, default, groups, noise)]
    if len(tied) == 1:
        return Choice(
            best, "score", f"{best} has the best score, and all others are told apart from it", (best,)
        )
    rules: dict[Rule, Callable[[list[Hashable]], list[Hashable]]] = {}
    if groups is not None:
        rules["worst groups"] = lambda left: _by_worst_groups(outcomes, left, groups, weights, rng)
    if all(facts[name].out_of_domain is not None for name in tied):
        rules["out of domain"] = lambda left: _by_out_of_domain(facts, left)
    rules["prior"] = lambda left: _first(left, lambda name: PRIOR.index(facts[name].role))
    rules["cost"] = lambda left: _first(left, lambda name: facts[name].cost)[:1]
    left, narrowed = tied, []
    for rule, keep in rules.items():
        remaining = keep(left)
        if len(remaining) < len(left):
            narrowed.append(f"{WORDS[rule]} left {len(remaining)}")
        left = remaining
        if len(left) == 1:
            break
    words = f"{len(tied)} cannot be told from the best score; {'; '.join(narrowed)}: {left[0]}"
    return Choice(left[0], rule, words, tuple(tied))


WORDS: dict[Rule, str] = {
    "worst groups": "the worst tenth of the groups",
    "out of domain": "the out-of-domain score",
    "prior": "the prior (baseline, then start points)",
    "cost": "the cost of a training",
}


def _beside(
    outcomes: Outcomes, best: Hashable, other: Hashable, groups: np.ndarray | None, noise: Noise
) -> bool:
    """Whether the other cannot be told from the best; a race may have left them no fold in common."""
    cells = [{(t.fold, t.seed) for t in outcomes[name]} for name in (best, other)]
    if not cells[0] & cells[1]:
        return False
    return compare(outcomes[best], outcomes[other], groups, noise).verdict != "better"


def _first(left: list[Hashable], key: Callable[[Hashable], float]) -> list[Hashable]:
    least = min(key(name) for name in left)
    return [name for name in left if key(name) == least]


def _by_out_of_domain(facts: Mapping[Hashable, Facts], left: list[Hashable]) -> list[Hashable]:
    scores = {name: np.asarray(facts[name].out_of_domain) for name in left}
    best = max(left, key=lambda name: float(scores[name].mean()))
    pairs = {name: min(len(scores[name]), len(scores[best])) for name in left}
    return [
        name
        for name in left
        if name == best
        or paired_t(scores[best][: pairs[name]] - scores[name][: pairs[name]]).verdict != "better"
    ]


def _by_worst_groups(
    outcomes: Outcomes,
    left: list[Hashable],
    groups: np.ndarray,
    weights: np.ndarray | None,
    rng: np.random.Generator,
) -> list[Hashable]:
    """Those whose worst tenth is not below the best one's in 97.5 % of 1,000 resamples of the groups."""
    shared = set.intersection(*({(t.fold, t.seed) for t in outcomes[name]} for name in left))
    if not shared:
        return left
    scores = np.stack([_by_group(outcomes, name, shared, groups, weights) for name in left])
    worst = [worst_tenth(own, np.ones(len(own)), np.arange(len(own))) for own in scores]
    tenth = max(-(-scores.shape[1] // 10), 1)
    drawn = rng.integers(0, scores.shape[1], (1000, scores.shape[1]))
    resampled = np.stack([np.partition(own[drawn], tenth - 1, axis=1)[:, :tenth].mean(1) for own in scores])
    best = int(np.argmax(worst))
    below = (resampled < resampled[best]).mean(1)
    return [name for place, name in enumerate(left) if below[place] < 0.975]


def _by_group(
    outcomes: Outcomes,
    name: Hashable,
    shared: set[tuple[int, int]],
    groups: np.ndarray,
    weights: np.ndarray | None,
) -> np.ndarray:
    """The score of each validated group, float64 (groups,), over the trainings that all have."""
    own = [t for t in outcomes[name] if (t.fold, t.seed) in shared]
    rows = np.concatenate([t.rows for t in own])
    most = np.concatenate(
        [np.full(len(t.rows), 1 / len(t.rows)) if weights is None else _whole(weights[t.rows]) for t in own]
    )
    _, inverse = np.unique(groups[rows], return_inverse=True)
    added = np.bincount(inverse, np.concatenate([t.contributions for t in own]))
    return np.asarray(added / np.bincount(inverse, most))


def _whole(weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights / weights.sum())
