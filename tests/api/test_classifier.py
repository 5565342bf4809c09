"""The whole search as scikit-learn's estimator: its own checks, and what is particular to images."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_samples import halves
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from tune_digits import ImageSearchClassifier, open_run
from tune_digits.errors import ConfigError, DataError

# as few and as short trainings as tell the blobs of the checks apart
TINY: dict[str, Any] = {
    "confirm.candidates": 1,
    "confirm.folds": 1,
    "model.width": 4,
    "model.depth": 1,
    "optimizer.lr": 0.05,
    "augment": {},
    "model.bn_momentum": 0.1,
    "loss.label_smoothing": 0.0,
    "optimizer.name": "adamw",
    "train.epochs": 8,
    "train.batch_size": 20,
    "train.ema_decay": 0.0,
    "search.grace_period": 1,
}


def tiny(**given: Any) -> ImageSearchClassifier:
    return ImageSearchClassifier(**{"trials": 1, "top": 1, "folds": 2, "overrides": TINY, **given})


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tenth of a second in which the load of the machine is measured."""
    monkeypatch.setattr("tune_digits.machine.work_of_others", lambda: 0.0)


# ── scikit-learn's own checks ────────────────────────────────────────────────────────────────────────


class AnyLength(ImageSearchClassifier):
    """Takes rows of any length, with zeros behind them up to a square of 4 x 4 at least: the checks have tables of two
    to ten columns, and these are no images."""

    def _images(self, x: np.ndarray) -> np.ndarray:
        if x.ndim == 2:
            side = max(ceil(sqrt(x.shape[1])), 4)
            x = np.pad(x, ((0, 0), (0, side * side - x.shape[1])))
        return super()._images(x)


# Nothing of what applies is left out. Checks for what this estimator does not have (sample_weight, decision_function,
# partial_fit, transform, sparse input, several outputs, missing values), scikit-learn leaves out by itself; that of the
# array API is skipped where SCIPY_ARRAY_API is not set.
@parametrize_with_checks([AnyLength(trials=1, top=1, folds=2, overrides=TINY)])
def test_it_is_an_estimator_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


# ── images ───────────────────────────────────────────────────────────────────────────────────────────


def arrays(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (count, 8, 8) and the names of their brighter halves (count,)."""
    data = halves(count, seed=seed)
    assert data.labels is not None
    return data.images[:, 0], np.array(["left", "right"])[data.labels[:, 0]]


@pytest.fixture(scope="module")
def fitted() -> ImageSearchClassifier:
    return tiny().fit(*arrays(100))


def test_it_learns_and_answers_in_names(fitted: ImageSearchClassifier) -> None:
    x, y = arrays(100, seed=3)
    assert fitted.classes_.tolist() == ["left", "right"]
    assert fitted.score(x, y) > 0.9
    np.testing.assert_array_equal(fitted.predict(x), fitted.classes_[fitted.predict_proba(x).argmax(1)])
    assert fitted.image_shape_ == (1, 8, 8)


def test_labels_of_any_kind_are_given_back() -> None:
    x, y = arrays()
    for values in (np.array([-1.0, 1.0]), np.array([True, False]), np.array([7, 3])):
        labels = values[(y == "right").astype(int)]
        found = tiny().fit(x, labels)
        assert found.classes_.tolist() == sorted(values.tolist())
        assert found.predict(x).dtype == values.dtype
        assert found.score(x, labels) > 0.7


def test_the_same_images_in_all_forms_give_the_same_answers(fitted: ImageSearchClassifier) -> None:
    x, y = arrays(100)
    expected = fitted.predict_proba(x)
    np.testing.assert_array_equal(fitted.predict_proba(x[..., None]), expected)
    np.testing.assert_array_equal(fitted.predict_proba(x.astype(np.float32) + 0.25), expected)  # rounded
    flat = tiny().fit(x.reshape(100, -1), y)
    np.testing.assert_array_equal(flat.predict_proba(x.reshape(100, -1)), expected)
    unit = tiny().fit(x / 255, y)
    np.testing.assert_array_equal(unit.predict_proba(x / 255), expected)


def test_floats_within_one_keep_their_scale_when_predicting() -> None:
    x, y = arrays()
    unit = tiny().fit(x / 255, y)
    dark = x / 255 / 255  # would be taken for pixels 0..1 by their values alone, and still are what they are
    np.testing.assert_array_equal(unit.predict_proba(dark), unit.predict_proba(np.rint(x / 255) / 255))
    plain = tiny().fit(x.astype(float), y)
    np.testing.assert_array_equal(plain.predict_proba(x / 255), plain.predict_proba(np.rint(x / 255)))


def test_colour_and_other_shapes() -> None:
    x, y = arrays()
    colour = np.stack([x, x // 2, 255 - x], axis=3)[:, :, :6]
    found = tiny(image_shape=(8, 6, 3)).fit(colour.reshape(60, -1), y)
    assert found.image_shape_ == (3, 8, 6)
    np.testing.assert_array_equal(
        found.predict_proba(colour.reshape(60, -1)), tiny().fit(colour, y).predict_proba(colour)
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((4, 8, 8), np.nan), "NaN"),
        (np.full((4, 8, 8), -1.0), "pixels from -1 to -1; they must be 0..255"),
        (np.full((4, 8, 8), 256.0), "pixels from 256 to 256"),
        (np.zeros((4, 8, 8, 5)), "with 1 to 4 channels"),
        (np.zeros((4, 60)), "no square has as many pixels: give image_shape"),
    ],
)
def test_arrays_that_are_no_images_are_refused(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny().fit(x, ["a", "b"] * 2)


def test_arrays_unlike_those_of_fit_are_refused(fitted: ImageSearchClassifier) -> None:
    with pytest.raises(ValueError, match="but fit had"):
        fitted.predict(np.zeros((2, 8, 9), np.uint8))
    x, y = arrays()
    unit = tiny().fit(x / 255, y)
    with pytest.raises(ValueError, match=r"fit had floats within 0\.\.1"):
        unit.predict(x)
    with pytest.raises(ValueError, match=r"they must be within 0\.\.1, as in fit"):
        unit.predict(x.astype(float))
    with pytest.raises(ValueError, match=r"image_shape is \(8, 9\), but X has 64 values"):
        tiny(image_shape=(8, 9)).fit(x.reshape(60, -1), y)


# ── the search in it ─────────────────────────────────────────────────────────────────────────────────


def test_its_parameters_are_those_of_the_search(tmp_path: Path) -> None:
    x, y = arrays()
    writers = np.array([f"w{i // 10}" for i in range(60)])
    found = tiny(
        trials=3,
        top=2,
        folds=3,
        overrides={**TINY, "confirm.candidates": 2, "optimizer.lr": {"loguniform": [0.01, 0.1]}},
        run_dir=tmp_path / "run",
        random_state=5,
    ).fit(x, y, groups=writers)
    study = open_run(tmp_path / "run").study()
    assert (study.search.trials, study.ensemble.top, study.cv.folds) == (3, 2, 3)
    assert study.resources.executor == "inline" and study.cv.groups == "group"
    assert study.search.seed == study.cv.seed == np.random.RandomState(5).randint(2**31 - 1)
    assert len(found.voter_.members) == 2 and len(found.trials_) == 3
    assert found.answer_ == open_run(tmp_path / "run").answer() and found.best_.trial == found.answer_.trial
    for result in open_run(tmp_path / "run").folder.folds():
        assert len(set(writers[result.valid_idx])) * 10 == len(result.valid_idx)
    assert tiny(executor="ray").get_params()["executor"] == "ray"


def test_the_seed_decides_everything() -> None:
    x, y = arrays()
    first, again, other = (tiny(random_state=s).fit(x, y).predict_proba(x) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    drawn = [tiny(random_state=None).fit(x, y).predict_proba(x) for _ in range(2)]
    assert not np.array_equal(*drawn)


def test_no_folder_is_left_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = tiny().fit(*arrays())
    assert list(tmp_path.iterdir()) == []
    x, _ = arrays(5)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict_proba(x), found.predict_proba(x))
    kept = tiny(run_dir="here/run").fit(*arrays())
    assert kept.leaderboard_.equals(open_run("here/run").leaderboard())


def test_it_is_quiet_unless_it_shall_speak(capsys: pytest.CaptureFixture[str]) -> None:
    tiny().fit(*arrays())
    assert capsys.readouterr().out == ""
    tiny(verbose=True).fit(*arrays())
    assert "60 train, 8x8x1" in capsys.readouterr().out


def test_it_stands_in_cross_validation_and_grid_search() -> None:
    x, y = arrays(100)
    assert cross_val_score(tiny(), x, y, cv=2).min() > 0.7
    grid = GridSearchCV(tiny(), {"top": [1, 2]}, cv=2).fit(x, y)
    assert grid.best_params_ == {"top": 1}
    assert clone(grid.best_estimator_).get_params()["overrides"] == TINY


def test_mistakes_are_those_of_the_command(tmp_path: Path) -> None:
    x, y = arrays()
    with pytest.raises(ConfigError, match="no search space 'agu'"):
        tiny(space="agu").fit(x, y)
    with pytest.raises(ConfigError, match=r"search\.trials 0"):
        tiny(trials=0).fit(x, y)
    with pytest.raises(DataError):
        tiny(folds=50).fit(x, y)
    with pytest.raises(ValueError, match="groups has 3 values for 60 images"):
        tiny().fit(x, y, groups=["w"] * 3)
