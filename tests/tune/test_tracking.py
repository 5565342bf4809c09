"""What is recorded of one trial, event by event."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_samples import MADE_FROM

from tune_digits import runs
from tune_digits.config import TrialConfig
from tune_digits.execute.executor import Proposal
from tune_digits.learn.epoch import EpochReport
from tune_digits.screen import Progress, Screen
from tune_digits.tune.tracking import Tracker


def epoch(number: int, score: float) -> EpochReport:
    return EpochReport(number, 0.5, 0.4, score, 0.01, 2.0, 0.25, 100.0)


def test_a_trial_whose_score_falls_keeps_its_best_and_its_last(tmp_path: Path) -> None:
    run = runs.create_run(tmp_path, "one", "", {})
    progress = Progress("search", total=1)
    tracker = Tracker(run, 3, MADE_FROM, progress, Screen())
    tracker.started("key", Proposal(4, TrialConfig(), "start", {"optimizer.lr": 0.1}))
    assert [(r.number, r.state, r.epochs) for r in run.trials()] == [(4, "running", 0)]
    assert progress.running.keys() == {"trial 4"}
    for report in (epoch(1, 0.6), epoch(2, 0.9), epoch(2, 0.9), epoch(3, 0.7)):  # one of them is told twice
        tracker.reported("key", report, report.score)
    assert progress.facts["best"] == "0.9000 (trial 4)"
    tracker.ended("key", "ended", "it stopped by itself")
    (record,) = run.trials()
    assert (record.state, record.epochs, record.score, record.best_score) == ("ended", 3, 0.7, 0.9)
    assert (record.role, record.searched, record.error) == (
        "start",
        {"optimizer.lr": 0.1},
        "it stopped by itself",
    )
    assert record.seconds == pytest.approx(3 * 2.25)
    assert [e["score"] for e in run.epochs(4)] == [0.6, 0.9, 0.7]
    assert (progress.done, progress.running, progress.facts["ended"]) == (1, {}, "1")
