"""What commands print says what the records say."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from commands import search
from rich.console import Console
from run_samples import folds_of, halves_task, small_study

from tune_digits.api.summary import (
    gain_in_words,
    plus_minus,
    print_board,
    print_folds,
    print_report,
    print_study,
    search_against_confirmed,
)
from tune_digits.runs import Run
from tune_digits.screen import Screen


def printed() -> tuple[Screen, io.StringIO]:
    text = io.StringIO()
    return Screen(Console(file=text, width=120)), text


def row(trial: int, role: str, confirmed: float, **more: object) -> dict[str, object]:
    usual: dict[str, object] = {"confirmed_se": 0.002, "gain": 0.01, "gain_se": 0.001, "folds": 5, "seeds": 1}
    usual |= {"gain_low": 0.008, "gain_high": 0.012, "verdict": "better", "more_trainings": 0.0}
    if role == "baseline":
        usual |= {"gain": math.nan, "verdict": "-"}
    return {
        "trial": trial,
        "role": role,
        "confirmed": confirmed,
        "search_score": 0.5 + trial / 100,
        "out_of_domain": math.nan,
        "worst_groups": math.nan,
        **usual,
        **more,
    }


def board_lines(*rows: dict[str, object]) -> list[list[str]]:
    screen, text = printed()
    print_board(pd.DataFrame(rows), screen)
    return [re.split(r"  +", line.strip()) for line in text.getvalue().splitlines() if line.strip()]


def test_the_board_of_a_race_says_who_left_after_how_many_trainings() -> None:
    _, heads, first, second = board_lines(
        row(3, "search", 0.95, trainings=7, left=False), row(0, "baseline", 0.94, trainings=2, left=True)
    )[:4]
    assert heads[2] == "trainings"
    assert (first[2], second[2]) == ("7", "2, left")
    assert "trainings" not in board_lines(row(3, "search", 0.95, trainings=7))[1]


def test_the_board_names_baseline_gain_and_both_scores() -> None:
    _, heads, first, second = board_lines(row(3, "search", 0.95), row(0, "baseline", 0.94))
    assert len(heads) == 4
    assert first == ["3", "0.9500 ± 0.0020", "+0.0100 [+0.0080, +0.0120] better", "0.5300"]
    assert second == ["0 baseline", "0.9400 ± 0.0020", "-", "0.5000"]


def test_a_set_that_was_not_trained_on_has_a_column_where_there_is_one() -> None:
    _, heads, first = board_lines(row(3, "search", 0.95, out_of_domain=0.7))
    assert len(heads) == 5
    assert first[3] == "0.7000"


def test_ten_rows_are_shown_at_most() -> None:
    lines = board_lines(*(row(i, "search", 0.9) for i in range(12)))
    assert [line[0] for line in lines[2:]] == [str(i) for i in range(10)]


def test_a_gain_is_said_with_its_interval_or_with_what_would_tell_it() -> None:
    told = {"gain": 0.005, "gain_low": 0.001, "gain_high": 0.009, "verdict": "better", "more_trainings": 0.0}
    assert gain_in_words(told) == "+0.0050 [+0.0010, +0.0090] better"
    worse = {**told, "gain": -0.005, "gain_low": -0.009, "gain_high": -0.001, "verdict": "worse"}
    assert gain_in_words(worse) == "-0.0050 [-0.0090, -0.0010] worse"
    open_ = {**told, "verdict": "cannot tell", "more_trainings": 7.0}
    assert gain_in_words(open_) == "+0.0050 cannot tell (~7 more)"
    for more in (math.inf, 5e7):  # no advice
        assert gain_in_words({**open_, "more_trainings": more}) == "+0.0050 cannot tell"
    assert gain_in_words({**told, "gain": math.nan, "verdict": "-"}) == "-"


def test_what_more_means_is_said_where_it_stands() -> None:
    told = board_lines(row(3, "search", 0.95))
    assert not any("n more" in line for cells in told for line in cells)
    open_ = board_lines(row(3, "search", 0.95, verdict="cannot tell", more_trainings=4.0))
    assert any("(~n more): trainings" in line for cells in open_ for line in cells)


def test_the_board_says_what_the_order_of_the_search_was_worth() -> None:
    lines = board_lines(*(row(i, "search", 0.9 + i / 100) for i in range(5)))
    assert any(
        "search against confirmed scores: rank correlation +1.00" in " ".join(cells) for cells in lines
    )


def test_the_search_is_held_against_the_confirmation() -> None:
    def said(confirmed: list[float]) -> str | None:
        return search_against_confirmed(pd.DataFrame([row(i, "search", c) for i, c in enumerate(confirmed)]))

    assert said([0.9, 0.91, 0.92]) is None
    assert said([0.9, 0.9, 0.9, 0.9]) is None
    good = said([0.9 + i / 100 for i in range(9)])
    assert good is not None and "correlation +1.00" in good and "9 configurations" in good
    upside_down = said([0.99 - i / 100 for i in range(9)])
    assert upside_down is not None and "correlation -1.00" in upside_down
    assert "right order" not in good
    bad = said([0.93, 0.91, 0.94, 0.9, 0.92])
    assert bad is not None and bad.endswith("may not have put them in the right order")


def test_the_worst_groups_have_a_column_where_there_are_groups() -> None:
    _, heads, first, *_ = board_lines(row(3, "search", 0.95, worst_groups=0.8125))
    assert heads[3] == "worst groups" and first[3] == "0.8125"


def test_the_last_round_of_an_ensemble_is_the_one_that_counts(tmp_path: Path) -> None:
    def figures(pseudo: int, score: float) -> dict[str, object]:
        return {"pseudo_labels": pseudo, "sets": {"test": {"images": 360, "unanimous": 0.5, "score": score}}}

    report = {
        "metric": "macro_recall",
        "members": [{}],
        "cross_validation": {"members": [{"confirmed": 0.91}, {"confirmed": 0.93}]},
        "rounds": [figures(0, 0.9), figures(1234, 0.95)],
        "seconds": 71.0,
        "submissions": {},
        "disputed": [],
    }
    screen, text = printed()
    print_report(report, Run(tmp_path), screen)
    lines = text.getvalue().splitlines()
    for line, words in {
        1: ["macro recall", "0.9100 to 0.9300"],
        2: ["1 member,"],
        3: ["test (360 images)", "macro recall 0.9000", "50.0%"],
        4: ["1,234 pseudo-labels"],
        5: ["0.9500"],
        6: ["held-out", "0.9500"],
        7: ["1:11"],
    }.items():
        for word in words:
            assert word in lines[line]
    assert "submission" not in text.getvalue()
    assert "agree least" not in text.getvalue()
    print_report({**report, "submissions": {"vote": "submission.csv"}}, Run(tmp_path), screen)
    assert f"submission: {tmp_path}/ensemble/submission.csv" in text.getvalue()


def test_one_training_has_no_error() -> None:
    assert plus_minus(0.5, math.nan) == "0.5000"


def test_groups_are_advised_where_none_are_given() -> None:
    task, study = halves_task(), small_study()
    for train, advised in ((replace(task.train, groups=None), True), (task.train, False)):
        screen, text = printed()
        print_folds(folds_of(study, replace(task, train=train)), train, study, screen)
        assert ("--groups" in text.getvalue()) == advised


def test_of_many_folds_the_rest_is_counted() -> None:
    screen, text = printed()
    task = halves_task()
    study = small_study(cv={"folds": 2, "repeats": 7, "groups": "w"})
    print_folds(folds_of(study, task), task.train, study, screen)
    assert "and 2 more" in text.getvalue()


def test_a_dry_run_shows_what_is_searched_and_where_the_baseline_stands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search("--space", "aug", "--dry-run") == 0
    out = capsys.readouterr().out
    assert re.search(r"optimizer\.sgd\.lr\s+loguniform 0\.02 \.\. 0\.5", out)
    assert re.search(r"augment\.rotate\s+uniform 0 \.\. 25\s+0\s", out)
    assert "24 trials of up to 18 epochs, 5 folds" in out
    # every default, and numbers as numbers
    study = yaml.safe_load(out[: out.index("searched")])
    assert study["trial"]["augment"]["hflip"] == 0.0
    assert study["trial"]["augment"]["rotate"] == {"uniform": [0.0, 25.0]}
    adamw, sgd = study["trial"]["optimizer"]["one_of"]
    assert adamw["lr"] == {"loguniform": [0.001, 0.01]} and sgd["weight_decay"] == 0.0005
    assert sgd["nesterov"] is True and "nesterov" not in adamw


def test_a_dry_run_names_the_column_of_folds() -> None:
    screen, text = printed()
    print_study(small_study(cv={"fold_column": "part"}), screen)
    assert "'part'" in text.getvalue().splitlines()[-1]
