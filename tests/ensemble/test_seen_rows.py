"""Which images an ensemble says that it has seen, those behind its teachers included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from run_samples import INLINE, SMALL, confirmed_run, halves, halves_task, small_study

from tune_digits.config import Ensemble
from tune_digits.data.fingerprint import row_hashes
from tune_digits.ensemble.build import build_ensemble
from tune_digits.screen import Screen
from tune_digits.trained_rows import read_trained_rows

TASK = halves_task(60)
QUICK = {"trials": 1, "startup_trials": 1, "grace_period": 1}
TRAIN = {**SMALL["train"], "epochs": 1}


def test_an_ensemble_has_seen_what_is_behind_its_teachers_out_of_fold_answers(tmp_path: Path) -> None:
    """It learns from the answers of all folds' networks, of which one fold's own rows say too little."""
    kept = {"candidates": 1, "keep_weights": True}
    teacher = small_study({"train": TRAIN}, search=QUICK, confirm=kept)
    source, _ = confirmed_run(tmp_path / "teacher", teacher, TASK)
    # the networks of other folds than the first had started from weights of other images
    before = row_hashes(halves(7, seed=5).images)
    with np.load(source.out_of_fold) as file:
        proba, seen = file["proba"], file["trained_rows"]
    source.write_out_of_fold(proba, np.union1d(seen, before))

    loss = {"teacher": {"run": str(source.path), "folds": "same"}, "teacher_weight": 0.5}
    study = small_study({"train": TRAIN, "loss": loss}, search=QUICK, confirm={"candidates": 1})
    run, _ = confirmed_run(tmp_path / "student", study, TASK)
    build_ensemble(study, run, TASK, Ensemble(top=1, pseudo=None), INLINE, Screen())
    expected = np.union1d(row_hashes(TASK.train.images), before)
    np.testing.assert_array_equal(read_trained_rows(run.ensemble), expected)
