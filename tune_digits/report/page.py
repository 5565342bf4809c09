"""The report of a run as one self-contained HTML file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from tune_digits.disk import write_text
from tune_digits.report import drawn, facts, trial_parts
from tune_digits.report.material import Material
from tune_digits.report.style import short
from tune_digits.stats.compare import MANY_TRAININGS

INSTALLED: facts.Command = "tune-digits {}".format


def write_page(m: Material, file: Path, command: facts.Command = INSTALLED, preview: bool = True) -> None:
    """Write the page of `render` as a file."""
    write_text(file, render(m, command, preview))


def render(m: Material, command: facts.Command = INSTALLED, preview: bool = True) -> str:
    """The page of a run, which needs no other file and no network.

    command: how a command of a name ('search') is called. preview: show what augmentation does (needs torch).
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tune_digits.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    environment.filters["four"] = four
    parts = trial_parts.trial_parts(m)
    return environment.get_template("page.html").render(
        name=m.study.name,
        folder=str(m.run.path),
        created=m.facts.get("created", ""),
        data=m.facts.get("data", {}).get("described", ""),
        metric=m.metric,
        answer=facts.headline(m, command),
        chosen=m.chosen,
        baseline=None if m.baseline is None else m.baseline.number,
        board=[] if m.board is None else board_rows(m.board),
        board_figures=drawn.board_figures_of(m),
        search_figures=drawn.search_figures_of(m),
        states=facts.states_in_words(m),
        targets=drawn.targets_of(m),
        why_no_data=m.why_no_data,
        ensemble=m.ensemble,
        members=[] if m.ensemble is None else facts.members_table(m),
        disputed=drawn.disputed_of(m),
        ablation=[] if m.ablation is None else m.ablation.to_dict("records"),
        ablation_figure=drawn.ablation_figure_of(m),
        preview=drawn.preview_of(m) if preview else [],
        cost=facts.cost_rows(m),
        parts=parts,
        curves=trial_parts.small_curves(m, parts),
        others=trial_parts.others(m, {part.number for part in parts}),
        reproduction=facts.reproduction(m),
        study=m.study.to_yaml(),
    )


def four(value: Any) -> str:
    """A number with four decimals; – where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def board_rows(board: pd.DataFrame) -> list[dict[Any, Any]]:
    """The leaderboard as the page writes it, in the order of leaderboard.csv; empty columns are left out."""
    optional = ("worst_groups", "out_of_domain", "inference_images_per_second")
    shown = [name for name in optional if name in board and board[name].notna().any()]
    return [
        {
            **row,
            "score": facts.plus_minus(row["confirmed"], row["confirmed_se"]),
            "gain_words": facts.gain_in_words(row).partition(" ")[::2],
            "more": _more(row),
            "optional": {name: row[name] for name in shown},
        }
        for row in board.to_dict("records")
    ]


def _more(row: dict[Any, Any]) -> str:
    """How many more trainings would tell a gain of this size."""
    more = row["more_trainings"]
    if row["verdict"] != "cannot tell" or math.isnan(more):
        return ""
    return (
        f"about {more:.0f} more trainings" if more <= MANY_TRAININGS else "no number of trainings would tell"
    )
