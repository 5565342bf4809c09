"""What out-of-fold predictions decide: who may vote, by which rule, and whether a declared class balance helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tune_digits.config import Ensemble, TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.ensemble.balance import METHODS, rows_with_priors
from tune_digits.ensemble.out_of_fold import (
    FIT_SEED,
    OutOfFold,
    Votes,
    fitted,
    gain,
    mean_score,
    soft_votes,
    unfitted,
    votes_by,
    with_offsets,
)
from tune_digits.ensemble.vote import Ballot, Heads, cast, shifted
from tune_digits.ensemble.vote_fit import FITS
from tune_digits.errors import ConfigError, RunError
from tune_digits.stats.compare import Comparison

AHEAD = (
    1.0  # standard errors by which the vote without a member must be better for that member to be left out
)


# ── who may vote ─────────────────────────────────────────────────────────────────────────────────────


def left_out(seen: OutOfFold) -> dict[int, Comparison]:
    """Configurations (their places) that make the equal soft vote worse, in the order in which they go, with what the
    vote gains without them.

    The worst goes first, then the rest is judged anew; one always stays. A member may go on less evidence than a rule
    needs, since the next seed of another takes its place.
    """
    gone: dict[int, Comparison] = {}
    kept = list(range(len(seen.cells[0].proba)))
    while len(kept) > 1:
        votes = soft_votes(seen.only(kept))
        found = {
            place: gain(seen, soft_votes(seen.only([k for k in kept if k != place])), votes) for place in kept
        }
        worst = max(kept, key=lambda place: found[place].difference)
        if not found[worst].difference > AHEAD * found[worst].standard_error:
            break
        gone[worst] = found[worst]
        kept.remove(worst)
    return gone


def trainings_of(kept: int, top: int, seeds: int) -> list[int]:
    """How many trainings each of the `kept` configurations gets, the first ones more, where there are top * seeds.

    >>> trainings_of(3, 5, 1)
    [2, 2, 1]
    """
    return [top * seeds // kept + (place < top * seeds % kept) for place in range(kept)]


# ── by which rule ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Chosen:
    """ballot: of C configurations. why: in words. figures: what out-of-fold predictions say of the rules, for the
    report. votes: the out-of-fold votes of the ballot's rule, by cell; None without any."""

    ballot: Ballot
    why: str
    figures: list[dict[str, Any]]
    votes: Votes | None


def choose_rule(plan: Ensemble, seen: OutOfFold | None, count: int, families: tuple[int, ...]) -> Chosen:
    """The ballot of `count` configurations by `plan.vote`.

    auto: greedy where its cross-fitted score is told to be better than that of the equal soft vote, else soft. seen: of
    these configurations; None where they share no fold and seed. Raises RunError for a rule that learns and has nothing
    to learn from.
    """
    rule = plan.vote
    if rule in FITS and count > 1 and seen is None:
        raise RunError(
            f"--vote {rule} learns from out-of-fold predictions, and the members share no confirmed fold and seed; "
            "use --vote soft, hard, mixed or rank"
        )
    if count == 1 or seen is None:
        plain = "soft" if rule == "auto" or rule in FITS else rule
        why = "as it was asked for"
        if rule == "auto":
            why = "one configuration" if count == 1 else "the members share no confirmed fold and seed"
        elif plain != rule:
            why = f"there is one configuration, and {rule} has nothing to weigh"
        chosen = Chosen(unfitted(plain, count, families), why, [], None)
        return chosen if seen is None else replace(chosen, votes=votes_by(plain, seen, families))
    soft = soft_votes(seen)
    tried = "greedy" if rule == "auto" else rule
    votes = votes_by(tried, seen, families)
    figures = [{"rule": "soft", "score": mean_score(seen, soft)}]
    if votes is None:  # a single fold
        verdict, why = "cannot tell", f"with a single fold there are no other rows on which to judge {tried}"
    elif tried == "soft":
        verdict, why = "", "as it was asked for"
    else:
        found = gain(seen, votes, soft)
        verdict = found.verdict
        figures.append({"rule": tried, "score": mean_score(seen, votes), **in_figures(found)})
        why = f"out of fold {tried} against the equal soft vote: {in_words(found)}"
    if rule == "auto" and verdict != "better":
        return Chosen(unfitted("soft", count, families), why, figures, soft)
    everything = seen.seen()
    assert everything is not None, "all rows are there"
    ballot = fitted(tried, everything, seen.heads, seen.metric, families)
    return Chosen(
        ballot,
        why if rule == "auto" else "; ".join(dict.fromkeys(["as it was asked for", why])),
        figures,
        votes,
    )


def add_offsets(
    chosen: Chosen, seen: OutOfFold | None, families: tuple[int, ...]
) -> tuple[Chosen, dict[str, Any]]:
    """The choice with offsets of classes, where they are told to make the metric better, and figures for the report."""
    rule = chosen.ballot.rule
    votes = None if seen is None else votes_by(rule, seen, families, offsets=True)
    if seen is None or votes is None or chosen.votes is None:
        return chosen, {"used": False, "why": "there are not two confirmed folds that all members share"}
    found = gain(seen, votes, chosen.votes)
    used = found.verdict == "better"
    figures = {"used": used, "why": f"out of fold: {in_words(found)}", **in_figures(found)}
    if not used:
        return chosen, figures
    everything = seen.seen()
    assert everything is not None, "all rows are there"
    return replace(
        chosen, ballot=with_offsets(chosen.ballot, everything, seen.heads, seen.metric), votes=votes
    ), figures


# ── a declared class balance ─────────────────────────────────────────────────────────────────────────


def priors_of(declared: str | Mapping[str, float], targets: Sequence[Target]) -> np.ndarray:
    """The declared distribution float64 (K,) with the sum 1. Raises ConfigError where it does not fit the classes."""
    if len(targets) > 1:
        raise ConfigError(
            f"ensemble.class_balance is for one target, and there are {len(targets)}: "
            f"{', '.join(t.name for t in targets)}; leave it out"
        )
    classes = targets[0].classes
    if isinstance(declared, str):  # equal
        return np.full(len(classes), 1 / len(classes))
    if set(declared) != set(classes):
        odd = sorted(set(declared) ^ set(classes))[0]
        wrong = "no such class" if odd in declared else "has no prior"
        raise ConfigError(
            f"ensemble.class_balance: {odd!r} {wrong}; it must name every class: {', '.join(classes)}"
        )
    values = np.array([declared[name] for name in classes], np.float64)
    return np.asarray(values / values.sum())


def choose_balance(
    seen: OutOfFold | None, votes: Votes | None, priors: np.ndarray, frequencies: np.ndarray, forced: bool
) -> tuple[str | None, dict[str, Any]]:
    """Which of METHODS matches the vote to the declared distribution, None = none of them; figures for the report.

    Judged on out-of-fold rows, drawn so that they have the declared distribution. Used is the one that gains most,
    where that gain is told; forced: in any case. votes: of the ballot, by cell of `seen`.
    """
    found: dict[str, Comparison] = {}
    if seen is not None and votes is not None:
        drawn = [
            rows_with_priors(seen.labels[c.rows, 0], priors, np.random.default_rng([FIT_SEED, c.fold]))
            for c in seen.cells
        ]
        if all(len(rows) for rows in drawn):
            cells = [
                replace(c, rows=c.rows[rows], proba=c.proba[:, rows])
                for c, rows in zip(seen.cells, drawn, strict=True)
            ]
            part = replace(seen, cells=tuple(cells))
            before = [v[rows] for v, rows in zip(votes, drawn, strict=True)]
            for name, method in METHODS.items():
                after = [shifted(v, seen.heads, method(v, priors, frequencies)) for v in before]
                found[name] = gain(part, after, before)
    figures: dict[str, Any] = {name: in_figures(own) for name, own in found.items()}
    if not found:
        used = "sinkhorn" if forced else None
        return used, {
            "used": used,
            "why": "no out-of-fold rows have the declared distribution",
            "figures": {},
        }
    best = max(found, key=lambda name: found[name].difference)
    used = best if forced or found[best].verdict == "better" else None
    why = f"out of fold {best}: {in_words(found[best])}"
    return used, {"used": used, "why": why + (", forced" if forced else ""), "figures": figures}


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────


def in_words(found: Comparison) -> str:
    """A gain with its 95 % interval and what can be said of it."""
    if found.standard_error == 0:
        return "the same answers"
    # few trainings may leave an interval without bounds
    known = found.low > -1 and found.high < 1
    interval = f", 95 % [{found.low:+.4f}, {found.high:+.4f}]" if known else ""
    return f"{found.difference:+.4f}{interval}, {found.verdict}"


def in_figures(found: Comparison) -> dict[str, Any]:
    """The same for JSON: None in place of what is not known."""
    values = {
        "gain": found.difference,
        "gain_se": found.standard_error,
        "gain_low": found.low,
        "gain_high": found.high,
    }
    return {k: v if np.isfinite(v) else None for k, v in values.items()} | {"verdict": found.verdict}


def families_of(configs: Sequence[tuple[int, TrialConfig]]) -> tuple[int, ...]:
    """For each configuration the number of its family: of those with a network of the same name, from 0."""
    names = [config.model.name for _, config in configs]
    order = list(dict.fromkeys(names))
    return tuple(order.index(name) for name in names)


def matched(
    ballot: Ballot, heads: Heads, proba: np.ndarray, method: str, priors: np.ndarray, frequencies: np.ndarray
) -> Ballot:
    """The ballot with offsets that match its vote on these images to the declared distribution. proba: (M, N, K)."""
    before = np.array(ballot.offsets) if ballot.offsets else np.zeros(len(priors))
    offsets = METHODS[method](cast(proba, heads, ballot), priors, frequencies)
    return replace(ballot, offsets=tuple((before + offsets).tolist()))
