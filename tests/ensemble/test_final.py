"""The last judgement, on rows that nothing has touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from run_samples import INLINE, confirmed_run, halves_task, small_study

from tune_digits import disk
from tune_digits.config import Ensemble
from tune_digits.data.folds.untouched import set_aside
from tune_digits.ensemble import final as room
from tune_digits.ensemble.build import build_ensemble
from tune_digits.ensemble.final import final_score, in_words
from tune_digits.ensemble.members import predict_members, read_manifest, vote
from tune_digits.errors import RunError
from tune_digits.learn.metrics import Metric, score
from tune_digits.runs import Run
from tune_digits.screen import Screen
from tune_digits.study import Study

CPU = torch.device("cpu")
CV = {"folds": 3, "untouched": 0.3, "groups": {"rows_per_group": 10}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    study = small_study(
        {"train": {"epochs": 3, "batch_size": 20}}, search={"trials": 1}, confirm={"folds": 2}, cv=CV
    )
    task = set_aside(halves_task(100, test=20), study.cv)
    run, _ = confirmed_run(tmp_path_factory.mktemp("final"), study, task)
    build_ensemble(study, run, task, Ensemble(top=1, pseudo=None), INLINE, Screen())
    return study, run, task


def test_the_ensemble_is_scored_on_rows_that_nothing_has_seen(made: tuple[Study, Run, object]) -> None:
    _, run, task = made
    final, now = final_score(run, task, CPU)
    manifest = read_manifest(run.ensemble)
    proba = vote(predict_members(run.ensemble, manifest, task.untouched.images, CPU, 1), manifest)
    assert final.score == score(Metric(), proba, task.untouched.labels, manifest.heads)
    assert (now, final.look, final.images) == (True, 1, len(task.untouched)) and final.low <= final.score
    seen = {int(i) for r in run.folds() for i in r.valid_idx}
    assert max(seen) < len(task.train)


def test_rows_are_read_once_and_other_ensembles_are_counted(
    made: tuple[Study, Run, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, run, task = made
    first, _ = final_score(run, task, CPU)
    with monkeypatch.context() as patch:
        patch.setattr(room, "predict_members", None)  # nothing is predicted a second time
        assert final_score(run, task, CPU) == (first, False)
    build_ensemble(study, run, task, Ensemble(top=1, pseudo=None, seeds=2), INLINE, Screen())
    second, now = final_score(run, task, CPU)
    assert now and second.look == 2 and second.ensemble != first.ensemble
    assert len(in_words(first, Path("e"))) == 1
    assert "have judged 2 ensembles" in in_words(second, Path("e"))[1]
    assert [look["look"] for look in disk.read_json(run.ensemble / "final.json")["looks"]] == [1, 2]
    changed = replace(task, untouched=task.untouched.take(np.arange(5)))
    assert final_score(run, changed, CPU)[0].images == 5


def test_groups_widen_the_interval(made: tuple[Study, Run, object], tmp_path: Path) -> None:
    _, run, task = made
    (tmp_path / "ensemble").symlink_to(run.ensemble.resolve())
    labels = task.untouched.labels[:, 0]
    wrong = np.repeat(np.arange(2), 15)  # of the second half nothing is right
    proba = np.eye(2)[np.where(wrong == 1, 1 - labels, labels)]
    wide = room._interval("accuracy", None, proba, task, (slice(0, 2),))
    alone = replace(task, untouched=replace(task.untouched, groups=None))
    narrow = room._interval("accuracy", None, proba, alone, (slice(0, 2),))
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    assert room._interval("macro_f1", None, proba, task, (slice(0, 2),)) == (None, None)


def test_without_rows_set_aside_there_is_nothing_to_read(made: tuple[Study, Run, object]) -> None:
    _, run, task = made
    with pytest.raises(RunError, match=r"no rows were set aside.*cv\.untouched=0\.1"):
        final_score(run, replace(task, untouched=None), CPU)
