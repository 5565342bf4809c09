"""What the page says in words and numbers, computed from a run's material. Nothing here draws."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tune_digits.report.material import Material
from tune_digits.runs import OVER
from tune_digits.screen import clock
from tune_digits.stats.compare import MANY_TRAININGS
from tune_digits.stats.ranks import spearman_interval
from tune_digits.tune.search import rank

Command = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: a sentence, and the command that does it ('' = none)."""

    words: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """The answer. figures: (name, value, its interval or '') of the few numbers that matter; why, helped, unknown:
    sentences."""

    title: str
    figures: tuple[tuple[str, str, str], ...]
    why: tuple[str, ...]
    helped: tuple[str, ...]
    unknown: tuple[str, ...]
    steps: tuple[Step, ...]


def headline(m: Material, command: Command) -> Headline:
    over = sum(r.state in OVER for r in m.records)
    wanted = m.study.search.trials
    if m.answer is None:
        return _unfinished(m, command, over, wanted)
    answer, metric = m.answer, m.metric
    figures = []
    if answer.corrected is not None and answer.low is not None and answer.high is not None:
        interval = between(answer.low, answer.high)
        figures.append((f"{metric}, corrected for the choice", f"{answer.corrected:.4f}", interval))
    figures.append((f"{metric} as measured", f"{answer.measured:.4f}", ""))
    figures.append(("configurations confirmed", str(answer.among), ""))
    test = _test_score(m)
    if test is not None:
        figures.append((f"{metric} of the ensemble on the labelled test images", f"{test:.4f}", ""))
    if m.final:
        last = m.final[-1]
        interval = "" if last["low"] is None else between(last["low"], last["high"])
        figures.append((f"{metric} of the ensemble on the untouched rows", f"{last['score']:.4f}", interval))
    role = m.by_number[answer.trial].role
    named = {"baseline": ", the baseline", "start": ", a start point"}.get(role, "")
    return Headline(
        f"Send in trial {answer.trial}{named}",
        tuple(figures),
        (sentence(answer.words),),
        tuple(_helped(m)),
        tuple(_unknown(m)),
        tuple(_steps(m, command)),
    )


def _unfinished(m: Material, command: Command, over: int, wanted: int) -> Headline:
    ranked = rank(m.records)
    figures = [("trials over", f"{over} of {wanted}", ""), ("confirming trainings", str(len(m.results)), "")]
    why = ["The search has not been confirmed yet. The score of one fold is no reason to choose: the best of many "
           "looks better than it is."]  # fmt: skip
    if ranked:
        best = ranked[0]
        figures.append((f"best {m.metric} on one fold", f"{best.score:.4f}", f"trial {best.number}"))
    resume = f"{command('search')} --resume {shlex.quote(str(m.run.path))}"
    steps = (Step("If the search is not running any more, go on with it:", resume),)
    return Headline("Nothing to send in yet", tuple(figures), tuple(why), (), (), steps)


def between(low: float, high: float) -> str:
    return f"95 % interval {low:.4f} to {high:.4f}"


def sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def _test_score(m: Material) -> float | None:
    if m.ensemble is None:
        return None
    score = m.ensemble["rounds"][-1]["sets"].get("test", {}).get("score")
    return None if score is None else float(score)


def gain_in_words(row: Mapping[Any, Any]) -> str:
    """'+0.0042 (-0.0018 to +0.0101)' with the difference to the baseline and its interval; '' without one."""
    if math.isnan(row["gain"]):
        return ""
    if not math.isfinite(row["gain_low"]):
        return f"{row['gain']:+.4f} (no interval: too few trainings)"
    return f"{row['gain']:+.4f} ({row['gain_low']:+.4f} to {row['gain_high']:+.4f})"


def plus_minus(mean: float, error: float) -> str:
    """A mean with its standard error, where there is one."""
    return f"{mean:.4f}" if math.isnan(error) else f"{mean:.4f} ± {error:.4f}"


def _helped(m: Material) -> list[str]:
    """What was told: trials against the baseline, and tricks."""
    said = []
    if m.board is not None:
        for verdict in ("better", "worse"):
            rows = m.board[m.board["verdict"] == verdict].to_dict("records")
            if rows:
                named = "; ".join(f"trial {r['trial']} by {gain_in_words(r)}" for r in rows[:5])
                more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
                said.append(f"{verdict.capitalize()} than the baseline: {named}{more}.")
        if not said:
            said.append("No configuration was told from the baseline.")
    if m.ablation is not None:
        for verdict in ("helps", "hurts"):
            rows = m.ablation[m.ablation["verdict"] == verdict].to_dict("records")
            if rows:
                named = ", ".join(f"{r['trick']} ({r['difference']:+.4f})" for r in rows)
                said.append(f"A trick that {verdict}: {named}.")
    return said


def _unknown(m: Material) -> list[str]:
    """What could not be told, and what would tell it."""
    said = []
    if m.answer is not None and len(m.answer.tied) > 1:
        trials = ", ".join(map(str, m.answer.tied))
        said.append(f"Trials {trials} cannot be told from the best score. Any of them may be the best.")
    if m.board is not None:
        rows = m.board[m.board["verdict"] == "cannot tell"]
        near = rows[rows["more_trainings"] <= MANY_TRAININGS]
        if len(near):
            first = near.to_dict("records")[0]
            said.append(
                f"{len(rows)} of {len(m.board) - 1} configurations cannot be told from the baseline. About "
                f"{first['more_trainings']:.0f} more trainings of each of the two would tell trial {first['trial']} "
                f"from it, if the gain is as large as it looks."
            )
        elif len(rows):
            said.append(
                f"{len(rows)} of {len(m.board) - 1} configurations cannot be told from the baseline, and more "
                "trainings would not help: the images are too few, or the difference too small."
            )
        if (words := rank_in_words(m.board)) is not None:
            said.append(words)
    if m.ablation is not None:
        rows = m.ablation[m.ablation["verdict"] == "cannot tell"]
        if len(rows):
            said.append(
                f"It cannot be told whether these tricks help: {', '.join(rows['trick'].astype(str))}."
            )
    return said


def rank_in_words(board: pd.DataFrame) -> str | None:
    """What the order of the search was worth; None for fewer than four configurations or equal scores."""
    known = board.dropna(subset=["search_score"])
    if len(known) < 4:
        return None
    x, y = known["search_score"].to_numpy(), known["confirmed"].to_numpy()
    seen = spearman_interval(x, y, np.random.default_rng(0))
    if math.isnan(seen.rho):
        return None
    said = (
        f"Rank correlation of search and confirmed scores: {seen.rho:+.2f} (95 % interval {seen.low:+.2f} to "
        f"{seen.high:+.2f}, {seen.pairs} configurations)"
    )
    return said + ("." if seen.low > 0 else ": the search may not have put them in the right order.")


def _steps(m: Material, command: Command) -> list[Step]:
    folder = shlex.quote(str(m.run.path))
    steps = []
    if m.ensemble is None:
        top = "" if m.study.ensemble.members is not None else f" --top {m.study.ensemble.top}"
        words = "Retrain the best on all rows, let them vote and write a submission:"
        steps.append(Step(words, f"{command('ensemble')} --run {folder}{top}"))
    else:
        if (file := m.ensemble["submissions"].get("vote")) is not None:
            steps.append(Step(f"The submission of the ensemble is {m.run.ensemble / file}."))
        steps.append(Step("Predict other images:", f"{command('predict')} --run {folder} --data FILE"))
    if m.ablation is None and m.answer is not None:
        words = "Find out which tricks of the chosen configuration help:"
        steps.append(Step(words, f"{command('ablate')} --run {folder} --trial {m.answer.trial}"))
    if m.answer is not None and len(m.answer.tied) > 1:
        more = max(m.study.search.trials * 2, len(m.records) + 10)
        words = "Search further, if more trials are worth their time:"
        steps.append(Step(words, f"{command('search')} --resume {folder} --trials {more}"))
    return steps


# ── cost, and how to do it again ─────────────────────────────────────────────────────────────────────


def cost_rows(m: Material) -> list[tuple[str, str, str]]:
    """(phase, trainings, time of the trainings, which may have run side by side)."""
    rows = [("search", str(len(m.records)), clock(float(sum(r.seconds for r in m.records))))]
    if m.results:
        rows.append(("confirmation", str(len(m.results)), clock(float(sum(r.seconds for r in m.results)))))
    if m.ensemble is not None:
        seconds = clock(float(m.ensemble["seconds"]))
        rows.append(("ensemble, all of it", str(len(m.ensemble["members"])), seconds))
    return rows


def states_in_words(m: Material) -> str:
    """How many trials are in which state, and what stopping saved."""
    counts = m.trials["state"].value_counts()
    said = ", ".join(f"{counts[state]} {state}" for state in ("running", *OVER) if state in counts)
    whole = m.study.epochs * len(m.records)
    trained = int(m.trials["epochs"].sum())
    saved = "" if whole == 0 else f" They trained {trained:,} epochs of {whole:,}, {trained / whole:.0%}."
    return f"{len(m.records)} trials: {said}.{saved}"


def reproduction(m: Material) -> list[tuple[str, str]]:
    """(what, value): command, versions, seeds and fingerprints."""
    f = m.facts
    machine = f.get("machine", {})
    data = f.get("data", {})
    versions = ", ".join(f"{name} {version}" for name, version in f.get("versions", {}).items())
    rows = [
        ("command", f.get("command")),
        ("begun", f.get("created")),
        ("data", data.get("described")),
        ("fingerprint of the data", data.get("fingerprint")),
        ("fingerprint of the folds", f.get("folds")),
        ("seed of the search", f.get("seed")),
        ("seed of the folds", m.study.cv.seed),
        ("training version", f.get("training_version")),
        ("git", f.get("git")),
        ("python", f.get("python")),
        ("versions", versions),
        ("machine", ", ".join(str(machine[k]) for k in ("system", "cpu") if machine.get(k))),
        ("cores", machine.get("cores")),
        ("trainings", f.get("slots")),
        *((f"given file {path}", digest) for path, digest in f.get("given_files", {}).items()),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def members_table(m: Material) -> list[dict[str, Any]]:
    """The members of the ensemble: name, trial, seed, confirmed score, and the score on each labelled set."""
    assert m.ensemble is not None, "only asked of a run with an ensemble"
    confirmed = {row["trial"]: row for row in m.ensemble["cross_validation"]["members"]}
    sets = {n: e for n, e in m.ensemble["rounds"][-1]["sets"].items() if "member_scores" in e}
    rows = []
    for place, member in enumerate(m.ensemble["members"]):
        row = confirmed.get(member["trial"])
        error = math.nan if row is None or row["confirmed_se"] is None else row["confirmed_se"]
        rows.append(
            {
                **member,
                "confirmed": "" if row is None else plus_minus(row["confirmed"], error),
                "scores": [_at(entry["member_scores"], place) for entry in sets.values()],
            }
        )
    return rows


def _at(scores: Sequence[float], place: int) -> str:
    return f"{scores[place]:.4f}" if place < len(scores) else ""
