"""The only owner of what lies on disk in a run folder.

    runs/2026-11-24-0915-aug/            runs/latest points to the newest
      run.json                           format version, command, package versions, git state, device, seed
      study.yaml                         the study as resolved; the same study loads from it
      optuna.journal                     the search as Optuna knows it (optuna-dashboard reads it live)
      trials/0007/trial.json             configuration, state, scores and cost of one trial
      trials/0007/epochs.jsonl           one line per epoch
      trials/0007/state.safetensors      the last saved state of a trial that is not finished
      tensorboard/                       event files: one folder per trial, and the columns of the HParams tab
      labels.npz                         labels, ids and class names of the training rows: what judges confirm/
      confirm/0007-fold2-seed0.npz       out-of-fold probabilities of one confirming training
      fold_weights/fold2/                with confirm.keep_weights: the weights of each confirming training
                                         (0007-seed0.safetensors) and the rows that the fold's networks have seen
      ablation/                          the same of configurations without one of their tricks, and ablation.csv
      fusing.json                        whether trainings of one configuration gain by running as one network here
      leaderboard.csv                    confirmed scores, best first
      answer.json                        which configuration to send in, why, and its corrected score
      ensemble/                          weights, manifest, report and submission
      report.html                        all of it as a page to read

Every file is written under a temporary name and then renamed, so that a reader never sees half of one, and a
killed process leaves the previous one in place. No file needs pickle.
"""

from __future__ import annotations

import csv
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.disk import (
    make_folder,
    read_arrays,
    read_json,
    sealed,
    storage_error,
    unsealed,
    write_arrays,
    write_json,
    write_text,
)
from tune_digits.errors import RunError
from tune_digits.machine import environment

FORMAT = 3
State = Literal["running", "finished", "ended", "pruned", "failed"]
# finished: trained all epochs; ended: stopped by its own rule (early stopping, or a loss that was no longer finite);
# pruned: stopped by the scheduler; failed: raised an error
OVER: tuple[State, ...] = ("finished", "ended", "pruned", "failed")
# what the file of a confirming training holds
FOLD_ARRAYS = (
    *("valid_idx", "valid_proba", "numbers", "figures", "fingerprints"),
    *("holdouts", "holdout_scores", "reused_from"),
)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What a training was made from, each as a hash: the data set (images, labels, groups, ids, their order), and the
    folds together with the rows of a subset."""

    data: str
    folds: str


@dataclass(slots=True)
class TrialRecord:
    """One trial of the search. score: of the last epoch.

    role: baseline, start or search. seconds: training and validation; searched: the searched values by the dotted keys
    of the study file. inference_images_per_second: where it is an objective of the search, measured at a trial's end.
    """

    number: int
    state: State
    role: str
    config: TrialConfig
    searched: dict[str, Any]
    fingerprints: Fingerprints
    epochs: int = 0
    score: float | None = None
    best_score: float | None = None
    seconds: float = 0.0
    error: str | None = None
    inference_images_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class FoldResult:
    """One confirming training: valid_idx int64 (n,) rows of the training set, valid_proba float32 (n, K).

    holdout_scores: the score on each labelled set from elsewhere. reused_from: the run folder of which it was taken,
    '' where it was trained here.
    """

    trial: int
    fold: int
    seed: int
    valid_idx: np.ndarray
    valid_proba: np.ndarray
    score: float
    seconds: float
    fingerprints: Fingerprints
    holdout_scores: dict[str, float] = field(default_factory=dict)
    reused_from: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the training rows are: labels int64 (N, T), ids as text (N,), and the classes of each target."""

    labels: np.ndarray
    ids: np.ndarray
    targets: tuple[Target, ...]


# ── the run folder ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder and the paths in it."""

    path: Path

    @property
    def study_file(self) -> Path:
        return self.path / "study.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "optuna.journal"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def leaderboard(self) -> Path:
        return self.path / "leaderboard.csv"

    @property
    def ensemble(self) -> Path:
        return self.path / "ensemble"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def trial_folder(self, number: int) -> Path:
        return self.path / "trials" / f"{number:04d}"

    def trial_state(self, number: int) -> Path:
        return self.trial_folder(number) / "state.safetensors"

    def fold_weights(self, fold: int) -> Path:
        """The folder of the weights that confirmation keeps of a fold."""
        return self.path / "fold_weights" / f"fold{fold}"

    def fold_member(self, trial: int, fold: int, seed: int) -> Path:
        return self.fold_weights(fold) / f"{trial:04d}-seed{seed}.safetensors"

    # trials

    def write_trial(self, record: TrialRecord) -> None:
        raw = {f.name: getattr(record, f.name) for f in fields(record)}
        raw["config"] = record.config.model_dump(mode="json")
        raw["fingerprints"] = asdict(record.fingerprints)
        write_json(self.trial_folder(record.number) / "trial.json", raw)

    def trials(self) -> list[TrialRecord]:
        """All trials on record, by number."""
        return [read_trial(p) for p in sorted((self.path / "trials").glob("*/trial.json"))]

    def append_epoch(self, number: int, report: Mapping[str, Any]) -> None:
        path = self.trial_folder(number) / "epochs.jsonl"
        make_folder(path.parent)
        try:
            with path.open("a+b") as file:
                whole = file.seek(0, os.SEEK_END)
                file.seek(0)
                # a crash or a full disk may have cut the last line short: the next must not stand behind it
                whole = file.read(whole).rfind(b"\n") + 1
                file.truncate(whole)
                file.write((json.dumps(sealed(report)) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, path) or error from None

    def epochs(self, number: int) -> list[dict[str, Any]]:
        """The recorded epochs of a trial, each once, in order. A last line cut short by a crash is left out.

        Raises RunError, naming file and line, where a line is damaged.
        """
        path = self.trial_folder(number) / "epochs.jsonl"
        by_epoch: dict[int, dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
        for i, line in enumerate(lines):
            if line:
                try:
                    report = unsealed(line)
                except ValueError as error:
                    if i == len(lines) - 1:
                        break
                    raise RunError(f"{path}: line {i + 1} is damaged ({error})") from None
                by_epoch[report["epoch"]] = report
        return [by_epoch[e] for e in sorted(by_epoch)]

    # confirmation

    @property
    def labels(self) -> Path:
        return self.path / "labels.npz"

    def write_truth(self, truth: Truth) -> None:
        """Keep what confirming trainings are judged by, so that they can be looked at without the data set."""
        targets = np.array(json.dumps([asdict(target) for target in truth.targets]), dtype=str)
        write_arrays(self.labels, labels=truth.labels, ids=truth.ids.astype(str), targets=targets)

    def truth(self) -> Truth | None:
        """None before the confirmation has begun. Raises RunError."""
        if not self.labels.exists():
            return None
        z = read_arrays(self.labels, ("labels", "ids", "targets"), "--resume writes it again")
        targets = tuple(Target(t["name"], tuple(t["classes"])) for t in json.loads(str(z["targets"])))
        return Truth(z["labels"], z["ids"], targets)

    def fold_file(self, trial: int, fold: int, seed: int) -> Path:
        return self.path / "confirm" / f"{trial:04d}-fold{fold}-seed{seed}.npz"

    def write_fold(self, result: FoldResult) -> None:
        _write_fold(self.fold_file(result.trial, result.fold, result.seed), result)

    @property
    def out_of_fold(self) -> Path:
        return self.path / "out_of_fold.npz"

    def write_out_of_fold(self, proba: np.ndarray, trained_rows: np.ndarray) -> None:
        """Out-of-fold probabilities float32 (N, K) of the training rows, in the form that `loss.teacher` reads.

        trained_rows: hashes uint64 of the images that the networks behind them were trained on.
        """
        write_arrays(self.out_of_fold, proba=proba, trained_rows=trained_rows)

    def read_out_of_fold(self) -> dict[str, np.ndarray]:
        """What `write_out_of_fold` wrote, by name. Raises RunError where it is damaged."""
        return read_arrays(self.out_of_fold, ("proba", "trained_rows"), "--resume writes it again")

    def best_confirmed(self) -> int | None:
        """The number of the trial that leads the leaderboard; None where there is no leaderboard yet."""
        if not self.leaderboard.is_file():
            return None
        with self.leaderboard.open(newline="", encoding="utf-8") as file:
            try:
                return int(next(csv.DictReader(file))["trial"])
            except (StopIteration, KeyError, ValueError):
                raise RunError(f"{self.leaderboard}: damaged; --resume writes it again") from None

    def write_answer(self, answer: Mapping[str, Any]) -> None:
        write_json(self.path / "answer.json", answer)

    def answer(self) -> dict[str, Any] | None:
        """Which configuration to send in (`tune.answer`); None before the confirmation has ended."""
        path = self.path / "answer.json"
        return read_json(path) if path.exists() else None

    def write_fusing(self, seen: Mapping[str, Any]) -> None:
        write_json(self.path / "fusing.json", seen)

    def fusing(self) -> dict[str, Any] | None:
        """What was measured of fusing trainings in this run; None before that."""
        path = self.path / "fusing.json"
        return read_json(path) if path.exists() else None

    def facts(self) -> dict[str, Any]:
        """What run.json says: command, data, versions, machine."""
        facts: dict[str, Any] = read_json(self.path / "run.json")
        return facts

    def folds(self, trial: int | None = None) -> list[FoldResult]:
        """The confirming trainings on record, of one trial or of all."""
        pattern = "*.npz" if trial is None else f"{trial:04d}-*.npz"
        return [read_fold(p) for p in sorted((self.path / "confirm").glob(pattern))]

    # ablation

    @property
    def ablation(self) -> Path:
        return self.path / "ablation"

    def ablation_file(self, key: str, fold: int, seed: int) -> Path:
        """key: a hash of what decides the training, so that the file of a training is always this training."""
        return self.ablation / f"{key}-fold{fold}-seed{seed}.npz"

    def write_ablated(self, key: str, result: FoldResult) -> None:
        _write_fold(self.ablation_file(key, result.fold, result.seed), result)

    def ablated(self, key: str, fold: int, seed: int) -> FoldResult | None:
        """A training on record; None where it has not been done."""
        path = self.ablation_file(key, fold, seed)
        return read_fold(path) if path.exists() else None


def read_trial(path: Path) -> TrialRecord:
    """The record of one trial. Raises RunError where it is damaged."""
    raw = read_json(path)
    try:
        config = TrialConfig.model_validate(raw["config"])
        return TrialRecord(**{**raw, "config": config, "fingerprints": Fingerprints(**raw["fingerprints"])})
    except (TypeError, KeyError, ValueError) as error:
        raise RunError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def _write_fold(path: Path, result: FoldResult) -> None:
    write_arrays(
        path,
        valid_idx=result.valid_idx,
        valid_proba=result.valid_proba.astype(np.float32),
        numbers=np.array([result.trial, result.fold, result.seed]),
        figures=np.array([result.score, result.seconds]),
        fingerprints=np.array([result.fingerprints.data, result.fingerprints.folds]),
        holdouts=np.array(list(result.holdout_scores), dtype=str),
        holdout_scores=np.array(list(result.holdout_scores.values()), dtype=float),
        reused_from=np.array(result.reused_from),
    )


def read_fold(path: Path) -> FoldResult:
    """One confirming training. Raises RunError where it is damaged."""
    remedy = "delete it to train that fold again"
    z = read_arrays(path, FOLD_ARRAYS, remedy)
    try:
        trial, fold, seed = (int(n) for n in z["numbers"])
        score, seconds = (float(n) for n in z["figures"])
        holdouts = dict(zip(map(str, z["holdouts"]), map(float, z["holdout_scores"]), strict=True))
        made_from = Fingerprints(*map(str, z["fingerprints"]))
        return FoldResult(
            trial,
            fold,
            seed,
            z["valid_idx"],
            z["valid_proba"],
            score,
            seconds,
            made_from,
            holdouts,
            str(z["reused_from"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: damaged ({error}); {remedy}") from None


def create_run(
    root: Path, name: str, study_yaml: str, facts: Mapping[str, Any], folder: Path | None = None
) -> Run:
    """A new run folder: `folder`, or one under `root` named by the time. Never one that holds anything.

    facts: what else run.json should say (command, seed, data). Raises RunError.
    """
    if folder is not None:
        path = folder
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path}: is there already; nothing is overwritten. Go on with it by --resume {path}, or name another"
            )
        path.mkdir(parents=True, exist_ok=True)
    else:
        stamp = time.strftime("%Y-%m-%d-%H%M%S")
        # a study may be called whatever its file says: "../../a", or with letters that no file system takes
        name = re.sub(r"[^\w.+-]+", "-", name)[:80]
        path = root / f"{stamp}-{name}"
        for attempt in range(2, 1000):
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError:
                path = root / f"{stamp}-{name}-{attempt}"
    run = Run(path)
    write_text(run.study_file, study_yaml)
    write_json(
        path / "run.json", {"format": FORMAT, "created": time.strftime("%FT%T%z"), **facts, **environment()}
    )
    point_latest(root, path)
    return run


def open_run(path: Path) -> Run:
    """An existing run folder of this format; a link (runs/latest) is followed once. Raises RunError."""
    if not (path / "run.json").is_file():
        hint = " (no search has been run yet)" if path.name == "latest" else ""
        raise RunError(f"{path}: no run folder{hint}; start one with: tune-digits search --space aug.yaml")
    version = read_json(path / "run.json").get("format")
    if version != FORMAT:
        raise RunError(
            f"{path}: is of run format {version}, and this version of tune_digits reads format {FORMAT}. Search again "
            "into a new run folder; this one stays as it is"
        )
    real = path.resolve()
    # as it was written: relative where it lies below the working folder
    below = not path.is_absolute() and real.is_relative_to(Path.cwd())
    return Run(real.relative_to(Path.cwd()) if below else real)


def point_latest(root: Path, path: Path) -> None:
    """Make root/latest a link to the run folder `path`; somebody's own folder of that name is left alone."""
    root.mkdir(parents=True, exist_ok=True)
    latest = root / "latest"
    if latest.exists() and not latest.is_symlink():
        return
    temporary = root / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(path.resolve(), root.resolve()), target_is_directory=True)
    os.replace(temporary, latest)
