"""The figures of a run's report, as matplotlib's figures: a notebook shows them where they are the last of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from tune_digits.errors import RunError
from tune_digits.report import confirm_figures, search_figures
from tune_digits.report.tables import associations, curves_frame, key_axes, trials_frame
from tune_digits.runs import Run
from tune_digits.study import Study


@dataclass(frozen=True, slots=True)
class Plots:
    """Each method reads the run folder anew and draws one figure. All of them raise RunError before there is anything
    to draw."""

    folder: Run
    study: Study

    def history(self) -> Figure:
        """The score of each trial, in the order of the search."""
        return search_figures.history(self._trials(), self._metric)

    def curves(self) -> Figure:
        """The score of every trial over its epochs, on one fold; those that the scheduler stopped in grey."""
        trials = self._trials()
        pruned = set(trials["number"][trials["state"] == "pruned"].tolist())
        baseline = trials["number"][trials["role"] == "baseline"].tolist()
        named = {number: f"trial {number}, the baseline" for number in baseline}
        best = int(trials["number"].iloc[int(trials["score"].argmax())])
        named.setdefault(best, f"trial {best}")
        table = curves_frame(self.folder, self.folder.trials())
        return search_figures.learning_curves(table, pruned, named, "score", f"{self._metric} on one fold")

    def parallel(self) -> Figure:
        """All searched values together, a line for each trial."""
        trials = self._trials()
        return search_figures.parallel(trials, key_axes(self.study.space, trials), self._metric)

    def slices(self) -> Figure:
        """Each searched value by itself against the score."""
        trials = self._trials()
        axes = key_axes(self.study.space, trials)
        return search_figures.slices(trials, axes, f"{self._metric} on one fold")

    def associations(self) -> Figure:
        """How the score goes with each searched value: rank correlations with 95 % intervals."""
        trials = self._trials()
        table = associations(trials, key_axes(self.study.space, trials))
        if not len(table):
            raise RunError(f"{self.folder.path}: too few trials have ended for a rank correlation")
        return search_figures.correlations(table)

    def gains(self) -> Figure:
        """The confirmed gain of each configuration over the baseline, with 95 % intervals."""
        board = self._board()
        rows = board[board["gain"].notna()]
        if not len(rows):
            raise RunError(f"{self.folder.path}: no other configuration than the baseline is confirmed")
        table = rows.rename(columns={"gain": "difference", "gain_low": "low", "gain_high": "high"})
        names = [f"trial {number}" for number in rows["trial"]]
        return confirm_figures.gains(names, table, f"gain in {self._metric} over the baseline")

    def cost(self) -> Figure:
        """The confirmed score of each configuration against the time of a training."""
        return confirm_figures.cost(self._board(), self._metric)

    @property
    def _metric(self) -> str:
        return str(self.study.cv.score).replace("_", " ")

    def _trials(self) -> pd.DataFrame:
        trials = trials_frame(self.folder.trials())
        if not trials["score"].notna().any():
            raise RunError(f"{self.folder.path}: no trial has a score yet")
        return trials

    def _board(self) -> pd.DataFrame:
        path = self.folder.path
        if not self.folder.leaderboard.is_file():
            raise RunError(
                f"{path}: no leaderboard.csv yet; finish the search with: tune-digits search --resume {path}"
            )
        return pd.read_csv(self.folder.leaderboard)
