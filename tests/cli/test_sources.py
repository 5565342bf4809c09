"""What a run starts from or learns from has not seen the rows that judge it, or the search is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROWS, ensemble, folds, search, study, table, write_data, write_study

from tune_digits import disk
from tune_digits.data.fingerprint import row_hashes
from tune_digits.runs import Run
from tune_digits.trained_rows import read_trained_rows
from tune_digits.tune import teacher
from tune_digits.tune.networks import load_network
from tune_digits.tune.teacher import read_teacher

Output = pytest.CaptureFixture[str]
KEPT = ("--set", "confirm.keep_weights=true", "--set", "confirm.folds=3")
SAME = "{run: first, folds: same}"
TEACHER = ("--set", "loss.teacher_weight=0.5")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with `first`, a run on all three folds that kept its weights, and its ensemble."""
    folder = tmp_path_factory.mktemp("sources")
    write_data(folder / "halves")
    write_data(folder / "elsewhere")
    other = table(ROWS, seed=5)
    other.to_csv(folder / "elsewhere" / "train.csv", index=False)
    write_study(folder / "small.yaml", data={"path": "halves"})
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert search("--space", "small.yaml", "--run-dir", "first", *KEPT) == 0
        assert ensemble("--run", "first") == 0
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An own working folder in which `first` and the data are seen."""
    for name in ("first", "halves", "elsewhere", "small.yaml"):
        (tmp_path / name).symlink_to(made / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*flags: object) -> int:
    return search("--space", "small.yaml", "--run-dir", "second", *flags)


def test_kept_weights_are_those_that_answered_for_the_fold(here: Path) -> None:
    first, kept = Run(Path("first")), {}
    for result in folds(first.path):
        file = first.fold_member(result.trial, result.fold, result.seed)
        tensors, facts = disk.read_tensors(file)
        assert (facts["trial"], facts["fold"], facts["seed"]) == (result.trial, result.fold, result.seed)
        kept[result.fold] = torch.cat([tensor.flatten() for tensor in tensors.values()])
    assert len({tuple(weights.tolist()) for weights in kept.values()}) == len(folds(first.path)) == 3
    images = table(ROWS).filter(like="pixel").to_numpy(np.uint8).reshape(ROWS, 1, 6, 6)
    hashes = row_hashes(images)
    for fold in range(3):
        (valid,) = {tuple(r.valid_idx) for r in folds(first.path) if r.fold == fold}
        expected = np.sort(np.delete(hashes, list(valid)))
        np.testing.assert_array_equal(read_trained_rows(first.fold_weights(fold)), expected)


def test_weights_are_not_kept_unasked(here: Path) -> None:
    assert run() == 0
    assert not Path("second/fold_weights").exists()


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (("model.init_from=first",), 20),
        (("model.init_from=first/ensemble",), 20),
        (("loss.teacher=first/out_of_fold.npz", "loss.teacher_weight=0.5"), 20),
    ],
)
def test_networks_that_have_seen_what_is_validated_are_refused(
    here: Path, capsys: Output, source: tuple[str, ...], count: int
) -> None:
    assert run(*(word for key in source for word in ("--set", key))) == 2
    said = capsys.readouterr().err
    assert f"trained on {count} of the 20 images that fold 0 is judged by" in said
    assert "confirm.keep_weights: true" in said
    assert f"{source[0].split('=')[0]}: {{run: FOLDER, folds: same}}" in said
    assert not Path("second").exists()


def test_a_member_named_as_a_file_is_refused_too(here: Path, capsys: Output) -> None:
    (member,) = Path("first/ensemble/members").glob("*.safetensors")
    assert run("--set", f"model.weights={member}") == 2
    assert "trial.model.weights: " in capsys.readouterr().err
    fold = next(Path("first/fold_weights/fold1").glob("*.safetensors"))
    assert run("--set", f"model.weights={fold}") == 2
    assert "trained on 20 of the 20 images that fold 0 is judged by" in capsys.readouterr().err


def test_other_data_may_start_from_it(here: Path, capsys: Output) -> None:
    assert run("--data", "elsewhere", "--set", "model.init_from=first") == 0
    assert "tensors of " in capsys.readouterr().out


def test_what_a_source_started_from_counts_as_seen_by_it(here: Path, capsys: Output) -> None:
    assert search("--space", "small.yaml", "--run-dir", "between", "--data", "elsewhere",
                  "--set", "model.init_from=first", *KEPT) == 0  # fmt: skip
    assert ensemble("--run", "between") == 0
    assert run("--set", "model.init_from=between") == 2
    assert "trained on 20 of the 20 images" in capsys.readouterr().err
    assert run("--set", "model.init_from={run: between, folds: same}") == 2
    assert "trained on 20 of the 20 images" in capsys.readouterr().err
    assert run("--set", "loss.teacher=between/out_of_fold.npz", *TEACHER) == 2
    assert "trained on 20 of the 20 images" in capsys.readouterr().err


def test_a_holdout_must_not_have_been_seen(here: Path, capsys: Output) -> None:
    Path("third").mkdir()
    other = table(ROWS, seed=9)
    other.to_csv("third/train.csv", index=False)
    table(ROWS).drop(columns="writer").head(7).to_csv("third/known.csv", index=False)
    assert run("--data", "third", "--set", "model.init_from=first") == 2
    said = capsys.readouterr().err
    assert "trained on 7 of the 7 images that known is judged by" in said
    assert "leave that holdout out" in said


def test_each_fold_goes_on_from_its_own_weights(here: Path, capsys: Output) -> None:
    # a rate of nearly 0 changes nothing that can be seen
    still = ("--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e-12", "--trials", 1)
    assert run("--set", f"model.init_from={SAME}", *KEPT, *still) == 0
    first, second = Run(Path("first")), Run(Path("second"))
    best = first.best_confirmed()
    assert best is not None
    assert "fold_weights/fold0" in capsys.readouterr().out
    for fold in range(3):
        before, _ = disk.read_tensors(first.fold_member(best, fold, 0))
        after, _ = disk.read_tensors(second.fold_member(0, fold, 0))
        for name, tensor in before.items():
            if name.endswith("weight"):
                torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)
    assert study(second.path)["trial"]["model"]["init_from"]["run"] == str(Path("first").resolve())
    # on all rows it starts from fold 0's
    assert ensemble("--run", "second", "--top", 1) == 0
    (member,) = (second.path / "ensemble/members").glob("*.safetensors")
    before, after = (disk.read_tensors(f)[0] for f in (first.fold_member(best, 0, 0), member))
    for name, tensor in before.items():
        if name.endswith("weight"):
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", ["model.init_from", "loss.teacher"])
def test_other_folds_are_not_the_same_folds(here: Path, capsys: Output, key: str) -> None:
    assert (
        run("--set", f"{key}={SAME}", "--set", "cv.seed=1", *TEACHER[: 2 if key == "loss.teacher" else 0])
        == 2
    )
    said = capsys.readouterr().err
    assert f"trial.{key}: " in said
    assert "of the 20 images that fold 0 is judged by" in said


def test_each_fold_learns_from_its_own_network_and_all_rows_from_out_of_fold_answers(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []

    def network(file: Path, *rest: Any) -> Any:
        asked.append(("network", file.parent.name))
        return load_network(file, *rest)

    def answers(file: Path, *rest: Any) -> Any:
        asked.append(("answers", file.name))
        return read_teacher(file, *rest)

    monkeypatch.setattr(teacher, "load_network", network)
    monkeypatch.setattr(teacher, "read_teacher", answers)
    assert run("--set", f"loss.teacher={SAME}", *TEACHER, *KEPT, "--trials", 1) == 0
    checked, *trained = asked
    assert checked == ("answers", "out_of_fold.npz")  # before the search, since the ensemble will need it
    assert trained == [("network", f"fold{fold}") for fold in (0, 0, 1, 2)]
    asked.clear()
    assert ensemble("--run", "second") == 0
    assert asked == [("answers", "out_of_fold.npz")]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{run: nowhere, folds: same}", "model.init_from: run: is no run folder"),
        ("{run: first, folds: others}", "model.init_from: folds: unknown value 'others'. Allowed: same"),
        ("{run: first}", "model.init_from: folds: missing: fold k of this study uses fold k of that run"),
        ("{run: first, fold: same}", "model.init_from: fold: unknown key; did you mean 'folds'?"),
    ],
)
def test_mistakes_are_named(here: Path, capsys: Output, value: str, words: str) -> None:
    assert run("--set", f"model.init_from={value}") == 2
    assert words in capsys.readouterr().err
