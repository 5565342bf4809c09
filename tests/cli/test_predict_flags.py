"""Every flag of `predict` changes what it says: each has a test that fails where the flag is not passed on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import Covered, contents, predict, table
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from tune_digits import disk
from tune_digits.cli.predict import make_parser
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_unlabelled
from tune_digits.ensemble import members
from tune_digits.ensemble.predictions import read_predictions

flags = Covered()
Output = pytest.CaptureFixture[str]


def test_every_flag_has_a_test() -> None:
    known = {flag for action in make_parser()._actions for flag in action.option_strings}
    assert known - {"-h", "--help"} == flags.names


@pytest.fixture
def model(one_ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the ensemble's folder, alone in the working folder beside two tables of images."""
    shutil.copytree(one_ensemble, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    new = table(30, seed=5).drop(columns="writer")
    new["label"] = np.where(new.index % 3 == 0, 1 - new["label"], new["label"])  # some are told wrong
    new.to_csv("labelled.csv", index=False)
    new.drop(columns="label").iloc[:7].to_csv("few.csv", index=False)
    return tmp_path / "model"


def rows(path: str) -> pd.DataFrame:
    return pd.read_csv(path)


@flags("--data", "--out", "--model")
def test_data_are_predicted_into_the_file_that_is_named(model: Path, capsys: Output) -> None:
    assert predict("--model", model, "--data", "few.csv", "--out", "deep/few.csv") == 0
    assert len(rows("deep/few.csv")) == 7
    assert "7 rows: deep/few.csv\n" in capsys.readouterr().out
    assert predict("--model", model, "--data", "labelled.csv") == 0
    assert len(rows("submission.csv")) == 30
    assert rows("submission.csv")["label"].tolist()[:7] == rows("deep/few.csv")["label"].tolist()


@flags("--data")
def test_data_must_be_named_and_there(model: Path, capsys: Output) -> None:
    with pytest.raises(SystemExit, match="2"):
        predict("--model", model)
    assert "--data" in capsys.readouterr().err
    assert predict("--model", model, "--data", "nowhere.csv") == 2
    assert "nowhere.csv" in capsys.readouterr().err
    assert not Path("submission.csv").exists()


@flags("--out")
def test_nothing_is_overwritten(model: Path, capsys: Output) -> None:
    Path("mine.csv").write_text("mine")
    assert predict("--model", model, "--data", "few.csv", "--out", "mine.csv") == 2
    assert "mine.csv" in capsys.readouterr().err
    assert Path("mine.csv").read_text() == "mine"


@flags("--proba")
def test_probabilities_are_written_into_a_file_of_their_own(model: Path, capsys: Output) -> None:
    assert predict("--model", model, "--data", "few.csv", "--proba", "few.npz") == 0
    said = read_predictions(Path("few.npz"))
    manifest = members.read_manifest(model)
    assert said.members.shape == (2, 7, 2) and len(set(said.names)) == 2
    np.testing.assert_array_equal(members.vote(said.members, manifest), said.vote)
    assert said.vote.argmax(1).tolist() == rows("submission.csv")["label"].tolist()
    assert said.ids.tolist() == rows("submission.csv")["id"].tolist()
    assert predict("--model", model, "--data", "few.csv", "--out", "again.csv", "--proba", "few.csv.csv") == 0
    assert rows("few.csv.csv").to_numpy()[:, 1:] == pytest.approx(said.vote)
    assert predict("--model", model, "--data", "few.csv", "--out", "third.csv", "--proba", "few.npz") == 2
    assert "--proba few.npz: is there already" in capsys.readouterr().err
    assert not Path("third.csv").exists()


@flags("--run", "--model")
def test_the_ensemble_is_found_in_a_run_or_by_itself(model: Path, capsys: Output) -> None:
    (model.parent / "runs").mkdir()
    for number, folder in enumerate(("runs/latest", "runs/old")):
        (model.parent / folder).mkdir()
        shutil.copytree(model, f"{folder}/ensemble")
        # told apart by what the answers are called
        manifest = model.parent / folder / "ensemble/manifest.json"
        text = json.dumps(disk.read_json(manifest)).replace('"label"', f'"answer{number}"')
        disk.write_json(manifest, json.loads(text))
    for number, where in ((0, ()), (1, ("--run", "runs/old")), (1, ("--model", "runs/old/ensemble"))):
        out = f"{len(list(Path().glob('*.csv')))}.csv"
        assert predict(*where, "--data", "few.csv", "--out", out) == 0
        assert list(rows(out)) == ["id", f"answer{number}"]
    assert predict("--run", "nowhere", "--data", "few.csv") == 2
    assert "nowhere" in capsys.readouterr().err


@flags("--data")
def test_image_files_of_another_size_are_resized_as_the_reader_does(model: Path) -> None:
    """Trained on a table of 6x6 pixels, for which `data.size` was never given."""
    rng = np.random.default_rng(3)
    Path("photos").mkdir()
    for i in range(12):
        pixels = rng.integers(0, 80, (14, 11), np.uint8)
        pixels[:, 5 * (i % 2) : 5 + 5 * (i % 2)] += 90
        Image.fromarray(pixels).save(f"photos/{i:02d}.png")
    assert predict("--model", model, "--data", "photos", "--out", "resized.csv") == 0
    manifest = members.read_manifest(model)
    assert manifest.shape == (1, 6, 6)
    images, ids = load_unlabelled(Path("photos"), manifest.shape, manifest.targets, None, Auto(size=6))
    proba = members.predict_members(model, manifest, images, torch.device("cpu"), manifest.tta)
    expected = members.vote(proba, manifest).argmax(1)
    assert rows("resized.csv")["label"].tolist() == [int(manifest.targets[0].classes[i]) for i in expected]
    assert len(set(expected)) == 2 and len(ids) == 12
    # the same images with their labels
    for i in range(12):
        (Path("labelled") / str(1 - i % 2)).mkdir(parents=True, exist_ok=True)
        shutil.copy(f"photos/{i:02d}.png", f"labelled/{1 - i % 2}/{i:02d}.png")
    assert predict("--model", model, "--data", "labelled", "--out", "scored.csv", "--score") == 0


@flags("--tta")
def test_views_per_image_are_those_of_the_ensemble_unless_others_are_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    seen = []
    real = members.predict_members

    def watched(folder: Any, manifest: Any, images: Any, device: Any, tta: int, each: Any) -> np.ndarray:
        seen.append(tta)
        return real(folder, manifest, images, device, tta, each)

    monkeypatch.setattr(members, "predict_members", watched)
    for given in ((), ("--tta", 1), ("--tta", 9)):
        assert predict("--model", model, "--data", "few.csv", "--out", f"{len(seen)}.csv", *given) == 0
    assert seen == [3, 1, 9]
    for wrong in (0, 10):
        with pytest.raises(SystemExit, match="2"):
            predict("--model", model, "--data", "few.csv", "--tta", wrong)
        assert "--tta" in capsys.readouterr().err


@flags("--threads")
def test_threads_are_so_many(model: Path, capsys: Output) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            assert (
                predict(
                    "--model", model, "--data", "few.csv", "--out", f"{threads}.csv", "--threads", threads
                )
                == 0
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for wrong in ("0", "-1", "many"):
        with pytest.raises(SystemExit, match="2"):
            predict("--model", model, "--data", "few.csv", "--threads", wrong)
        assert "--threads" in capsys.readouterr().err


@flags("--score")
def test_the_score_on_labelled_data_is_printed(model: Path, capsys: Output) -> None:
    assert predict("--model", model, "--data", "labelled.csv", "--score") == 0
    right = (rows("submission.csv")["label"] == rows("labelled.csv")["label"]).mean()
    assert 0 < right < 1
    assert f"accuracy {right:.4f} on 30 labelled images\n" in capsys.readouterr().out
    assert predict("--model", model, "--data", "labelled.csv", "--out", "again.csv") == 0
    assert "accuracy" not in capsys.readouterr().out


@flags("--score")
def test_images_that_were_trained_on_are_not_scored(model: Path, one_search: Path, capsys: Output) -> None:
    seen = rows(str(one_search / "halves/train.csv")).drop(columns="writer").iloc[:4]
    pd.concat([rows("labelled.csv"), seen]).to_csv("mixed.csv", index=False)
    before = contents(model.parent)
    assert predict("--model", model, "--data", "mixed.csv", "--score") == 2
    message = capsys.readouterr().err
    assert "4 of these 34" in message and "mixed.csv" in message
    assert contents(model.parent) == before
    # without a score they are images as any others
    assert predict("--model", model, "--data", "mixed.csv") == 0


@flags("--score")
def test_without_labels_there_is_no_score(model: Path, capsys: Output) -> None:
    assert predict("--model", model, "--data", "few.csv", "--score") == 2
    assert "few.csv" in capsys.readouterr().err
    assert not Path("submission.csv").exists()


@flags("--debug")
def test_debug_shows_the_traceback_of_a_mistake(model: Path, capsys: Output) -> None:
    for debug in ((), ("--debug",)):
        assert predict("--model", model, "--data", "nowhere.csv", *debug) == 2
        err = capsys.readouterr().err
        assert "error: " in err and ("Traceback" in err) == bool(debug)


def test_no_run_folder_is_made(model: Path) -> None:
    assert predict("--model", model, "--data", "few.csv") == 0
    assert not Path("runs").exists()


@flags("--score")
def test_the_score_is_the_studys_metric(model: Path, tmp_path: Path, capsys: Output) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    manifest = disk.read_json(other / "manifest.json")
    manifest["metric"] = {"name": "macro_recall", "weights": None}
    disk.write_json(other / "manifest.json", manifest)
    table = rows("labelled.csv")
    first = table["label"].iloc[0]
    uneven = table[(table["label"] == first) | (np.arange(len(table)) % 3 == 0)]
    uneven.to_csv("uneven.csv", index=False)
    assert predict("--model", other, "--data", "uneven.csv", "--out", "o.csv", "--score") == 0
    expected = balanced_accuracy_score(uneven["label"], rows("o.csv")["label"])
    assert expected != (uneven["label"].to_numpy() == rows("o.csv")["label"].to_numpy()).mean()
    assert f"macro recall {expected:.4f} on {len(uneven)} labelled images" in capsys.readouterr().out
