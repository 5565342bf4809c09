"""Whether a run folder or an ensemble's folder is whole: everything in it is read, and nothing is changed.

What is damaged is named, with the command that makes it again where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tune_digits.disk import read_json, read_tensors
from tune_digits.ensemble.members import MANIFEST, load_member, read_manifest
from tune_digits.errors import RunError, UserError
from tune_digits.runs import OVER, Run, read_fold, read_trial
from tune_digits.study import load_study
from tune_digits.trained_rows import TRAINED_ROWS, read_trained_rows
from tune_digits.tune.journal import damage_of_journal, disagreement
from tune_digits.tune.networks import read_network
from tune_digits.tune.same_study import check_same_study
from tune_digits.tune.searcher import load_journal

COPY = "nothing can make it again: put it back from a copy, or search again into a new run folder"


@dataclass(frozen=True, slots=True)
class Damage:
    """told: which file and what is wrong with it. remedy: what to do, with the command where there is one."""

    told: str
    remedy: str


@dataclass(slots=True)
class Part:
    """A part of a folder, and what of it was read. whole: how many files were."""

    name: str
    whole: int = 0
    damaged: list[Damage] = field(default_factory=list)

    def read(self, path: Path, reader: Callable[[Path], object], remedy: str) -> bool:
        """Whether a file is whole: read with what raises UserError or OSError where it is damaged."""
        try:
            reader(path)
        except (UserError, OSError) as error:
            told = str(error) if str(path) in str(error) else f"{path}: {error}"
            self.damaged.append(Damage(told.partition("; ")[0], remedy))
            return False
        self.whole += 1
        return True


def check_run(run: Run) -> Iterator[Part]:
    """The parts of a run folder, those that are not there left out."""
    again = f"tune-digits search --resume {run.path}"
    yield _begun(run)
    yield _trials(run, again)
    yield _search(run)
    confirm = Part("confirming trainings")
    for path in sorted((run.path / "confirm").glob("*.npz")):
        confirm.read(path, read_fold, f"rm {path} && {again}")
    yield confirm
    kept = Part("weights of folds")
    for path in sorted((run.path / "fold_weights").glob("*/*")):
        if path.name == TRAINED_ROWS:
            kept.read(path.parent, read_trained_rows, f"rm {path} && {again}")
        elif path.suffix == ".safetensors":
            trained = run.path / "confirm" / f"{path.stem.replace('-', f'-{path.parent.name}-')}.npz"
            kept.read(path, read_network, f"rm {path} {trained} && {again}")
    yield kept
    results = Part("results")
    if run.leaderboard.exists():
        results.read(run.leaderboard, lambda _: run.best_confirmed(), f"rm {run.leaderboard} && {again}")
    for name in ("answer.json", "fusing.json"):
        if (run.path / name).exists():
            results.read(run.path / name, read_json, f"rm {run.path / name} && {again}")
    if run.out_of_fold.exists():
        results.read(run.out_of_fold, lambda _: run.read_out_of_fold(), f"rm {run.out_of_fold} && {again}")
    yield results
    if run.ensemble.is_dir():
        yield from check_ensemble(run.ensemble, f"tune-digits ensemble --run {run.path}")


def check_ensemble(folder: Path, again: str | None) -> Iterator[Part]:
    """The ensemble in a folder. again: the command that makes it; None where the run folder is not here."""
    part = Part("ensemble")

    def remedy(path: Path) -> str:
        return COPY if again is None else f"rm {path} && {again}"

    members: set[Path] = set()
    manifest_file = folder / MANIFEST
    if manifest_file.exists():
        part.read(manifest_file, lambda _: read_manifest(folder), remedy(manifest_file))
        if part.whole:
            manifest = read_manifest(folder)
            members = {folder / name for name in manifest.members}
            for path in sorted(members):
                part.read(path, lambda p: load_member(p, manifest, "cpu"), remedy(path))
            part.read(folder, read_trained_rows, remedy(folder / TRAINED_ROWS))
    for path in sorted({*folder.glob("members/*.safetensors")} - members):
        part.read(path, read_tensors, remedy(path))
    report = folder / "report.json"
    if report.exists():
        part.read(report, read_json, remedy(report))
    yield part


def _begun(run: Run) -> Part:
    """What the run was begun with."""
    part = Part("study and facts")
    part.read(run.path / "run.json", read_json, COPY)
    part.read(
        run.study_file,
        lambda path: check_same_study(run, load_study(path)),
        f"write back what {run.path / 'run.json'} has under 'study'",
    )
    return part


def _trials(run: Run, again: str) -> Part:
    part = Part("trials")
    for folder in sorted((run.path / "trials").glob("*/")):
        record, epochs, state = folder / "trial.json", folder / "epochs.jsonl", folder / "state.safetensors"
        known = part.read(record, read_trial, COPY)
        if epochs.exists():
            part.read(
                epochs,
                _all_epochs if known else _epochs,
                f"rm {epochs}: a search that goes on then judges others without these epochs; nothing else reads them",
            )
        if state.exists():
            part.read(
                state, read_tensors, f"rm {state} && {again}   (it trains that trial from its first epoch)"
            )
    return part


def _epochs(path: Path) -> list[dict[str, Any]]:
    return Run(path.parents[2]).epochs(int(path.parent.name))


def _all_epochs(path: Path) -> None:
    """Raises RunError where a line is damaged, and where one is missing of a trial that is over."""
    epochs, record = _epochs(path), read_trial(path.parent / "trial.json")
    if record.state in OVER and len(epochs) != record.epochs:
        raise RunError(f"{path}: has {len(epochs)} epochs, and the trial ended after {record.epochs}")


def _search(run: Run) -> Part:
    """Optuna's journal, and whether it says what the records say."""
    part = Part("journal of the search")
    if not run.journal.exists():
        return part
    damage = damage_of_journal(run.journal)
    if damage is None:
        try:
            study = load_journal(run.journal)
            difference = None if study is None else disagreement(study, run, run.trials())
        except (UserError, KeyError, ValueError, TypeError, json.JSONDecodeError) as error:
            # damaged records are named among the trials; Optuna names no error for what it cannot replay
            difference = None if isinstance(error, UserError) else f"Optuna cannot read it ({error!r})"
        damage = None if difference is None else f"{run.journal}: does not fit the records: {difference}"
    if damage is None:
        part.whole = 1
    else:
        part.damaged.append(Damage(damage, COPY))
    return part
