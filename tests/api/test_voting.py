"""An ensemble from Python votes as that of the command does, and needs no folder afterwards."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run as run_command
from commands import write_data, write_study
from run_samples import halves

from tune_digits import make_ensemble, open_run
from tune_digits.api.opened import OpenRun
from tune_digits.api.voting import Voter, load_voter
from tune_digits.ensemble.members import predict_members, read_manifest, vote
from tune_digits.errors import DataError, RunError


def fresh(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (count, 8, 8) that no test run has trained on, and their labels."""
    data = halves(count, seed=9)
    assert data.labels is not None
    return data.images[:, 0], np.array(["left", "right"])[data.labels[:, 0]]


@pytest.fixture(scope="module")
def voter(made: OpenRun, tmp_path_factory: pytest.TempPathFactory) -> Voter:
    folder = tmp_path_factory.mktemp("voting") / "run"
    shutil.copytree(made.path, folder)
    run = OpenRun(open_run(folder).folder, made.task)
    overrides = {"ensemble.seeds": 2, "ensemble.tta": 3, "ensemble.epochs": 12}
    found = make_ensemble(run, top=2, overrides=overrides, quiet=True)
    shutil.rmtree(folder)
    return found


def test_it_has_the_members_and_the_views_that_were_asked_for(voter: Voter) -> None:
    assert len(voter.members) == 4 and voter.manifest.tta == 3
    assert {name.split("-")[1] for name in voter.manifest.members} == {"seed0", "seed1"}


def test_it_predicts_the_classes_by_their_names(voter: Voter) -> None:
    images, labels = fresh(100)
    assert voter.classes_.tolist() == ["left", "right"]
    proba = voter.predict_proba(images)
    assert proba.shape == (100, 2)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(voter.predict(images), voter.classes_[proba.argmax(1)])
    assert (voter.predict(images) == labels).mean() > 0.9


def test_images_of_all_forms_are_the_same_images(voter: Voter) -> None:
    images, _ = fresh(5)
    expected = voter.predict_proba(images)
    for other in (images[..., None], images.reshape(5, -1), images.astype(np.float64) / 255):
        np.testing.assert_allclose(voter.predict_proba(other), expected, atol=1e-6)
    with pytest.raises(DataError, match=r"trained on \(1, 8, 8\)"):
        voter.predict_proba(np.zeros((3, 9, 9), np.uint8))


def test_it_pickles_without_its_folder(voter: Voter) -> None:
    images, _ = fresh(5)
    again = pickle.loads(pickle.dumps(voter))
    np.testing.assert_array_equal(again.predict_proba(images), voter.predict_proba(images))


def test_it_answers_as_the_members_in_the_folder_do(made: OpenRun, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "run")
    run = OpenRun(open_run(tmp_path / "run").folder, made.task)
    voter = make_ensemble(run, top=3, overrides={"ensemble.vote": "hard"}, quiet=True)
    folder = run.folder.ensemble
    manifest = read_manifest(folder)
    images, _ = fresh()
    proba = predict_members(folder, manifest, images[:, None], torch.device("cpu"), manifest.tta)
    assert manifest.ballot.rule == "hard" and len(proba) == 3
    np.testing.assert_array_equal(voter.predict_proba(images), vote(proba, manifest))
    np.testing.assert_array_equal(load_voter(folder).predict_proba(images), voter.predict_proba(images))


def test_data_in_memory_are_given_again_where_the_run_was_opened(made: OpenRun, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "run")
    opened = open_run(tmp_path / "run")
    with pytest.raises(RunError, match="the data are not those"):
        make_ensemble(opened, quiet=True)
    assert made.task is not None
    images, labels = made.task.train.images[:, 0], made.task.train.labels[:, 0]
    names = np.array(["left", "right"])[labels]
    with pytest.raises(RunError, match="the data are not those"):
        make_ensemble(opened, data=(images[::-1], names[::-1]), quiet=True)
    assert len(make_ensemble(opened, data=(images, names), quiet=True).members) == 1


def test_data_in_files_are_read_again_and_whole_numbers_are_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "halves")
    write_study(tmp_path / "small.yaml", data={"path": "halves"})
    voter = make_ensemble(open_run(run_command()), quiet=True)
    assert voter.classes_.dtype == np.int64 and voter.classes_.tolist() == [0, 1]
    assert voter.predict(np.zeros((2, 6, 6), np.uint8)).dtype == np.int64


def test_several_targets_have_a_list_each() -> None:
    from dataclasses import replace

    from small_training import IMAGES, TARGETS, config_of, training

    from tune_digits.data.dataset import RowForm
    from tune_digits.data.formats import Auto
    from tune_digits.ensemble.members import Manifest
    from tune_digits.ensemble.vote import Ballot
    from tune_digits.learn.metrics import ACCURACY

    state, epochs = training({})
    next(epochs)
    manifest = Manifest(
        ("a",), TARGETS, (1, 8, 8), Ballot(), 1, None, Auto(), RowForm.wide(TARGETS), ACCURACY, "data"
    )
    voter = Voter(manifest, ((state.model.eval(), config_of({})),))
    shape, tone = voter.predict_proba(IMAGES[:4])
    assert shape.shape == (4, 3) and tone.shape == (4, 2)
    assert [c.tolist() for c in voter.classes_] == [["a", "b", "c"], ["dark", "light"]]
    answers = voter.predict(IMAGES[:4])
    assert answers.shape == (4, 2)
    assert answers[:, 1].tolist() == np.array(["dark", "light"])[tone.argmax(1)].tolist()
    assert replace(manifest, ballot=Ballot("hard")).ballot.rule == "hard"


def test_drawn_views_are_those_of_the_manifest() -> None:
    from dataclasses import replace

    import torch
    from small_training import HEADS, IMAGES, TARGETS, config_of, training

    from tune_digits.data.dataset import RowForm
    from tune_digits.data.formats import Auto
    from tune_digits.ensemble.members import Manifest
    from tune_digits.ensemble.tta import predict_views
    from tune_digits.ensemble.vote import Ballot
    from tune_digits.learn.metrics import ACCURACY

    config = config_of({"augment": {"rotate": 40}})
    state, epochs = training({})
    next(epochs)
    model, form = state.model.eval(), RowForm.wide(TARGETS)
    plain = Manifest(("a",), TARGETS, (1, 8, 8), Ballot(), 3, None, Auto(), form, ACCURACY, "data")
    drawn = replace(plain, tta_strength=0.5)
    images = IMAGES[:4]
    found = Voter(drawn, ((model, config),)).vote(images)
    expected = predict_views(model, config, torch.from_numpy(images), HEADS, 3, 0.5)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - Voter(plain, ((model, config),)).vote(images)).max() > 1e-4


def test_the_views_of_the_manifest_are_those_that_vote(voter: Voter) -> None:
    from dataclasses import replace

    images, _ = fresh(20)
    one = replace(voter, manifest=replace(voter.manifest, tta=1))
    assert not np.array_equal(one.predict_proba(images), voter.predict_proba(images))
