"""Whether Optuna's journal is whole, and says what the records of the trials say.

Optuna leaves out a last line that it cannot read, and raises what names no file for another one; a line cut short, by a
crash or a full disk, would make one damaged line of itself and the next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tune_digits.config import TrialConfig
from tune_digits.errors import RunError
from tune_digits.runs import Run, TrialRecord
from tune_digits.space.space import config_key

if TYPE_CHECKING:
    import optuna

REMEDY = (
    "The search cannot go on from it: put the file back from a copy, or search again into a new run folder. What is "
    "confirmed is whole, and an ensemble can be made of it"
)


def damage_of_journal(journal: Path) -> str | None:
    """The first damaged line of the journal in words; None where it is whole or only its last line was cut short."""
    with journal.open("rb") as file:
        for i, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            try:
                if not isinstance(json.loads(line), dict):
                    raise ValueError("it is no JSON object")
            except (ValueError, RecursionError) as error:
                return f"{journal}: line {i + 1} is damaged ({error})"
    return None


def check_journal(journal: Path) -> None:
    """Take away a last line that was cut short. Raises RunError, naming the line, where another one is damaged."""
    if not journal.exists():
        return
    if damage := damage_of_journal(journal):
        raise RunError(f"{damage}. {REMEDY}")
    with journal.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())


def disagreement(study: optuna.Study, run: Run, records: Sequence[TrialRecord]) -> str | None:
    """Where the journal and the records of the trials contradict each other, in words; None where they agree."""
    trials = {t.number: t for t in study.get_trials(deepcopy=False)}
    for record in records:
        file, trial = run.trial_folder(record.number) / "trial.json", trials.get(record.number)
        if trial is None:
            return f"trial {record.number} of {file} is not in it"
        told = trial.user_attrs.get("config")
        if told is None or config_key(TrialConfig.model_validate(json.loads(told))) != config_key(
            record.config
        ):
            return f"trial {record.number} does not have the configuration in it that {file} has"
        if record.state in ("finished", "ended") and trial.values and trial.values[0] != record.score:
            return (
                f"trial {record.number} has the score {trial.values[0]} in it, and {record.score} in {file}"
            )
    known = {record.number for record in records}
    for number, trial in trials.items():
        if trial.state.is_finished() and number not in known:
            return f"trial {number} has ended, and {run.trial_folder(number) / 'trial.json'} is missing"
    return None


def check_agrees(study: optuna.Study, run: Run, records: Sequence[TrialRecord]) -> None:
    """Raises RunError where the journal and the records of the trials contradict each other."""
    if difference := disagreement(study, run, records):
        raise RunError(
            f"{run.journal}: does not fit the records: {difference}. One of the two is damaged. {REMEDY}"
        )
