"""What commands print: a study, folds, what is odd about the data, the confirmed configurations, and an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_digits.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from tune_digits.data.dataset import Labelled, Task
    from tune_digits.data.folds.split import Fold
    from tune_digits.runs import Run
    from tune_digits.screen import Screen
    from tune_digits.study import Study


def print_folds(folds: Sequence[Fold], train: Labelled, study: Study, screen: Screen) -> None:
    """How the rows are divided, and a table of how many train and validate in each fold."""
    from rich.table import Table

    from tune_digits.data.folds.table import describe_folds, fold_table

    advice = ""
    if train.groups is None and study.cv.fold_column is None:
        advice = (
            ". If rows come in groups (writers, patients, plants), say so with --groups: a group that both trains and "
            "validates makes scores too good"
        )
    screen.say(describe_folds(folds, train, study.cv) + advice)
    heads, lines = fold_table(folds, train)
    table = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for column in table.columns:
        column.justify, column.vertical, column.overflow = "right", "bottom", "fold"
    for line in lines:
        table.add_row(*line)
    screen.table(table)
    if len(folds) > len(lines):
        screen.say(f"  and {len(folds) - len(lines)} more")


def report_findings(task: Task, folds: Sequence[Fold], strict: bool, screen: Screen) -> None:
    """Warn of what is odd about the data. strict: raise DataError instead."""
    from tune_digits.data.checks import check_task

    findings = check_task(task, folds)
    if findings and strict:
        raise DataError("--strict, and the data are odd:\n" + "\n".join(f"  {f.message}" for f in findings))
    for finding in findings:
        screen.warn(finding.message)


def print_board(board: pd.DataFrame, screen: Screen) -> None:
    """The confirmed configurations, best first, with what can be said of their gain over the baseline."""
    from rich.table import Table

    from tune_digits.stats.compare import MANY_TRAININGS

    table = Table(box=None, pad_edge=False, title_justify="left", title="confirmed, best first")
    speed = "inference_images_per_second" in board
    raced = "left" in board
    outside, groups = board["out_of_domain"].notna().any(), board["worst_groups"].notna().any()
    for column in (
        "trial",
        "confirmed",
        *(["trainings"] if raced else []),
        "gain over baseline",
        *(["images/s"] if speed else []),
        *(["worst groups"] if groups else []),
        *(["out of domain"] if outside else []),
        "search",
    ):
        table.add_column(column, justify="right")
    for row in board.head(10).to_dict("records"):
        name = f"{row['trial']} baseline" if row["role"] == "baseline" else str(row["trial"])
        cells = [name, plus_minus(row["confirmed"], row["confirmed_se"])]
        cells += [f"{row['trainings']}{', left' if row['left'] else ''}"] if raced else []
        cells.append(gain_in_words(row))
        cells += [speed_in_words(row)] if speed else []
        cells += [f"{row['worst_groups']:.4f}"] if groups else []
        cells += [f"{row['out_of_domain']:.4f}"] if outside else []
        table.add_row(*cells, f"{row['search_score']:.4f}")
    screen.say()
    screen.table(table)
    if speed:
        screen.say("* on the front: no other configuration is better in both score and images/s at inference")
    if (board["verdict"] == "cannot tell").any() and (board["more_trainings"] <= MANY_TRAININGS).any():
        screen.say(
            "(~n more): trainings of that configuration and of the baseline each, to tell a gain of this size"
        )
    if said := search_against_confirmed(board):
        screen.say(said)


def speed_in_words(row: Mapping[Any, Any]) -> str:
    """Images per second at inference, with a star where no other row is better in both score and speed."""
    speed = row["inference_images_per_second"]
    return "-" if speed != speed else f"{speed:,.0f}{' *' if row['on_front'] else ''}"


def plus_minus(mean: float, error: float) -> str:
    """A mean with its standard error, where there is one (not NaN)."""
    return f"{mean:.4f}" if error != error else f"{mean:.4f} ± {error:.4f}"


def gain_in_words(row: Mapping[Any, Any]) -> str:
    """The gain over the baseline with its 95 % interval, or that it cannot be told and what would tell it."""
    from tune_digits.stats.compare import MANY_TRAININGS

    if row["gain"] != row["gain"]:
        return "-"
    if row["verdict"] != "cannot tell":
        return f"{row['gain']:+.4f} [{row['gain_low']:+.4f}, {row['gain_high']:+.4f}] {row['verdict']}"
    more = row["more_trainings"]
    return f"{row['gain']:+.4f} cannot tell" + (f" (~{more:.0f} more)" if more <= MANY_TRAININGS else "")


def search_against_confirmed(board: pd.DataFrame) -> str | None:
    """What the order of the search was worth, in words; None for fewer than four configurations."""
    from tune_digits.stats.ranks import spearman_interval

    known = board.dropna(subset=["search_score"])
    if len(known) < 4:
        return None
    seen = spearman_interval(
        known["search_score"].to_numpy(), known["confirmed"].to_numpy(), np.random.default_rng(0)
    )
    if seen.rho != seen.rho:
        return None
    said = (
        f"search against confirmed scores: rank correlation {seen.rho:+.2f}, 95 % interval {seen.low:+.2f} to "
        f"{seen.high:+.2f}, {seen.pairs} configurations"
    )
    return said + ("" if seen.low > 0 else ": the search may not have put them in the right order")


def print_study(study: Study, screen: Screen) -> None:
    """The study as resolved, and each searched parameter with its domain and the baseline's value."""
    from rich.table import Table

    from tune_digits.space.tree import OneOf

    screen.say(study.to_yaml())
    params, _ = study.space.point(study.space.baseline)
    table = Table(box=None, pad_edge=False, title="searched", title_justify="left")
    for column in ("parameter", "domain", "baseline"):
        table.add_column(column, overflow="fold")
    for name, node in study.space.parameters().items():
        domain = " | ".join(node.labels) if isinstance(node, OneOf) else str(node)
        value = params.get(name, "")
        table.add_row(name, domain, f"{value:g}" if isinstance(value, float) else str(value))
    screen.table(table)
    splits = study.cv.splits
    folds = (
        f"the folds of {study.cv.fold_column!r}" if splits is None else f"{splits} fold{'s' * (splits > 1)}"
    )
    screen.say(f"\n{study.search.trials} trials of up to {study.epochs} epochs, {folds}; nothing was started")


def print_report(report: Mapping[str, Any], run: Run, screen: Screen) -> None:
    """An ensemble's scores, round by round, and where its files are."""
    from tune_digits.screen import clock

    metric = report["metric"].replace("_", " ")
    members = report["cross_validation"]["members"]
    screen.say()
    if members:
        low, high = min(m["confirmed"] for m in members), max(m["confirmed"] for m in members)
        screen.say(f"cross-validated {metric} of the members, each alone: {low:.4f} to {high:.4f}")
    for number, figures in enumerate(report["rounds"]):
        what = f"with {figures['pseudo_labels']:,} pseudo-labels" if number else "trained on all labels"
        count = len(report["members"])
        screen.say(f"{count} member{'s' * (count > 1)}, {what}:")
        for name, entry in figures["sets"].items():
            score = f"{metric} {entry['score']:.4f}, " if "score" in entry else ""
            screen.say(
                f"  {name} ({entry['images']:,} images): {score}members unanimous on {entry['unanimous']:.1%}"
            )
    last = report["rounds"][-1]["sets"].get("test", {})
    if "score" in last:
        screen.say(f"test {metric} on the held-out images: {last['score']:.4f}")
    if report["disputed"]:
        screen.say("test images on which the members agree least:")
    for row in report["disputed"]:
        answers = ", ".join(f"{name} {answer}" for name, answer in row["members"].items())
        screen.say(f"  id {row['id']}: {answers}; vote {row['vote']}")
    screen.say(f"took {clock(report['seconds'])}")
    for whose, file in report["submissions"].items():
        of = "" if whose == "vote" else f" of {whose} alone"
        screen.say(f"submission{of}: {run.ensemble / file}")
    screen.say(f"weights and report: {run.ensemble}")
