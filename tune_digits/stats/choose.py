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
# standard errors by which another must be ahead of the baseline, and a searched configuration of a start point, to be
# chosen in its place; docs/trust.md has what follows from 1 to 2 of them
AHEAD = 1.5


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

    Those stay that `compare` cannot tell from the best, then those whose worst tenth of the groups (groups given) a
    paired bootstrap over groups cannot tell from the best one, then those whose out-of-domain scores a paired t cannot
    tell from the best. Where one of these three tells its best from the baseline, only those stay that it tells from
    the baseline, too: nothing is chosen that might be no better than it. By the prior the baseline is chosen unless
    another is ahead of it by 1.5 standard errors of the difference, and a start point unless a searched configuration
    is. Of the rest the best shrunk mean decides, and of equal ones, where all of the spread is noise, the cost. The
    rule that decides is the one that leaves one.

    groups: int64 (rows of the training set,) or None. weights: float64 (rows of the training set,), the most that a row
    can add to a score of the whole; None = all rows alike. Raises ValueError where a configuration shares no fold and
    seed with the best.
    """
    table = candidates(outcomes, groups, noise)
    means = dict(zip(table.names, shrunk(table.means, table.errors).means.tolist(), strict=True))
    seen = dict(zip(table.names, table.means.tolist(), strict=True))
    # where all of the spread is noise the shrunk means are one
    order = sorted(means, key=lambda name: (means[name], seen[name]), reverse=True)
    default = next((name for name in order if facts[name].role == "baseline"), None)

    def told(a: Hashable, b: Hashable) -> bool:
        return compare(outcomes[a], outcomes[b], groups, noise).verdict == "better"

    def ahead(a: Hashable, b: Hashable) -> float:
        seen = compare(outcomes[a], outcomes[b], groups, noise)
        return seen.difference / seen.standard_error

    tied = _narrowed(order, order[0], default, told)
    if len(tied) == 1:
        words = "it has the best score, and no other can be chosen in its place"
        return Choice(tied[0], "score", words, tuple(tied))
    rules: dict[Rule, Callable[[list[Hashable]], list[Hashable]]] = {}
    if groups is not None:
        rules["worst groups"] = lambda left: _by_worst_groups(outcomes, left, default, groups, weights, rng)
    if all(facts[name].out_of_domain is not None for name in tied):
        rules["out of domain"] = lambda left: _by_out_of_domain(facts, left, default)
    rules["prior"] = lambda left: _by_prior(facts, left, ahead)
    rules["score"] = lambda left: [
        name for name in left if np.isclose(means[name], means[left[0]], rtol=1e-9)
    ]
    rules["cost"] = lambda left: [min(left, key=lambda name: facts[name].cost)]
    left, narrowed = tied, []
    for rule, keep in rules.items():
        remaining = keep(left)
        if len(remaining) < len(left):
            narrowed.append(f"{WORDS[rule]} left {len(remaining)}")
        left = remaining
        if len(left) == 1:
            break
    words = f"{len(tied)} configurations cannot be told from the best score; {'; '.join(narrowed)}"
    return Choice(left[0], rule, words, tuple(tied))


WORDS: dict[Rule, str] = {
    "worst groups": "the worst tenth of the groups",
    "out of domain": "the out-of-domain score",
    "prior": "the prior (baseline, then start points, unless another is ahead by 1.5 standard errors)",
    "score": "the best mean",
    "cost": "the cost of a training",
}


def _narrowed(
    left: list[Hashable],
    best: Hashable,
    default: Hashable | None,
    told: Callable[[Hashable, Hashable], bool],
) -> list[Hashable]:
    """The best, and those that it is not told from; where it is told from the baseline, only those that are, too.

    told(a, b): whether a is told to be better than b.
    """
    kept = [name for name in left if name == best or not told(best, name)]
    if default in left and default not in kept:
        kept = [name for name in kept if name == best or told(name, default)]
    return kept


def _by_prior(
    facts: Mapping[Hashable, Facts], left: list[Hashable], ahead: Callable[[Hashable, Hashable], float]
) -> list[Hashable]:
    """left: best mean first. ahead(a, b): standard errors by which a is better than b."""
    for role in PRIOR[:-1]:
        favourite = next((name for name in left if facts[name].role == role), None)
        if favourite is None:
            continue
        behind = PRIOR[PRIOR.index(role) + 1 :]
        left = [name for name in left if facts[name].role in behind and ahead(name, favourite) >= AHEAD]
        if not left:
            return [favourite]
    return left


def _by_out_of_domain(
    facts: Mapping[Hashable, Facts], left: list[Hashable], default: Hashable | None
) -> list[Hashable]:
    scores = {name: np.asarray(facts[name].out_of_domain) for name in left}

    def told(a: Hashable, b: Hashable) -> bool:
        pairs = min(len(scores[a]), len(scores[b]))
        return paired_t(scores[a][:pairs] - scores[b][:pairs]).verdict == "better"

    return _narrowed(left, max(left, key=lambda name: float(scores[name].mean())), default, told)


def _by_worst_groups(
    outcomes: Outcomes,
    left: list[Hashable],
    default: Hashable | None,
    groups: np.ndarray,
    weights: np.ndarray | None,
    rng: np.random.Generator,
) -> list[Hashable]:
    """Told is what is better in 97.5 % of 2,000 resamples of the groups; more for several rivals (Bonferroni).

    Without a fold and seed that all have, all stay.
    """
    shared = set.intersection(*({(t.fold, t.seed) for t in outcomes[name]} for name in left))
    if not shared:
        return left
    scores = {name: _by_group(outcomes, name, shared, groups, weights) for name in left}
    count = len(scores[left[0]])
    tenth = max(-(-count // 10), 1)
    drawn = rng.integers(0, count, (2000, count))
    worst = {
        name: np.partition(own[drawn], tenth - 1, axis=1)[:, :tenth].mean(1) for name, own in scores.items()
    }
    level = 1 - 0.025 / (len(left) - 1)

    def told(a: Hashable, b: Hashable) -> bool:
        return float(np.mean(worst[a] > worst[b])) >= level

    def seen(name: Hashable) -> float:
        return worst_tenth(scores[name], np.ones(count), np.arange(count))

    return _narrowed(left, max(left, key=seen), default, told)


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
