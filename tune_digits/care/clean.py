"""What of a run folder can be spared, how much it takes, and freeing it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_digits.ensemble.members import MANIFEST, read_manifest
from tune_digits.ensemble.retrain import state_file
from tune_digits.execute.ray_folder import dead_sessions
from tune_digits.runs import OVER, Run


@dataclass(frozen=True, slots=True)
class Spare:
    """What can be freed. what: in words, with what it costs. only_with: the flag without which it is kept."""

    what: str
    paths: tuple[Path, ...]
    only_with: str | None = None

    @property
    def size(self) -> int:
        return sum(map(size_of, self.paths))


def size_of(path: Path) -> int:
    """Bytes of a file or of all files below a folder; links, and what vanishes meanwhile, count as nothing."""
    files = [path] if path.is_file() else path.rglob("*")
    total = 0
    for file in files:
        try:
            total += 0 if file.is_symlink() or file.is_dir() else file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def in_units(size: int) -> str:
    """1234567 -> '1.2 MB'"""
    amount, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 999.95 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{size} bytes" if units[0] == "bytes" else f"{amount:.1f} {units[0]}"


def disk_line(run: Run) -> str:
    """How much of the disk a run takes, in a line."""
    return f"disk: {run.path} takes {in_units(size_of(run.path))}"


def spares(run: Run, cache: Path) -> list[Spare]:
    """What can be freed of a run folder, and of what its commands left elsewhere; only what is there.

    cache: the folder of parsed data. Raises RunError where a record or the ensemble's manifest is damaged.
    """
    found = [
        Spare("saved states of trials that have ended", tuple(_states_of_ended(run))),
        Spare("saved states of members that are trained", tuple(_states_of_members(run))),
        Spare(
            "weights that the ensemble does not use: of the round before the pseudo-labels, and of other plans "
            "(making the ensemble again trains them again)",
            tuple(_unused_members(run)),
        ),
        Spare("files that were being written when a command was killed", tuple(run.path.rglob(".*.tmp"))),
        Spare("Ray's own files of the search, which nothing reads", _there(run.path / "ray")),
        Spare("sessions of our Ray that have ended, with their logs", tuple(dead_sessions())),
        Spare(
            "weights of the confirming trainings (other runs may start from them or learn from them)",
            _there(run.path / "fold_weights"),
            only_with="--fold-weights",
        ),
        Spare(
            "parsed copies of data, of all runs beside this one (made again when the data are read)",
            _there(cache),
            only_with="--cache",
        ),
    ]
    return [spare for spare in found if spare.paths]


def free(chosen: Sequence[Spare]) -> None:
    for spare in chosen:
        for path in spare.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _there(path: Path) -> tuple[Path, ...]:
    return (path,) if path.exists() else ()


def _states_of_ended(run: Run) -> Iterator[Path]:
    for record in run.trials():
        if record.state in OVER and run.trial_state(record.number).exists():
            yield run.trial_state(record.number)


def _states_of_members(run: Run) -> Iterator[Path]:
    for member in _members(run):
        if state_file(member).exists():
            yield state_file(member)


def _members(run: Run) -> list[Path]:
    files = sorted((run.ensemble / "members").glob("*.safetensors"))
    return [file for file in files if not file.name.endswith(".state.safetensors")]


def _unused_members(run: Run) -> list[Path]:
    """None before there is a finished ensemble: what was trained by then is part of it."""
    if not (run.ensemble / MANIFEST).exists():
        return []
    used = {run.ensemble / name for name in read_manifest(run.ensemble).members}
    return [file for file in _members(run) if file not in used]
