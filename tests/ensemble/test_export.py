"""The vote as one file for other programs says what the saved ensemble says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from run_samples import INLINE, confirmed_run, halves_task, small_study

from tune_digits.config import Ensemble
from tune_digits.ensemble import export as room
from tune_digits.ensemble.build import build_ensemble
from tune_digits.ensemble.export import NAMES, export, load_vote
from tune_digits.ensemble.members import Manifest, predict_members, read_manifest, vote
from tune_digits.ensemble.vote import Ballot
from tune_digits.errors import RunError
from tune_digits.screen import Screen

IMAGES = np.random.default_rng(0).integers(0, 256, (37, 1, 8, 8), dtype=np.uint8)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    study = small_study(
        {"train": {"epochs": 3, "batch_size": 20}},
        search={"trials": 2, "startup_trials": 2, "grace_period": 3},
        confirm={"candidates": 2, "folds": 2},
    )
    task = halves_task(100, test=20)
    run, _ = confirmed_run(tmp_path_factory.mktemp("exported"), study, task)
    plan = Ensemble(top=2, seeds=2, pseudo=None, force_members=True, vote="soft", tta=3)
    build_ensemble(study, run, task, plan, INLINE, Screen())
    return run.ensemble, read_manifest(run.ensemble)


def expected(folder: Path, manifest: Manifest) -> np.ndarray:
    return vote(predict_members(folder, manifest, IMAGES, CPU, manifest.tta), manifest)


BALLOTS = {
    "soft": Ballot(),
    "hard": Ballot("hard"),
    "weighted": Ballot("weighted", weights=((0.7, 0.1, 0.2, 0.0),)),
    "offsets": Ballot("soft", offsets=(0.4, -0.4)),
}


@pytest.mark.parametrize("name", BALLOTS)
def test_the_network_votes_as_the_ensemble(saved: tuple[Path, Manifest], name: str) -> None:
    folder, manifest = saved
    manifest = replace(manifest, ballot=BALLOTS[name])
    with torch.inference_mode():
        found = load_vote(folder, manifest)(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(found, expected(folder, manifest), atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated, and still what others read
def test_torchscript_needs_nothing_of_this_package(saved: tuple[Path, Manifest]) -> None:
    folder, manifest = saved
    path = export(folder, manifest, "torchscript")
    assert path == folder / NAMES["torchscript"]
    found = torch.jit.load(str(path))(torch.from_numpy(IMAGES)).detach().numpy()
    np.testing.assert_allclose(found, expected(folder, manifest), atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # the converter's, about itself
def test_onnx_says_the_same_for_any_number_of_images(saved: tuple[Path, Manifest]) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    folder, manifest = saved
    session = runtime.InferenceSession(str(export(folder, manifest, "onnx")))
    want = expected(folder, manifest)
    for count in (1, 2, 37):
        (found,) = session.run(["probabilities"], {"images": IMAGES[:count]})
        np.testing.assert_allclose(found, want[:count], atol=1e-5)


def test_what_is_no_network_is_refused(saved: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, manifest = saved
    with pytest.raises(RunError, match="a rank vote cannot be exported; use one of soft"):
        export(folder, replace(manifest, ballot=Ballot("rank")), "onnx")
    with pytest.raises(RunError, match="leave tta_strength out"):
        export(folder, replace(manifest, tta_strength=0.5), "onnx")

    def missing(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr(room.importlib, "import_module", missing)
    with pytest.raises(
        RunError, match=r"onnx is missing; install it with: pip install 'tune_digits\[onnx\]'"
    ):
        export(folder, manifest, "onnx")
