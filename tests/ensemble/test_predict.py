"""predict.py with weights that were never trained: new data of every form, read and written as at the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tune_digits.cli.predict import main
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import RowForm, Target
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_unlabelled
from tune_digits.ensemble.members import (
    Manifest,
    predict_members,
    read_manifest,
    vote,
    write_manifest,
)
from tune_digits.ensemble.vote import Ballot, labels_of
from tune_digits.learn.metrics import ACCURACY
from tune_digits.learn.models import build_model
from tune_digits.trained_rows import write_trained_rows
from tune_digits.tune.networks import save_network

KIND = (Target("label", ("rust", "mould")),)
HEADS = (Target("root", ("ka", "ga", "ma")), Target("vowel", ("none", "i")))
RNG = np.random.default_rng(0)


def ensemble(
    folder: Path, targets: tuple[Target, ...], shape: tuple[int, int, int], data: Auto, form: RowForm
) -> Path:
    config = TrialConfig()
    classes = sum(len(t.classes) for t in targets)
    torch.manual_seed(0)
    channels = shape[0]
    model = build_model(config.model, *shape, classes, (0.5,) * channels, (0.3,) * channels)
    save_network(folder / "m.safetensors", model, config, {})
    manifest = Manifest(("m.safetensors",), targets, shape, Ballot(), 1, None, data, form, ACCURACY, "")
    write_manifest(folder, manifest)
    return folder


def expected(folder: Path, data: Path) -> np.ndarray:
    """The labels (N, T) that the library gives for the data."""
    manifest = read_manifest(folder)
    images, _ = load_unlabelled(data, manifest.shape, manifest.targets, None, manifest.data)
    proba = predict_members(folder, manifest, images, torch.device("cpu"), 1)
    return labels_of(vote(proba, manifest), manifest.heads)


def save(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def images(tmp_path) -> Path:
    for i in range(6):
        save(tmp_path / "new" / f"{i}.png", 12 + i, 16)
    return tmp_path / "new"


def run(tmp_path: Path, model: Path, data: Path, code: int = 0) -> pd.DataFrame | None:
    out = tmp_path / "out.csv"
    out.unlink(missing_ok=True)
    assert main(["--model", str(model), "--data", str(data), "--out", str(out)]) == code
    assert out.exists() == (code == 0)
    return pd.read_csv(out, dtype={0: str}) if code == 0 else None


def test_images_of_any_size_from_a_table_a_folder_or_one_file(tmp_path, images) -> None:
    model = ensemble(tmp_path / "m", KIND, (3, 12, 12), Auto(size=12), RowForm("image", ("label",)))
    labels = expected(model, images)
    names = np.array(KIND[0].classes)[labels[:, 0]].tolist()
    table = run(tmp_path, model, images)
    assert table.to_dict("list") == {"image": [f"{i}.png" for i in range(6)], "label": names}
    (images / "list.csv").write_text("image,who\n" + "".join(f"{i}.png,me\n" for i in (5, 0, 3)))
    listed = run(tmp_path, model, images / "list.csv")
    assert listed.to_dict("list") == {
        "image": ["5.png", "0.png", "3.png"],
        "label": [names[i] for i in (5, 0, 3)],
    }
    one = run(tmp_path, model, images / "4.png")
    assert one.to_dict("list") == {"image": ["4.png"], "label": [names[4]]}


def test_parquet_parts_give_a_row_for_every_target(tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels = RNG.integers(0, 256, (5, 256), dtype=np.uint8)
    columns = {"image_id": [f"Neu_{i}" for i in range(5)]} | {str(i): pixels[:, i] for i in range(256)}
    pq.write_table(pa.table(columns), tmp_path / "test_image_data_0.parquet")
    form = RowForm("row_id", ("target",), ("_vowel", "_root"), ((1,), (0,)), numbers=True)
    model = ensemble(tmp_path / "m", HEADS, (1, 12, 12), Auto(size=12, crop=True), form)
    labels = expected(model, tmp_path)
    table = run(tmp_path, model, tmp_path)
    assert table["row_id"].tolist() == [f"Neu_{i}_{h}" for i in range(5) for h in ("vowel", "root")]
    assert table["target"].tolist() == labels[:, ::-1].reshape(-1).tolist()


def test_other_shapes_are_refused_in_words(tmp_path, images, capsys) -> None:
    model = ensemble(tmp_path / "m", KIND, (3, 12, 12), Auto(), RowForm())
    assert len(run(tmp_path, model, images)) == 6, (
        "image files are resized, also without data.size in the training"
    )
    run(tmp_path, model, tmp_path / "nowhere", code=2)
    assert "no file or folder" in capsys.readouterr().err
    pd.DataFrame(np.zeros((2, 9), int), columns=[f"pixel{i}" for i in range(9)]).to_csv(
        tmp_path / "p.csv", index=False
    )
    run(tmp_path, model, tmp_path / "p.csv", code=2)
    assert "3x3 pixels, but the model was trained on 12x12 with 3 channel(s)" in capsys.readouterr().err


def test_labelled_images_are_resized_to_height_and_width(tmp_path, capsys) -> None:
    """Trained on images 8 high and 12 wide, for which `data.size` was never given; scored on photos of another size."""
    for i, kind in enumerate(("rust", "mould", "rust", "mould")):
        save(tmp_path / "known" / kind / f"{i}.png", 16, 15)
    model = ensemble(tmp_path / "m", KIND, (3, 8, 12), Auto(), RowForm("image", ("label",)))
    write_trained_rows(model, np.zeros(0, np.uint64))
    out = tmp_path / "out.csv"
    assert main(["--model", str(model), "--data", str(tmp_path / "known"), "--out", str(out), "--score"]) == 0
    assert "on 4 labelled images" in capsys.readouterr().out
    assert len(pd.read_csv(out)) == 4
