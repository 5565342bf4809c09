"""What a run shows in Python is what its folder holds."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from run_samples import fold_result, record

from tune_digits import open_run, runs
from tune_digits.api.opened import OpenRun, difference
from tune_digits.config import TrialConfig
from tune_digits.errors import RunError
from tune_digits.tune.answer import Answer, write_answer


def test_opening_finds_the_folder_and_refuses_another(made: OpenRun, tmp_path: Path) -> None:
    again = open_run(str(made.path))
    assert again.path == made.path and again.task is None
    with pytest.raises(RunError, match="no run folder"):
        open_run(tmp_path)


def test_trials_have_a_row_each_with_what_was_searched(made: OpenRun) -> None:
    table = made.trials()
    records = made.folder.trials()
    assert table["trial"].tolist() == [r.number for r in records] == [0, 1, 2, 3]
    assert table["role"].tolist() == ["baseline", "search", "search", "search"]
    assert table["optimizer.lr"].tolist() == [r.config.optimizer.lr for r in records]
    assert table["score"].tolist() == [r.score for r in records]
    assert table["seconds"].gt(0).all() and table["epochs"].eq(4).all()


def test_a_trial_without_a_score_has_none_in_the_table(tmp_path: Path) -> None:
    run = runs.create_run(tmp_path, "aug", "", {})
    run.write_trial(record(0, None, state="failed", error="out of memory"))
    row = OpenRun(run).trials().iloc[0]
    assert math.isnan(row["score"]) and row["error"] == "out of memory"


def test_epochs_are_those_of_every_trial(made: OpenRun) -> None:
    table = made.epochs()
    assert table.groupby("trial")["epoch"].apply(list).tolist() == [[1, 2, 3, 4]] * 4
    ends = table[table["epoch"] == 4].set_index("trial")["score"]
    assert ends.tolist() == [made.folder.epochs(n)[-1]["score"] for n in range(4)]


def test_the_leaderboard_is_that_of_the_file_and_of_the_answer(made: OpenRun) -> None:
    board, answer = made.leaderboard(), made.answer()
    ours = ["answer", "corrected", "corrected_low", "corrected_high"]
    pd.testing.assert_frame_equal(board.drop(columns=ours), pd.read_csv(made.folder.leaderboard))
    assert board.columns.tolist().index("answer") == board.columns.tolist().index("confirmed_se") + 1
    own = board[board["answer"]]
    assert own["trial"].tolist() == [answer.trial]
    assert own[ours[1:]].iloc[0].tolist() == [answer.corrected, answer.low, answer.high]
    assert board[~board["answer"]][ours[1:]].isna().all(axis=None)


def test_the_corrected_score_stands_at_the_answer_which_need_not_lead(tmp_path: Path) -> None:
    run = runs.create_run(tmp_path, "aug", "", {})
    run.leaderboard.write_text("trial,confirmed,confirmed_se\n3,0.91,0.1\n0,0.9,0.1\n")
    write_answer(run, Answer(0, "prior", "tied", (3, 0), 2, 0.9, 0.88, 0.8, 0.95))
    board = OpenRun(run).leaderboard()
    assert board["answer"].tolist() == [False, True]
    assert board["corrected"].isna().tolist() == [True, False] and board["corrected"][1] == 0.88


def test_a_metric_that_is_not_corrected_leaves_the_column_empty(tmp_path: Path) -> None:
    run = runs.create_run(tmp_path, "aug", "", {})
    run.leaderboard.write_text("trial,confirmed,confirmed_se\n3,0.9,0.1\n")
    write_answer(run, Answer(3, "score", "best", (3,), 1, 0.9, None, None, None))
    board = OpenRun(run).leaderboard()
    assert board["answer"].tolist() == [True] and board["corrected"].isna().all()


def test_before_the_confirmation_there_is_no_leaderboard_and_no_answer(tmp_path: Path) -> None:
    run = OpenRun(runs.create_run(tmp_path, "aug", "", {}))
    for ask in (run.leaderboard, run.answer, run.best, run.oof):
        with pytest.raises(RunError, match="finish the search with"):
            ask()


def test_out_of_fold_probabilities_score_as_the_leaderboard_says(
    made: OpenRun, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    _, labels = arrays
    board = made.leaderboard().set_index("trial")
    for trial in range(4):
        seen = made.oof(trial)
        assert seen.trial == trial and seen.rows.tolist() == list(range(len(labels)))
        np.testing.assert_allclose(seen.proba.sum(1), 1, atol=1e-5)
        right = np.array(["left", "right"])[seen.proba.argmax(1)] == labels[seen.rows]
        # folds of twenty rows each: the mean over folds is that over rows
        assert right.mean() == pytest.approx(board.loc[trial, "confirmed"])
    assert made.oof().trial == made.answer().trial


def test_out_of_fold_rows_are_those_that_were_validated_and_seeds_are_averaged(tmp_path: Path) -> None:
    run = runs.create_run(tmp_path, "aug", "", {})
    for seed, (first, second) in enumerate([(0.2, 0.9), (0.4, 0.7)]):
        proba = np.array([[first, 1 - first], [second, 1 - second]], np.float32)
        plain = {f: getattr(fold_result(5, 1, seed, 0.5), f) for f in ("score", "seconds", "fingerprints")}
        run.write_fold(runs.FoldResult(5, 1, seed, np.array([7, 3]), proba, **plain))
    seen = OpenRun(run).oof(5)
    assert seen.rows.tolist() == [3, 7]
    np.testing.assert_allclose(seen.proba[:, 0], [0.8, 0.3], atol=1e-6)
    with pytest.raises(RunError, match="trial 4 is not confirmed"):
        OpenRun(run).oof(4)


# ── the best ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_best_is_the_trial_of_the_answer_and_its_difference_to_the_baseline(tmp_path: Path) -> None:
    run = runs.create_run(tmp_path, "aug", "", {})
    plain = TrialConfig.model_validate({"optimizer": {"name": "adamw", "lr": 0.01}})
    better = TrialConfig.model_validate({"optimizer": {"name": "adamw", "lr": 0.02}})
    run.write_trial(record(0, 0.5, role="baseline", config=plain))
    run.write_trial(record(1, 0.9, config=better))
    run.write_trial(record(2, 0.8, config=plain))
    write_answer(run, Answer(1, "score", "best", (1,), 2, 0.9, 0.9, 0.8, 1.0))
    best = OpenRun(run).best()
    assert (best.trial, best.config) == (1, better)
    assert yaml.safe_load(best.difference) == {"optimizer": {"lr": 0.02}}
    write_answer(run, Answer(0, "score", "best", (0,), 2, 0.9, 0.9, 0.8, 1.0))
    assert OpenRun(run).best().difference == "{}\n"


def configs() -> st.SearchStrategy[TrialConfig]:
    optimizers = st.one_of(
        st.fixed_dictionaries({"name": st.just("adamw"), "lr": st.sampled_from([0.01, 0.02])}),
        st.fixed_dictionaries({"name": st.just("sgd"), "momentum": st.sampled_from([0.8, 0.9])}),
    )
    augment = st.fixed_dictionaries(
        {"rotate": st.sampled_from([0, 5.5]), "ps": st.sampled_from([{}, {"rotate": 0.5}])}
    )
    models = st.sampled_from([{"name": "lean_cnn", "width": 8}, {"name": "lean_cnn"}, {"name": "keras8"}])
    parts = {"optimizer": optimizers, "augment": augment, "model": models}
    return st.fixed_dictionaries(parts).map(TrialConfig.model_validate)


@settings(max_examples=60, deadline=None)
@given(configs(), configs())
def test_the_difference_laid_over_the_baseline_is_the_configuration(
    config: TrialConfig, baseline: TrialConfig
) -> None:
    tree: dict[str, Any] = baseline.model_dump(mode="json")
    for part, values in difference(config, baseline).items():
        assert values
        tree[part] = values if "name" in values else {**tree[part], **values}
    assert TrialConfig.model_validate(tree) == config


def test_the_answer_is_that_of_the_folder(made: OpenRun) -> None:
    raw = made.folder.answer()
    assert raw is not None
    assert asdict(made.answer()) == {**raw, "tied": tuple(raw["tied"])}
    assert made.study().search.trials == 4
