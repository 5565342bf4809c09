"""The answer of a confirmed search: which configuration to send in, why that one, and what its score is really."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tune_digits.errors import RunError
from tune_digits.runs import FoldResult, Run, TrialRecord
from tune_digits.stats.choose import PRIOR, Facts, Role, choose
from tune_digits.stats.compare import paired_t
from tune_digits.stats.noise import training_noise
from tune_digits.stats.selection import adjusted_means, corrected_score
from tune_digits.tune.leaderboard import Judges


@dataclass(frozen=True, slots=True)
class Answer:
    """trial: the number of the configuration to send in; rule: what decided, words: the same in a sentence.

    tied: the trials that could not be told from the best score, best first, the best included. among: confirmed
    configurations. measured: the confirmed score of `trial`; corrected, low, high: what it scores when it is trained
    anew and judged on other images, with a 95 % interval, each None where the metric is no sum over images.
    """

    trial: int
    rule: str
    words: str
    tied: tuple[int, ...]
    among: int
    measured: float
    corrected: float | None
    low: float | None
    high: float | None


def find_answer(
    records: Sequence[TrialRecord], results: Sequence[FoldResult], judges: Judges, rng: np.random.Generator
) -> Answer:
    """The answer of the confirmed trials: `stats.choose` and `stats.corrected_score`.

    results: one confirming training at least, of `records`. For macro F1, which is no sum over images, it is the best
    confirmed mean, and tied is what a paired t-test over folds and seeds does not tell from it.
    """
    by_trial: dict[int, list[FoldResult]] = defaultdict(list)
    for result in sorted(results, key=lambda r: (r.fold, r.seed)):
        by_trial[result.trial].append(result)
    confirmed = {r.number: r for r in records if r.number in by_trial}
    means = adjusted_means({t: {(r.fold, r.seed): r.score for r in by_trial[t]} for t in confirmed})
    outcomes = judges.outcomes([r for trial in confirmed for r in by_trial[trial]])
    if outcomes is None:
        return _by_mean(by_trial, means)
    noise = training_noise(outcomes, judges.groups)
    facts: dict[Hashable, Facts] = {
        trial: Facts(
            _role(record.role),
            float(np.mean([r.seconds for r in by_trial[trial]])),
            _out_of_domain(by_trial[trial]),
        )
        for trial, record in confirmed.items()
    }
    choice = choose(outcomes, facts, judges.groups, noise, rng, judges.weights())
    chosen = int(str(choice.name))
    seen = corrected_score(outcomes, judges.groups, noise, chosen)
    tied = tuple(int(str(name)) for name in choice.tied)
    return Answer(
        chosen,
        choice.rule,
        choice.words,
        tied,
        len(confirmed),
        means[chosen],
        seen.score,
        seen.low,
        seen.high,
    )


def _by_mean(by_trial: dict[int, list[FoldResult]], means: dict[int, float]) -> Answer:
    order = sorted(means, key=lambda trial: (-means[trial], trial))
    scores = {trial: {(r.fold, r.seed): r.score for r in by_trial[trial]} for trial in order}
    best = order[0]

    def told(trial: int) -> bool:
        shared = scores[best].keys() & scores[trial].keys()
        differences = np.array([scores[best][key] - scores[trial][key] for key in sorted(shared)])
        return bool(shared) and paired_t(differences).verdict == "better"

    tied = tuple(trial for trial in order if trial == best or not told(trial))
    words = "it has the best confirmed score; macro F1 is not corrected for the choice"
    return Answer(best, "score", words, tied, len(order), means[best], None, None, None)


def _role(role: str) -> Role:
    return next(known for known in PRIOR if known == role)


def _out_of_domain(results: Sequence[FoldResult]) -> np.ndarray | None:
    scores = [float(np.mean(list(r.holdout_scores.values()))) for r in results if r.holdout_scores]
    return np.array(scores) if scores else None


def write_answer(run: Run, answer: Answer) -> None:
    run.write_answer(asdict(answer))


def read_answer(run: Run) -> Answer:
    """Raises RunError where the run has none yet."""
    raw: dict[str, Any] | None = run.answer()
    if raw is None:
        raise RunError(
            f"{run.path}: no answer.json yet; finish the search with: tune-digits search --resume {run.path}"
        )
    try:
        return Answer(**{**raw, "tied": tuple(raw["tied"])})
    except (TypeError, KeyError) as error:
        raise RunError(f"{run.path}: answer.json is damaged ({error}); --resume writes it again") from None


def in_words(answer: Answer) -> list[str]:
    """The answer for the screen: what to send in and why, and the score corrected for the choice."""
    lines = [f"send in: trial {answer.trial}; {answer.words}"]
    if answer.corrected is not None and answer.low is not None and answer.high is not None:
        lines.append(
            f"its score, corrected for having been chosen from {answer.among}: {answer.corrected:.4f}, 95 % interval "
            f"{answer.low:.4f} to {answer.high:.4f} (as measured: {answer.measured:.4f})"
        )
    return lines
