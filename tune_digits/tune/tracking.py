"""What is kept and shown of a running search: records, TensorBoard's event files and the live view."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from tune_digits.execute.executor import Proposal
from tune_digits.learn.epoch import EpochReport
from tune_digits.runs import OVER, Fingerprints, Run, State, TrialRecord
from tune_digits.screen import Progress, Screen
from tune_digits.tune.hparams import TrialBoard


class Tracker:
    """Follows every trial of a search from the driver, the only writer of the run's records. `key` names a trial."""

    def __init__(
        self,
        run: Run,
        epochs: int,
        made_from: Fingerprints,
        progress: Progress,
        screen: Screen,
    ) -> None:
        self._run = run
        self._made_from = made_from
        self._epochs = epochs
        self._progress = progress
        self._screen = screen
        self._records: dict[str, TrialRecord] = {}
        self._boards: dict[str, TrialBoard] = {}
        self._counts: dict[State, int] = dict.fromkeys(OVER, 0)
        self._best: tuple[float, int] | None = None
        for record in run.trials():
            if record.state in self._counts:
                self._counts[record.state] += 1
                self._note_best(record)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._run.path

    def started(self, key: str, proposal: Proposal) -> None:
        if key in self._boards:  # it starts once more, after its worker died
            self._boards.pop(key).close("failed")
        number, searched = proposal.number, proposal.searched
        record = TrialRecord(number, "running", proposal.role, proposal.config, searched, self._made_from)
        self._records[key] = record
        self._run.write_trial(record)
        self._boards[key] = TrialBoard(self._run.tensorboard / f"{number:04d}", f"{number:04d}", searched)
        self._progress.running[f"trial {number}"] = "starting"
        self._show()

    def reported(self, key: str, report: EpochReport, score: float | None) -> None:
        """Note one more epoch. score: that of the weights which the trial would keep if it ended now."""
        record = self._records[key]
        if report.epoch <= record.epochs:
            return
        self._run.append_epoch(record.number, asdict(report))
        record.epochs, record.score = report.epoch, score
        if report.score is not None:
            record.best_score = max(report.score, record.best_score or 0.0)
        record.seconds += report.seconds + report.valid_seconds
        self._note_best(record)
        scalars = {f"epoch/{k}": v for k, v in asdict(report).items() if k != "epoch"}
        # the HParams tab shows the last value of these, of running trials too
        scalars |= {"score/best": record.best_score, "score/final": score, "epochs": record.epochs}
        finite = {k: v for k, v in scalars.items() if v is not None and math.isfinite(v)}
        self._boards[key].scalars(finite, report.epoch)
        shown = "" if report.score is None else f"  score {report.score:.4f}"
        self._progress.running[f"trial {record.number}"] = f"epoch {record.epochs}/{self._epochs}{shown}"
        self._show()

    def ended(self, key: str, state: State, error: str | None = None, speed: float | None = None) -> None:
        """speed: images per second at inference, where it was measured."""
        record = self._records.pop(key)
        record.state, record.error, record.inference_images_per_second = state, error, speed
        self._run.write_trial(record)
        self._boards.pop(key).close(state)
        self._run.trial_state(record.number).unlink(missing_ok=True)
        self._counts[state] += 1
        self._progress.done += 1
        self._progress.running.pop(f"trial {record.number}", None)
        self._show()

    def _note_best(self, record: TrialRecord) -> None:
        # scores of early epochs are low, so that the best so far is mostly one of a finished trial
        if record.score is not None and (self._best is None or record.score > self._best[0]):
            self._best = (record.score, record.number)

    def _show(self) -> None:
        usual = ("finished", "pruned")
        facts: dict[str, str] = {
            name: str(count) for name, count in self._counts.items() if count or name in usual
        }
        if self._best is not None:
            facts["best"] = f"{self._best[0]:.4f} (trial {self._best[1]})"
        self._progress.facts = {"running": str(len(self._progress.running)), **facts}
        self._screen.tick(self._progress)
