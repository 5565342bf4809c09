"""Whether a run goes on with the study that it was begun with: its file may have been changed, or damaged."""

from __future__ import annotations

from typing import Any

from tune_digits.errors import RunError
from tune_digits.runs import Run
from tune_digits.study import Study

# what may be changed in the study file of a run: how much is done, on what, and the ensemble
FREE = (
    "ensemble",
    "resources",
    "search.trials",
    "search.time_budget",
    "confirm.candidates",
    "confirm.budget",
)


def check_same_study(run: Run, study: Study) -> None:
    """Raise RunError, saying what differs, where the study is not the one that run.json has.

    Runs of older versions do not have it there, and are not compared.
    """
    then = run.facts().get("study")
    if then is None:
        return
    before, now = _leaves(then), _leaves(study.raw)
    changed = [
        key for key in {**before, **now} if before.get(key) != now.get(key) and not key.startswith(FREE)
    ]
    if changed:
        told = "; ".join(f"{key} is {now.get(key)!r}, and was {before.get(key)!r}" for key in changed[:5])
        more = f"; and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise RunError(
            f"{run.study_file}: has been changed since the run was begun: {told}{more}. Trials of another study do not "
            "compare: put these values back (run.json has all of them under 'study'), or search again"
        )


def _leaves(tree: Any, key: str = "") -> dict[str, Any]:
    """Dotted key -> value; lists count as one value."""
    if not isinstance(tree, dict) or not tree:
        return {key: tree}
    found: dict[str, Any] = {}
    for name, below in tree.items():
        found |= _leaves(below, f"{key}.{name}".lstrip("."))
    return found
