"""Run folders with made-up records, without any training: of every size, and in every state that a run can be in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tune_digits import disk, runs
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Labelled, Target, Task, head_slices
from tune_digits.learn.metrics import Metric, score
from tune_digits.runs import Fingerprints, FoldResult, Run, TrialRecord, Truth
from tune_digits.study import Study, make_study
from tune_digits.tune.answer import find_answer, write_answer
from tune_digits.tune.leaderboard import Judges, leaderboard

EPOCHS, FOLDS = 12, 3
DIGITS = (Target("digit", tuple("0123456789")),)
TRIAL: dict[str, Any] = {
    "model": {
        "name": "lean_cnn",
        "width": {"choice": [4, 8, 16]},
        "bn_momentum": {"loguniform": [0.01, 0.5]},
    },
    "augment": {
        "rotate": {"uniform": [0, 25]},
        "shift": {"uniform": [0, 0.2]},
        "zoom": {"uniform": [0, 0.2]},
    },
    "loss": {"name": "cross_entropy", "label_smoothing": {"uniform": [0, 0.1]}},
    "optimizer": {
        "one_of": [
            {
                "name": "adamw",
                "lr": {"loguniform": [1e-3, 1e-2]},
                "weight_decay": {"loguniform": [1e-4, 0.1]},
            },
            {"name": "sgd", "lr": {"loguniform": [0.02, 0.5]}, "momentum": {"uniform": [0.8, 0.97]}},
        ]
    },
    "train": {"epochs": EPOCHS, "batch_size": 20},
}


def made_study(trials: int = 20, name: str = "made") -> Study:
    raw = {
        "trial": TRIAL,
        "search": {"trials": trials, "startup_trials": 4, "grace_period": 3, "reduction_factor": 2},
        "cv": {"folds": FOLDS},
    }
    return make_study(raw, "made.yaml", name, {})


def made_records(
    study: Study, trials: int, made_from: Fingerprints, rng: np.random.Generator
) -> list[TrialRecord]:
    """The baseline, a start point, and trials of which three of four were stopped and every 50th failed."""
    records = []
    for number in range(trials):
        adamw = bool(rng.random() < 0.6)
        searched = {
            "model.width": int(rng.choice([4, 8, 16])),
            "model.bn_momentum": float(10 ** rng.uniform(-2, -0.3)),
            "augment.rotate": float(rng.uniform(0, 25)),
            "augment.shift": float(rng.uniform(0, 0.2)),
            "augment.zoom": float(rng.uniform(0, 0.2)),
            "loss.label_smoothing": float(rng.uniform(0, 0.1)),
            "optimizer.name": "adamw" if adamw else "sgd",
            "optimizer.lr": float(10 ** (rng.uniform(-3, -2) if adamw else rng.uniform(-1.7, -0.3))),
            **({"optimizer.weight_decay": 0.01} if adamw else {"optimizer.momentum": 0.9}),
        }
        if number == 0:
            searched |= {"augment.rotate": 0.0, "augment.shift": 0.0, "augment.zoom": 0.0}
        config: dict[str, Any] = {"train": {"epochs": EPOCHS, "batch_size": 20}}
        config |= {"model": {"name": "lean_cnn"}, "loss": {"name": "cross_entropy"}}
        for key, value in searched.items():
            part, _, name = key.partition(".")
            config.setdefault(part, {})[name] = value
        state: runs.State = "pruned" if number > 1 and number % 4 else "finished"
        state = "failed" if number and number % 50 == 49 else state
        epochs = EPOCHS if state == "finished" else int(rng.choice([3, 6]))
        final = 1 - 0.02 * float(rng.lognormal(0, 0.5)) * (1 if state == "finished" else 4)
        records.append(
            TrialRecord(
                number,
                state,
                {0: "baseline", 1: "start"}.get(number, "search"),
                TrialConfig.model_validate(config),
                searched,
                made_from,
                epochs,
                None if state == "failed" else final,
                None if state == "failed" else final,
                4.0,
                "RuntimeError: a made-up error" if state == "failed" else None,
            )
        )
    return records


def write_epochs(run: Run, record: TrialRecord) -> None:
    final = record.score or 0.5
    lines = [
        {
            "epoch": e,
            "train_loss": 2.0 / e,
            "valid_loss": 2.2 / e,
            "score": final - 0.5 * (1 - e / record.epochs) ** 2,
            "lr": 0.01,
            "seconds": 0.3,
            "valid_seconds": 0.1,
            "images_per_second": 1000.0,
        }
        for e in range(1, record.epochs + 1)
    ]
    path = run.trial_folder(record.number) / "epochs.jsonl"
    path.write_text("".join(json.dumps(disk.sealed(line)) + "\n" for line in lines))


def made_task(targets: Sequence[Target] = DIGITS, rows: int = 120, side: int = 8, ids: Any = None) -> Task:
    """Random images, a fifth as many of them to be predicted."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (rows, 1, side, side)).astype(np.uint8)
    labels = np.stack([rng.permutation(np.arange(rows) % len(t.classes)) for t in targets], axis=1)
    names = np.arange(rows) if ids is None else np.array(ids)
    train = Labelled(images, labels, names, tuple(targets))
    return Task("made", train, Labelled(images, labels, names, tuple(targets)).take(np.arange(rows // 5)))


def made_folds(task: Task, trials: Sequence[int], made_from: Fingerprints) -> list[FoldResult]:
    """Answers that are wrong for 5 to 20 % of the rows."""
    heads, labels = head_slices(task.targets), task.train.labels
    results = []
    for trial in trials:
        for fold in range(FOLDS):
            rng = np.random.default_rng([trial, fold])
            rows = np.arange(fold, len(labels), FOLDS)
            parts = []
            for place, target in enumerate(task.targets):
                given = labels[rows, place]
                wrong = rng.random(len(rows)) < 0.05 + 0.03 * (trial % 6)
                answer = np.where(wrong, (given + 1) % len(target.classes), given)
                logits = rng.normal(0, 0.5, (len(rows), len(target.classes)))
                logits[np.arange(len(rows)), answer] += 5
                proba = np.exp(logits)
                parts.append(proba / proba.sum(1, keepdims=True))
            proba = np.concatenate(parts, axis=1).astype(np.float32)
            value = score(Metric(), proba, labels[rows], heads)
            results.append(FoldResult(trial, fold, 0, rows, proba, value, 5.0 + trial, made_from))
    return results


def made_run(
    folder: Path, trials: int = 20, confirmed: int = 5, task: Task | None = None, name: str = "made"
) -> tuple[Run, Study, Task]:
    """A run of that many trials, of which the first `confirmed` are confirmed; 0 of them: a search that goes on."""
    task = task or made_task()
    study = made_study(trials, name)
    made_from = Fingerprints(task.fingerprint, "folds")
    facts = {
        "command": "tune-digits search --space made.yaml",
        "seed": 0,
        "data": {"described": task.describe(), "fingerprint": task.fingerprint},
        "folds": "folds",
    }
    run = runs.create_run(folder, "made", study.to_yaml(), facts, folder / "run")
    records = made_records(study, trials, made_from, np.random.default_rng(0))
    for record in records:
        run.write_trial(record)
        write_epochs(run, record)
    if confirmed:
        confirm(run, task, records[:confirmed], made_from)
    return run, study, task


def confirm(run: Run, task: Task, records: Sequence[TrialRecord], made_from: Fingerprints) -> pd.DataFrame:
    """Write what a confirmation of these trials leaves in the run folder."""
    run.write_truth(Truth(task.train.labels, task.train.ids, task.targets))
    results = made_folds(task, [r.number for r in records], made_from)
    for result in results:
        run.write_fold(result)
    judges = Judges(Metric(), task.train.labels, head_slices(task.targets))
    board = leaderboard(records, results, judges)
    board.to_csv(run.leaderboard, index=False)
    write_answer(run, find_answer(records, results, judges, np.random.default_rng(0)))
    return board


def add_ensemble(run: Run, members: Sequence[int], ids: Sequence[str] = ("3", "5")) -> None:
    """The report of an ensemble of these trials, which disagree on the test images `ids`."""
    names = [f"trial{trial}" for trial in members]
    scores = [0.9 + 0.01 * place for place in range(len(members))]
    entry = {"images": 24, "unanimous": 0.75, "pairwise": 0.8, "score": 0.9583, "member_scores": scores}
    rows = pd.read_csv(run.leaderboard).to_dict("records")
    of_members = [
        {"trial": r["trial"], "confirmed": r["confirmed"], "confirmed_se": r["confirmed_se"]}
        for r in rows
        if r["trial"] in members
    ]
    report = {
        "members": [
            {"trial": trial, "seed": 0, "file": f"{name}.safetensors", "name": name}
            for trial, name in zip(members, names, strict=True)
        ],
        "submissions": {"vote": "submission.csv"},
        "disputed": [
            {"id": i, "members": dict.fromkeys(names, "1") | {names[0]: "7"}, "vote": "1"} for i in ids
        ],
        "vote": {"rule": "soft", "why": "the default"},
        "tta": 1,
        "ladder": [_rung("best single", None, 0.951, True), _rung("vote", 0.0123, 0.9633, True)],
        "metric": "accuracy",
        "cross_validation": {"members": of_members, "baseline": None},
        "rounds": [
            {"pseudo_labels": 0, "sets": {"test": entry}},
            {"pseudo_labels": 20, "sets": {"test": entry}},
        ],
        "seconds": 71.0,
    }
    disk.write_json(run.ensemble / "report.json", report)


def _rung(name: str, difference: float | None, score: float, used: bool) -> dict[str, Any]:
    told = {"low": -0.0011, "high": 0.0257, "p": 0.07, "verdict": "cannot tell"}
    first = {"low": None, "high": None, "p": None, "verdict": None}
    rest = first if difference is None else told
    return {"name": name, "score": score, "error": 0.002, "difference": difference, "used": used, **rest}


def add_ablation(run: Run) -> None:
    """The table of an ablation in which one trick helps and another cannot be told."""
    whole = {"trick": "all tricks", "score": 0.95, "trainings": 3, "noise": 0.002, "verdict": "-"}
    told = {"trick": "augment.rotate", "value": "12.5", "off": "0", "score": 0.93, "trainings": 3}
    told |= {
        "difference": 0.02,
        "low": 0.01,
        "high": 0.03,
        "p": 0.001,
        "verdict": "helps",
        "more_trainings": 0,
    }
    other = {**told, "trick": "augment.shift", "difference": 0.001, "low": -0.01, "high": 0.012}
    other |= {"verdict": "cannot tell", "more_trainings": 40, "p": 0.8}
    run.ablation.mkdir(exist_ok=True)
    pd.DataFrame([whole, told, other]).to_csv(run.ablation / "ablation.csv", index=False)
