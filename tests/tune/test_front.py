"""A search for score and speed: its fronts, what is confirmed of them, and what the leaderboard says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_samples import confirmed_run, fold_result, halves_task, record, small_study

from tune_digits.api.summary import print_board
from tune_digits.screen import Screen
from tune_digits.tune.confirm import candidates
from tune_digits.tune.front import front_first, fronts, with_front
from tune_digits.tune.leaderboard import leaderboard

TASK = halves_task()


def test_fronts_are_those_of_optuna() -> None:
    from optuna.study._multi_objective import _fast_non_domination_rank

    rng = np.random.default_rng(0)
    for objectives in (1, 2, 3):
        values = rng.integers(0, 6, (40, objectives)).astype(float)  # with equal rows
        np.testing.assert_array_equal(fronts(values), _fast_non_domination_rank(-values))


def measured(number: int, score: float, speed: float | None, **more: Any) -> Any:
    return record(number, score, inference_images_per_second=speed, **more)


def test_the_front_is_confirmed_first() -> None:
    records = [
        measured(0, 0.90, 50.0, role="baseline"),  # beaten by all but the last
        measured(1, 0.95, 100.0),
        measured(2, 0.94, 90.0),  # beaten by 1
        measured(3, 0.91, 300.0),
        measured(4, 0.10, None, state="failed"),
    ]
    assert [r.number for r in candidates(records, 2)] == [1, 3, 0]
    assert [r.number for r in candidates(records, 3)] == [1, 3, 2, 0]
    alone = [record(n, score) for n, score in enumerate((0.5, 0.9, 0.7))]
    assert front_first(alone) == alone, "one objective alone has its own order"


def test_the_leaderboard_has_the_speed_and_marks_the_front(capsys: pytest.CaptureFixture[str]) -> None:
    records = [measured(0, 0.9, 1000.0, role="baseline"), measured(1, 0.9, 2000.0), measured(2, 0.9, 1500.0)]
    results = [fold_result(n, f, 0, s) for n, s in enumerate((0.97, 0.95, 0.94)) for f in range(2)]
    board = with_front(leaderboard(records, results), records)
    assert board["inference_images_per_second"].tolist() == [1000.0, 2000.0, 1500.0]
    assert board["on_front"].tolist() == [True, True, False]  # by the confirmed score, not that of the search
    assert board["trial"].tolist() == [0, 1, 2]
    print_board(board, Screen())
    out = capsys.readouterr().out
    assert "2,000 *" in out and "1,500" in out and "1,500 *" not in out and "* on the front" in out


def test_a_board_without_speeds_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    records = [record(0, 0.9, role="baseline")]
    board = leaderboard(records, [fold_result(0, 0, 0, 0.9)])
    assert with_front(board, records) is board
    print_board(board, Screen())
    assert "front" not in capsys.readouterr().out


def test_a_search_for_two_objectives_from_end_to_end(tmp_path: Path) -> None:
    """A wide network is slower at inference: the recorded speeds are those of each trial's own network."""
    tree = {"model": {"name": "lean_cnn", "width": {"choice": [4, 64]}, "depth": 1}, "train": {"epochs": 1}}
    study = small_study(
        tree,
        search={"sampler": "nsga2", "trials": 4, "startup_trials": 2},
        confirm={"candidates": 2, "folds": 2},
    )
    run, board = confirmed_run(tmp_path, study, TASK)
    speeds: dict[int, list[float]] = {4: [], 64: []}
    for one in run.trials():
        assert one.inference_images_per_second is not None
        speeds[one.config.model.width].append(one.inference_images_per_second)
    assert min(speeds[4]) > max(speeds[64])
    by_trial = {r.number: r.inference_images_per_second for r in run.trials()}
    assert board["inference_images_per_second"].tolist() == [by_trial[n] for n in board["trial"]]
    assert board["on_front"].any()
