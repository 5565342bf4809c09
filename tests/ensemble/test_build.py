"""From a confirmed run to the submission, whole, in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from run_samples import INLINE, confirmed_run, halves, halves_task, record, small_study
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from tune_digits import disk
from tune_digits.config import Ensemble, TrialConfig
from tune_digits.data.dataset import Dataset, Task
from tune_digits.ensemble.build import build_ensemble, choose
from tune_digits.ensemble.members import (
    find_ensemble,
    predict_members,
    read_manifest,
    refuse_trained_rows,
    vote,
)
from tune_digits.ensemble.retrain import SEEDS
from tune_digits.ensemble.vote import Ballot, cast, labels_of
from tune_digits.errors import RunError
from tune_digits.learn.metrics import Metric, metric_of
from tune_digits.learn.predict import predict_proba
from tune_digits.runs import Run
from tune_digits.screen import Screen
from tune_digits.study import Study
from tune_digits.tune import training
from tune_digits.tune.answer import Answer
from tune_digits.tune.fold_jobs import FRESH

HEADS = (slice(0, 2),)


def soft(proba: np.ndarray) -> np.ndarray:
    return cast(proba, HEADS, Ballot())


def hard(proba: np.ndarray) -> np.ndarray:
    return cast(proba, HEADS, Ballot("hard"))


WHOLE = halves_task(100, test=40)
# no labels: as Kaggle has it
TASK = Task(
    "halves", WHOLE.train, replace(WHOLE.test, labels=None), holdouts={"elsewhere": halves(30, seed=7)}
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Run]:
    study = small_study(
        {"train": {"epochs": 3, "batch_size": 20}},
        search={"trials": 3, "startup_trials": 3, "grace_period": 3},
        confirm={"candidates": 3, "folds": 2},
    )
    run, _ = confirmed_run(tmp_path_factory.mktemp("confirmed"), study, TASK)
    return study, run


def build(
    confirmed: tuple[Study, Run], folder: Path, task: Task = TASK, **plan: Any
) -> tuple[dict[str, Any], Path]:
    """The ensemble of the confirmed run, its files below `folder`: its report and its folder."""
    study, run = confirmed
    own = Run(folder)
    own.path.mkdir(exist_ok=True)
    for name in ("trials", "confirm", "leaderboard.csv", "answer.json"):
        if not (own.path / name).exists():
            (own.path / name).symlink_to(run.path / name)
    plan = Ensemble(**{"top": 2, "pseudo": None, **plan})
    report = build_ensemble(study, own, task, plan, INLINE, Screen())
    return report, find_ensemble(own.path)


def test_what_members_are_other_than_expected_is_said(
    confirmed: tuple[Study, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Screen, "say", lambda self, text: said.append(text))
    study, run = confirmed
    own = Run(tmp_path)
    (own.path / "trials").mkdir(parents=True)
    for trial in run.trials():
        train = trial.config.train.model_copy(update={"keep": "best_score"})
        own.write_trial(replace(trial, config=trial.config.model_copy(update={"train": train})))
    for name in ("leaderboard.csv", "answer.json"):
        (own.path / name).write_bytes((run.path / name).read_bytes())
    build_ensemble(study, own, TASK, Ensemble(top=1, pseudo=None), INLINE, Screen())
    assert [text for text in said if "train.keep: best_score needs validation" in text]


def board(**columns: list[Any]) -> pd.DataFrame:
    count = len(columns["trial"])
    return pd.DataFrame(
        {"confirmed": np.linspace(0.9, 0.8, count), "confirmed_se": 0.01, "out_of_domain": np.nan, **columns}
    )


def test_the_best_confirmed_are_chosen_in_their_order() -> None:
    records = [
        record(n, 0.5, config=TrialConfig.model_validate({"train": {"epochs": n + 1}})) for n in range(4)
    ]
    chosen = choose(board(trial=[2, 0, 3, 1]), records, Ensemble(top=3), said(2))
    assert [(n, c.train.epochs) for n, c in chosen] == [(2, 3), (0, 1), (3, 4)]
    longer = choose(board(trial=[2, 0, 3, 1]), records, Ensemble(top=1, epochs=9), said(2))
    assert [(n, c.train.epochs) for n, c in longer] == [(2, 9)]


def said(trial: int, *tied: int) -> Answer:
    return Answer(trial, "score", "", (trial, *tied), 4, 0.9, None, None, None)


def test_the_one_to_send_in_comes_first() -> None:
    records = [record(n, 0.5) for n in range(4)]
    table = board(trial=[2, 0, 3, 1])
    assert [n for n, _ in choose(table, records, Ensemble(top=2), said(3, 2))] == [3, 2]
    assert [n for n, _ in choose(table, records, Ensemble(top=2, prefer="confirmed"), said(3, 2))] == [2, 0]


@pytest.mark.parametrize("by", ["worst_groups", "out_of_domain"])
def test_another_score_decides_only_among_those_that_cannot_be_told_apart(by: str) -> None:
    records = [record(n, 0.5) for n in range(4)]
    table = board(trial=[2, 0, 3, 1]).assign(**{by: [0.1, 0.2, 0.3, 0.9]})
    plan = Ensemble(top=4, prefer=by)
    assert [n for n, _ in choose(table, records, plan, said(2, 0, 3))] == [3, 0, 2, 1]
    assert [n for n, _ in choose(table, records, plan, said(2, 0))] == [0, 2, 3, 1]
    missing = {"worst_groups": "rows have no groups", "out_of_domain": "no labelled set from elsewhere"}
    with pytest.raises(RunError, match=f"prefer: {by}, but .*{missing[by]}"):
        choose(table.assign(**{by: np.nan}), records, plan, said(2, 0))


def test_named_members_are_taken_as_they_are_named() -> None:
    records = [record(n, 0.5) for n in range(4)]
    named = choose(board(trial=[2, 0]), records, Ensemble(top=1, members=["3", "0"], epochs=9), None)
    assert [(n, c.optimizer.lr, c.train.epochs) for n, c in named] == [(3, 0.04, 9), (0, 0.01, 9)]


def test_equal_configurations_are_one_member() -> None:
    same = TrialConfig.model_validate({"augment": {"rotate": 3}})
    records = [record(0, 0.5), record(1, 0.6, config=same), record(2, 0.7, config=same), record(3, 0.4)]
    chosen = choose(board(trial=[2, 1, 0, 3]), records, Ensemble(top=2), said(2))
    assert [n for n, _ in chosen] == [2, 0]


def test_each_member_has_a_share_of_its_own_configurations_weight(confirmed, tmp_path: Path) -> None:
    report, folder = build(confirmed, tmp_path, seeds=2, vote="weighted", force_members=True)
    ballot = read_manifest(folder).ballot
    assert ballot.configurations == (0, 0, 1, 1)
    by_trial = report["vote"]["weights"]
    shares = [by_trial[str(member["trial"])][0] / 2 for member in report["members"]]
    assert list(ballot.weights[0]) == pytest.approx(shares) and shares[0] != shares[2]


def test_a_declared_class_balance_is_in_the_saved_vote(confirmed, tmp_path: Path) -> None:
    report, folder = build(
        confirmed, tmp_path, top=1, class_balance={"left": 1.0, "right": 9.0}, force_balance=True
    )
    offsets = read_manifest(folder).ballot.offsets
    assert len(offsets) == 2 and offsets[1] > offsets[0]
    assert report["vote"]["class_balance"]["changed"] >= 0


def test_drawn_views_are_in_the_manifest(confirmed, tmp_path: Path) -> None:
    report, folder = build(confirmed, tmp_path, top=1, tta=2, tta_strength=0.5)
    manifest = read_manifest(folder)
    assert (manifest.tta, manifest.tta_strength) == (2, 0.5) == (report["tta"], report["tta_strength"])


def test_members_manifest_report_and_submission_agree(confirmed, tmp_path: Path) -> None:
    _, run = confirmed
    report, folder = build(confirmed, tmp_path, seeds=2)
    best = pd.read_csv(run.leaderboard)["trial"].head(2).tolist()
    assert [(m["trial"], m["seed"]) for m in report["members"]] == [(t, s) for t in best for s in (0, 1)]
    assert disk.read_json(folder / "report.json") == report
    manifest = read_manifest(folder)
    assert list(manifest.members) == [m["file"] for m in report["members"]]
    assert manifest.trained_on == TASK.train.fingerprint
    proba = predict_members(folder, manifest, TASK.test.images, CPU, 1)
    assert len({p.tobytes() for p in proba}) == 4  # other configurations and other seeds
    table = pd.read_csv(folder / "submission.csv")
    assert table["id"].tolist() == TASK.test.ids.tolist()
    labels = labels_of(soft(proba), HEADS)[:, 0]
    assert table["label"].tolist() == [TASK.targets[0].classes[i] for i in labels]
    (figures,) = report["rounds"]
    outside = TASK.holdouts["elsewhere"]
    own = predict_members(folder, manifest, outside.images, CPU, 1)
    entry = figures["sets"]["elsewhere"]
    assert entry["score"] == accuracy_score(outside.labels[:, 0], labels_of(soft(own), HEADS)[:, 0])
    assert entry["member_scores"] == [accuracy_score(outside.labels[:, 0], p.argmax(1)) for p in own]
    assert "score" not in figures["sets"]["test"]
    assert {row["trial"] for row in report["cross_validation"]["members"]} == set(best)
    assert report["cross_validation"]["baseline"]["trial"] == 0


def test_the_report_has_the_cross_validation_of_the_members_and_of_no_others(
    confirmed, tmp_path: Path
) -> None:
    _, run = confirmed
    worst = pd.read_csv(run.leaderboard).iloc[-1]
    report, _ = build(confirmed, tmp_path, members=[str(worst["trial"])])
    (row,) = report["cross_validation"]["members"]
    assert (row["trial"], row["confirmed"]) == (worst["trial"], worst["confirmed"])


def hardly_seen(dataset: Dataset) -> Dataset:
    """The same images in so much noise that members, and views, differ about them."""
    noise = np.random.default_rng(0).integers(0, 256, dataset.images.shape)
    return replace(dataset, images=((dataset.images + 4 * noise) // 5).astype(np.uint8))


def test_each_member_has_a_score_of_its_own(confirmed, tmp_path: Path) -> None:
    hard = hardly_seen(halves(60, seed=5))
    report, folder = build(confirmed, tmp_path, replace(TASK, holdouts={"hard": hard}), top=3)
    proba = predict_members(folder, read_manifest(folder), hard.images, CPU, 1)
    entry = report["rounds"][0]["sets"]["hard"]
    assert entry["member_scores"] == [accuracy_score(hard.labels[:, 0], p.argmax(1)) for p in proba]
    assert len({*entry["member_scores"], entry["score"]}) > 1


def test_the_studys_metric_scores_and_is_kept_with_the_ensemble(confirmed, tmp_path: Path) -> None:
    study, run = confirmed
    uneven = halves(60, seed=11)
    uneven = uneven.take(np.flatnonzero((uneven.labels[:, 0] == 0) | (np.arange(60) % 3 == 0)))
    uneven.labels[:3] = 1  # some are wrong, so that the two scores differ
    other = replace(study, cv=study.cv.model_copy(update={"score": "macro_recall"}))
    report, folder = build((other, run), tmp_path, replace(TASK, holdouts={"uneven": uneven}))
    manifest = read_manifest(folder)
    assert manifest.metric == Metric("macro_recall")
    labels = labels_of(soft(predict_members(folder, manifest, uneven.images, CPU, 1)), HEADS)[:, 0]
    score = report["rounds"][0]["sets"]["uneven"]["score"]
    assert score == pytest.approx(balanced_accuracy_score(uneven.labels[:, 0], labels))
    assert score != accuracy_score(uneven.labels[:, 0], labels)


def test_members_train_on_all_rows_with_seeds_of_their_own(
    confirmed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = confirmed
    seen = []
    original = training.train

    def spy(config: Any, data: Any, rows: np.ndarray, valid: Any, **kwargs: Any) -> Any:
        seen.append((len(rows), valid, kwargs["seed"]))
        return original(config, data, rows, valid, **kwargs)

    monkeypatch.setattr(training, "train", spy)
    build(confirmed, tmp_path, top=1, seeds=3)
    assert [(rows, valid) for rows, valid, _ in seen] == [(100, None)] * 3
    seeds = {seed for *_, seed in seen}
    assert len(seeds) == 3
    assert not seeds & {study.search.seed, *(FRESH + study.search.seed + s for s in range(100))}
    assert min(seeds) == SEEDS


def test_voting_and_views_are_the_plans(confirmed, tmp_path: Path) -> None:
    outside = hardly_seen(TASK.holdouts["elsewhere"])
    task = replace(TASK, test=hardly_seen(TASK.test), holdouts={"elsewhere": outside})
    report, folder = build(confirmed, tmp_path, task, vote="hard", tta=5)
    manifest = read_manifest(folder)
    assert (manifest.ballot.rule, manifest.tta, report["vote"]["rule"], report["tta"]) == (
        "hard",
        5,
        "hard",
        5,
    )
    proba = predict_members(folder, manifest, task.test.images, CPU, 5)
    np.testing.assert_array_equal(vote(proba, manifest), hard(proba))
    labels = labels_of(hard(proba), HEADS)[:, 0]
    plain = predict_members(folder, manifest, task.test.images, CPU, 1)
    assert (labels != labels_of(hard(plain), HEADS)[:, 0]).any()  # the views matter
    assert pd.read_csv(folder / "submission.csv")["label"].tolist() == [("left", "right")[i] for i in labels]
    five = predict_members(folder, manifest, outside.images, CPU, 5)
    score = report["rounds"][0]["sets"]["elsewhere"]["score"]
    assert score == accuracy_score(outside.labels[:, 0], labels_of(hard(five), HEADS)[:, 0])


def test_pseudo_labels_are_the_first_votes_sure_answers_and_train_the_members_again(
    confirmed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = build(confirmed, tmp_path / "plain")
    manifest = read_manifest(folder)
    first = soft(predict_members(folder, manifest, TASK.test.images, CPU, 1))
    cut = float(np.median(first.max(1)))
    rows = np.flatnonzero(first.max(1) >= cut)
    given = []
    original = training.train

    def spy(config: Any, data: training.TrainingData, *args: Any, **kwargs: Any) -> Any:
        given.append((args[0], data))
        return original(config, data, *args, **kwargs)

    monkeypatch.setattr(training, "train", spy)
    written = []
    monkeypatch.setattr(
        "tune_digits.ensemble.answers.labels_of",
        lambda proba, heads: written.append(proba) or labels_of(proba, heads),
    )
    report, again = build(confirmed, tmp_path / "pseudo", pseudo=cut)
    assert [r["pseudo_labels"] for r in report["rounds"]] == [0, len(rows)]
    assert len(given) == 4  # two members, twice
    trained, data = given[-1]
    assert data.pseudo == len(rows)
    np.testing.assert_array_equal(trained, np.arange(100 + len(rows)))
    np.testing.assert_array_equal(data.images[100:], TASK.test.images[rows])
    np.testing.assert_array_equal(data.proba[100:], np.eye(2)[first[rows].argmax(1)])
    assert set(read_manifest(again).members).isdisjoint(manifest.members)
    # the submission is of the last vote
    last = soft(predict_members(again, read_manifest(again), TASK.test.images, CPU, 1))
    assert np.abs(last - first).max() > 1e-6
    np.testing.assert_array_equal(written[-1], last)
    names = [("left", "right")[i] for i in last.argmax(1)]
    assert pd.read_csv(again / "submission.csv")["label"].tolist() == names


def test_members_are_of_their_images_and_of_their_labels(confirmed, tmp_path: Path) -> None:
    """Other images alone, and other labels alone, make other members: none is taken for that of the first data."""
    train = TASK.train
    others = {
        "images": replace(train, images=255 - train.images),
        "labels": replace(train, labels=1 - train.labels),
    }
    first, _ = build(confirmed, tmp_path, top=1)
    seen = {m["file"] for m in first["members"]}
    for changed in others.values():
        report, _ = build(confirmed, tmp_path, replace(TASK, train=changed), top=1)
        files = {m["file"] for m in report["members"]}
        assert not files & seen
        seen |= files


def test_what_is_trained_is_not_trained_again(
    confirmed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, folder = build(confirmed, tmp_path, pseudo=0.5)
    before = {p: p.stat().st_mtime_ns for p in folder.glob("members/*")}

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("all members are there")

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", forbidden)
        again, _ = build(confirmed, tmp_path, pseudo=0.5)
    assert again["members"] == report["members"]
    assert {p: p.stat().st_mtime_ns for p in folder.glob("members/*")} == before
    # one more member: only it is trained
    more, _ = build(confirmed, tmp_path, top=3)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(more["members"]) == 3


def test_an_interrupted_retraining_ends_with_the_same_weights(
    confirmed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = build(confirmed, tmp_path / "whole", top=1)
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    original = training.train
    epochs, seconds = [], []

    def cut(*args: Any, **kwargs: Any) -> Any:
        for told in original(*args, **kwargs):
            epochs.append(told[0].epoch)
            seconds.append(told[0].seconds)
            if len(epochs) == 2:
                raise KeyboardInterrupt
            yield told

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", cut)
        with pytest.raises(KeyboardInterrupt):
            build(confirmed, tmp_path / "cut", top=1)
        states = list((tmp_path / "cut").rglob("*.state.safetensors"))
        assert len(states) == 1
        _, again = build(confirmed, tmp_path / "cut", top=1)
    assert epochs[2:] == [1, 2, 3]
    assert seconds[2:4] == seconds[:2]  # the saved ones are told once more, and not trained
    (one,), (other,) = whole.glob("members/*.safetensors"), again.glob("members/*.safetensors")
    assert one.name == other.name
    same = [predict_members(f, read_manifest(f), TASK.test.images, CPU, 1) for f in (whole, again)]
    np.testing.assert_array_equal(*same)


def test_fewer_confirmed_than_wanted_and_no_leaderboard_are_said(confirmed, tmp_path: Path, capsys) -> None:
    report, _ = build(confirmed, tmp_path, top=9)
    assert len(report["members"]) == 3
    assert "only 3 trials are confirmed" in capsys.readouterr().out
    study, _ = confirmed
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"no leaderboard\.csv yet"):
        build_ensemble(study, Run(tmp_path / "empty"), TASK, Ensemble(), INLINE, Screen())


def test_images_that_were_trained_on_are_not_scored(confirmed, tmp_path: Path) -> None:
    _, folder = build(confirmed, tmp_path, pseudo=0.5)
    refuse_trained_rows(folder, TASK.test.images, Path("test.csv"))  # pseudo-labels are nobody's labels
    some = np.concatenate([TASK.test.images[:5], TASK.train.images[3:5]])
    with pytest.raises(RunError, match=r"some\.csv: the ensemble was trained on 2 of these 7 images"):
        refuse_trained_rows(folder, some, Path("some.csv"))
    (folder / "trained_rows.npz").unlink()
    with pytest.raises(RunError, match=r"trained_rows\.npz: missing"):
        refuse_trained_rows(folder, some, Path("some.csv"))


@pytest.mark.parametrize(
    "preparation",
    [
        *({"normalize": name} for name in ("none", "dataset", "image")),
        {"normalize": "imagenet", "channels": "repeat"},
        {"normalize": {"mean": 0.2, "std": 0.5}},
    ],
    ids=str,
)
def test_a_member_loads_with_the_normalisation_that_it_was_trained_with(
    tmp_path: Path, preparation: dict[str, object]
) -> None:
    study = small_study(
        {"train": {"epochs": 1, "batch_size": 20, **preparation}},
        search={"trials": 1, "grace_period": 1},
        confirm={"candidates": 1, "folds": 1},
    )
    run, _ = confirmed_run(tmp_path / "runs", study, TASK)
    _, folder = build((study, run), tmp_path / "own", top=1)
    data = training.training_data(TASK.train, metric_of(study.cv, TASK.targets))
    config = run.trials()[0].config
    *_, (_, state, _) = training.train(
        config, data, np.arange(100), None, seed=SEEDS, fold=0, slots=INLINE.slots
    )
    proba = predict_members(folder, read_manifest(folder), TASK.test.images, CPU, 1)
    expected = predict_proba(state.best_model, torch.from_numpy(TASK.test.images), HEADS)
    np.testing.assert_array_equal(proba[0], expected)


def test_the_weights_of_the_score_are_kept_with_the_ensemble(confirmed, tmp_path: Path) -> None:
    study, run = confirmed
    weighted = replace(study, cv=study.cv.model_copy(update={"score_weights": {"half": 2.0}}))
    _, folder = build((weighted, run), tmp_path)
    assert read_manifest(folder).metric == Metric("accuracy", (2.0,))


def test_rounds_of_pseudo_labels_go_on_until_the_labels_stay_the_same(
    confirmed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune_digits.ensemble import build as room

    picks = iter([[0, 1], [0, 1, 2], [0, 1, 2], [5]])
    votes = []

    def select(proba: np.ndarray, labels: np.ndarray, heads: Any, rule: Any) -> tuple[np.ndarray, np.ndarray]:
        votes.append(proba)
        assert labels.shape == (1, 40, 1)
        rows = np.array(next(picks))
        return rows, np.eye(2, dtype=np.float32)[np.zeros(len(rows), int)]

    monkeypatch.setattr(room, "select_pseudo", select)
    report, folder = build(confirmed, tmp_path, top=1, pseudo=0.9, pseudo_rounds=4)
    assert [r["pseudo_labels"] for r in report["rounds"]] == [0, 2, 3]
    assert (
        len(votes) == 3 and np.abs(votes[1] - votes[2]).max() > 0
    )  # each round has the vote of the one before
    last = predict_members(folder, read_manifest(folder), TASK.test.images, CPU, 1)
    np.testing.assert_allclose(votes[2], last.mean(0), atol=1e-7)
    picks = iter([[0, 1], [0, 1, 2], [3]])
    fewer, _ = build(confirmed, tmp_path / "fewer", top=1, pseudo=0.9, pseudo_rounds=2)
    assert [r["pseudo_labels"] for r in fewer["rounds"]] == [0, 2, 3]
