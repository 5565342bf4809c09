"""`ensemble --verify`: each step on outer folds that nothing behind it has seen, whole, in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from run_samples import INLINE, confirmed_run, folds_of, halves_task, small_study

from tune_digits.config import Ensemble
from tune_digits.data.dataset import Task
from tune_digits.ensemble import ladder as room
from tune_digits.ensemble.build import build_ensemble
from tune_digits.ensemble.ladder import STRENGTHS, Ladder, run_ladder, without_labels
from tune_digits.ensemble.retrain import SEEDS
from tune_digits.ensemble.rungs import Rung
from tune_digits.ensemble.tta import predict_views
from tune_digits.ensemble.vote import Ballot, cast
from tune_digits.errors import ConfigError, RunError
from tune_digits.runs import FoldResult, Run
from tune_digits.screen import Screen
from tune_digits.study import Study
from tune_digits.tune import training
from tune_digits.tune.networks import load_network

TASK = halves_task(90)
HEADS = (slice(0, 2),)
STUDY = small_study(
    {"train": {"epochs": 2, "batch_size": 20}, "augment": {"rotate": 10}},
    search={"trials": 2, "startup_trials": 2, "grace_period": 2},
    confirm={"candidates": 2, "folds": 2},
)
FOLDS = folds_of(STUDY, TASK)
PSEUDO = {"pseudo": 0.51, "pseudo_rounds": 2}


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, _ = confirmed_run(tmp_path_factory.mktemp("confirmed"), STUDY, TASK)
    return run


@pytest.fixture(autouse=True)
def the_same_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the labels: folds are stratified by them."""
    monkeypatch.setattr(room, "folds_of", lambda cv, train: FOLDS)


def copied(run: Run, folder: Path) -> Run:
    own = Run(folder)
    own.path.mkdir(exist_ok=True)
    for name in ("trials", "confirm", "leaderboard.csv", "answer.json"):
        (own.path / name).symlink_to(run.path / name)
    return own


def climb(run: Run, task: Task = TASK, study: Study = STUDY, **more: Any) -> Ladder:
    flags = {key: more.pop(key) for key in ("quick", "force") if key in more}
    plan = Ensemble(**{"top": 2, "pseudo": None, **more})
    return run_ladder(study, run, task, plan, INLINE, Screen(), **flags)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[FoldResult]]]:
    """Name and answers of each rung from now on."""
    seen: list[tuple[str, list[FoldResult]]] = []
    real = room.judge_rung

    def judge(name: str, own: list[FoldResult], *rest: Any, **more: Any) -> Rung:
        seen.append((name, own))
        return real(name, own, *rest, **more)

    monkeypatch.setattr(room, "judge_rung", judge)
    return seen


def test_a_folds_own_labels_move_none_of_its_answers(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(monkeypatch)
    plan = {**PSEUDO, "tta": 3, "tta_strength": 0.5, "force": True}
    climb(copied(confirmed, tmp_path / "true"), **plan)
    true, labels = list(seen), TASK.train.labels.copy()
    seen.clear()
    labels[FOLDS[0].valid_idx] = 1 - labels[FOLDS[0].valid_idx]
    poisoned = replace(TASK, train=replace(TASK.train, labels=labels))
    climb(copied(confirmed, tmp_path / "poisoned"), poisoned, **plan)
    names = [[name.partition(" (")[0] for name, _ in side] for side in (true, seen)]
    assert names[0] == names[1] and len(seen) == 5
    for (_, before), (_, after) in zip(true, seen, strict=True):
        np.testing.assert_array_equal(before[0].valid_proba, after[0].valid_proba)
        assert np.abs(before[1].valid_proba - after[1].valid_proba).max() > 1e-3  # they do move the others'
        assert after[0].score == pytest.approx(1 - before[0].score)


def test_members_train_on_the_other_folds_and_on_pseudo_labels_of_their_own(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    original = training.train

    def spy(config: Any, data: training.TrainingData, rows: np.ndarray, valid: Any, **kwargs: Any) -> Any:
        given.append((data, rows, valid, kwargs))
        return original(config, data, rows, valid, **kwargs)

    monkeypatch.setattr(training, "train", spy)
    climb(copied(confirmed, tmp_path), pseudo=0.51, seeds=2, top=1)
    assert len(given) == 12  # two seeds on three folds, twice
    for place, (data, rows, valid, kwargs) in enumerate(given):
        fold = FOLDS[place // 2 % 3]
        assert (kwargs["fold"], kwargs["whole"], valid) == (fold.index, False, None)
        assert kwargs["seed"] == SEEDS + place % 2
        assert not data.proba[fold.valid_idx].any()
        np.testing.assert_array_equal(data.proba[fold.train_idx].sum(1), np.ones(len(fold.train_idx)))
        np.testing.assert_array_equal(rows[: len(fold.train_idx)], fold.train_idx)
        if place < 6:
            assert (len(rows), data.pseudo) == (len(fold.train_idx), 0)
            continue
        more = rows[len(fold.train_idx) :]
        assert data.pseudo == len(more) > 0
        np.testing.assert_array_equal(more, 90 + np.arange(len(more)))
        images = {image.tobytes() for image in TASK.train.images[fold.valid_idx]}
        assert all(data.images[row].tobytes() in images for row in more)
        assert set(data.proba[more].max(1)) == {1.0}


@pytest.mark.parametrize(
    ("named", "rule"), [("soft", "soft"), ("hard", "hard"), ("auto", "soft"), ("stacked", "soft")]
)
def test_the_rungs_are_the_first_member_then_the_vote_then_the_vote_over_views(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, rule: str
) -> None:
    seen = watched(monkeypatch)
    own = copied(confirmed, tmp_path)
    climb(own, tta=3, tta_strength=0.5, vote=named, force=True)
    best = pd.read_csv(own.leaderboard)["trial"].tolist()
    images = torch.from_numpy(TASK.train.images[FOLDS[1].valid_idx])

    def say(trial: int, *views: Any) -> np.ndarray:
        (file,) = (own.ensemble / "ladder/fold1/members").glob(f"{trial:04d}-seed0-*.safetensors")
        model, config = load_network(file, (1, 8, 8), 2, torch.device("cpu"), "")
        return predict_views(model, config, images, HEADS, *views)

    plain = np.stack([say(trial, 1, None) for trial in best])
    views = np.stack([say(trial, 3, 0.5) for trial in best])
    expected = [
        cast(plain[:1], HEADS, Ballot(rule)),
        cast(plain, HEADS, Ballot(rule)),
        cast(views, HEADS, Ballot(rule)),
    ]
    assert [name for name, _ in seen] == [
        "single best model",
        f"+ 2-member {rule} vote",
        "+ TTA 3, strength 0.5",
    ]
    for (_, answers), proba in zip(seen, expected, strict=True):
        assert [a.fold for a in answers] == [0, 1, 2]
        np.testing.assert_allclose(answers[1].valid_proba, proba, atol=1e-6)
        right = proba.argmax(1) == TASK.train.labels[FOLDS[1].valid_idx, 0]
        assert answers[1].score == pytest.approx(right.mean())


def test_without_a_strength_shifts_and_several_strengths_are_tried_and_the_best_is_taken(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    real = room._Climb._answers

    def answers(self: Any, voters: Any) -> list[FoldResult]:
        tried.append(voters.views)
        found = real(self, voters)
        return [replace(r, score=0.99 if voters.views[1] == 0.5 else r.score / 2) for r in found]

    counts = []
    judge = room.judge_rung

    def counted(*args: Any, tried: int = 1, **more: Any) -> Rung:
        counts.append(tried)
        return judge(*args, tried=tried, **more)

    monkeypatch.setattr(room._Climb, "_answers", answers)
    monkeypatch.setattr(room, "judge_rung", counted)
    ladder = climb(copied(confirmed, tmp_path), tta=4, quick=True, force=True)
    assert tried == [(1, None), (1, None), (4, None), *((4, s) for s in STRENGTHS)]
    assert counts == [1, 1, 4]
    assert ladder.rungs[-1].name == "+ TTA 4, strength 0.5"
    assert (ladder.plan.tta, ladder.plan.tta_strength) == (4, 0.5)


def test_quick_is_one_outer_fold(confirmed: Run, tmp_path: Path) -> None:
    own = copied(confirmed, tmp_path)
    climb(own, quick=True)
    assert [p.name for p in (own.ensemble / "ladder").iterdir()] == ["fold0"]


def test_what_is_trained_is_not_trained_again_and_a_killed_climb_goes_on(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copied(confirmed, tmp_path)
    original, count = training.train, [0]

    def killed(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            climb(own, **PSEUDO)
    before = {p: p.stat().st_mtime_ns for p in own.ensemble.rglob("*.safetensors")}
    assert len(before) == 3 and not (own.ensemble / "ladder.csv").exists()
    first = climb(own, **PSEUDO)
    assert {p: p.stat().st_mtime_ns for p in before} == before

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("all is on record")

    monkeypatch.setattr(training, "train", forbidden)
    again = climb(own, **PSEUDO)
    timeless = [[replace(rung, seconds=0.0) for rung in ladder.rungs] for ladder in (first, again)]
    assert timeless[0] == timeless[1]


def decided(monkeypatch: pytest.MonkeyPatch, *used: bool) -> None:
    """Each rung after the first is used or not as it is said here."""
    said = iter((True, *used))

    def judge(name: str, *rest: Any, **more: Any) -> Rung:
        return Rung(name, 0.9, 0.0, 0.0, 0.0, 0.0, 1.0, "cannot tell", 1, next(said), 0.0)

    monkeypatch.setattr(room, "judge_rung", judge)


@pytest.mark.parametrize(
    ("used", "plan"),
    [
        ((True, True, True, True), {}),
        ((True, False, True, True), {"tta": 1, "tta_strength": None}),
        ((True, True, True, False), {"pseudo_rounds": 1}),
        ((True, True, False, True), {}),
        ((True, True, False, False), {"pseudo": None, "pseudo_rounds": 1}),
    ],
)
def test_the_ensemble_has_the_steps_that_are_used(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: Sequence[bool], plan: Any
) -> None:
    decided(monkeypatch, *used)
    whole = {"top": 2, "seeds": 2, "tta": 3, "tta_strength": 0.5, "pseudo": 0.501, "pseudo_rounds": 2}
    ladder = climb(copied(confirmed, tmp_path), **whole, quick=True)
    assert len(ladder.rungs) == 5
    assert ladder.plan == Ensemble(**{**whole, **plan})


def test_where_the_vote_is_not_used_one_network_goes_on_alone(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(monkeypatch, False, True)
    own = copied(confirmed, tmp_path)
    whole = {"top": 2, "seeds": 2, "pseudo": 0.501}
    ladder = climb(own, **whole, quick=True)
    best = str(pd.read_csv(own.leaderboard)["trial"][0])
    assert ladder.plan == Ensemble(**{**whole, "members": (best,), "seeds": 1})
    # the members, and with pseudo-labels the one alone
    assert len(list(own.ensemble.rglob("*.safetensors"))) == 5


def test_pseudo_labels_that_stay_the_same_end_the_climb_and_none_at_all_add_no_rung(
    confirmed: Run, tmp_path: Path
) -> None:
    ladder = climb(copied(confirmed, tmp_path), pseudo=1.0, pseudo_rounds=3, quick=True)
    assert len(ladder.rungs) == 2 and ladder.plan.pseudo is None


def test_sources_that_have_seen_an_outer_fold_are_refused(
    confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(configs: Any, task: Any, folds: Any) -> list[str]:
        assert (len(configs), list(folds)) == (2, list(FOLDS))
        raise ConfigError("seen")

    monkeypatch.setattr(room, "check_sources", check)
    with pytest.raises(ConfigError, match="seen"):
        climb(copied(confirmed, tmp_path))


def test_the_ladder_is_a_table_and_stands_in_the_report(confirmed: Run, tmp_path: Path) -> None:
    own = copied(confirmed, tmp_path)
    ladder = climb(own, quick=True)
    table = pd.read_csv(own.ensemble / "ladder.csv")
    assert table["name"].tolist() == [rung.name for rung in ladder.rungs]
    assert table["score"].tolist() == pytest.approx([rung.score for rung in ladder.rungs])
    plan = Ensemble(top=1, pseudo=None)
    report = build_ensemble(STUDY, own, TASK, plan, INLINE, Screen(), ladder.rows)
    assert report["ladder"] == json.loads((own.ensemble / "report.json").read_text())["ladder"] == ladder.rows
    assert build_ensemble(STUDY, own, TASK, plan, INLINE, Screen())["ladder"] == []


def test_no_leaderboard_no_ladder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no leaderboard\.csv yet"):
        climb(Run(tmp_path))


def test_labels_of_the_fold_are_taken_away_from_a_copy() -> None:
    data = training.training_data(TASK.train, training.Metric())
    blank = without_labels(data, FOLDS[2])
    assert not blank.proba[FOLDS[2].valid_idx].any()
    np.testing.assert_array_equal(blank.proba[FOLDS[2].train_idx], data.proba[FOLDS[2].train_idx])
    assert data.proba[FOLDS[2].valid_idx].any()
