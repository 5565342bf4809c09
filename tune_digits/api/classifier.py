"""A whole search with its ensemble as one estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from tune_digits.api.searching import GROUPS, load_study, screen_of, search_in, with_data
from tune_digits.api.voting import make_ensemble
from tune_digits.data.dataset import Labelled, Target, Task
from tune_digits.data.load import task_in_memory
from tune_digits.data.memory import to_text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOST_CHANNELS = 4


class ImageSearchClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Search a space for the images, confirm the best, and predict with an ensemble of them.

    images: (n, h, w), (n, h, w, c) with 1 to 4 channels, or flat (n, h * w) of square images; flat images of another
    form need `image_shape`, (h, w) or (h, w, c). uint8 and other whole numbers are pixels 0..255. Floats that are all
    within 0..1 in `fit` are multiplied by 255, also in every later `predict`; other floats are pixels 0..255. All are
    rounded to whole pixels. NaN, negative and larger values raise ValueError.

    Args:
        space: study file, a path or a name in `search_spaces/`.
        trials: configurations to try.
        top: members of the ensemble, the best confirmed configurations.
        folds: of the cross-validation; every class needs as many images at least.
        overrides: other keys of the study over what the file says, {"train.epochs": 4}.
        image_shape: of flat images that are not square.
        executor: inline trains in this process, one training after the other; ray side by side.
        run_dir: folder that keeps the run; None: a temporary one, gone after `fit`.
        random_state: seed of folds, sampler and trainings; None: another one in each `fit`.
        verbose: say what happens.

    After `fit`: classes_ (K,), leaderboard_ and trials_ (tables of the run), answer_ (which configuration is best, with
    its corrected score), best_ (that configuration), voter_ (the ensemble), image_shape_ (channels, height, width).
    It pickles without the run folder. Raises UserError as the command `search` does for a space or data that cannot be
    used, and ValueError for arrays that scikit-learn refuses.

    >>> from sklearn.datasets import load_digits
    >>> x, y = load_digits(return_X_y=True)
    >>> small = {"model.width": 8, "train.epochs": 1, "search.grace_period": 1, "confirm.folds": 1}
    >>> search = ImageSearchClassifier("aug.yaml", trials=1, top=1, overrides=small)
    >>> search.fit(x[:200] / 16, y[:200]).predict_proba(x[200:203] / 16).shape
    (3, 10)
    """

    def __init__(
        self,
        space: str = "aug.yaml",
        trials: int = 20,
        *,
        top: int = 5,
        folds: int = 5,
        overrides: Mapping[str, Any] | None = None,
        image_shape: tuple[int, ...] | None = None,
        executor: str = "inline",
        run_dir: str | Path | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.space = space
        self.trials = trials
        self.top = top
        self.folds = folds
        self.overrides = overrides
        self.image_shape = image_shape
        self.executor = executor
        self.run_dir = run_dir
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> ImageSearchClassifier:
        """Search and vote. X: images; y: labels (n,), numbers or names; groups: (n,), rows of one group (writer,
        patient) stay in one fold of the cross-validation."""
        x, labels = validate_data(self, X, y, allow_nd=True, dtype=None)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(column_or_1d(labels, warn=True), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class, {self.classes_[0]!r}; there must be two classes or more")
        self.scale_ = _scale_of(x)
        images = self._images(x)
        self.image_shape_ = images.shape[1:]
        classes = tuple(map(str, range(len(self.classes_))))
        train = Labelled(images, codes[:, None], np.arange(len(images)), (Target("label", classes),))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        given: dict[str, Any] = {
            "search.trials": self.trials,
            "search.seed": seed,
            "cv.seed": seed,
            "cv.folds": self.folds,
            "ensemble.top": self.top,
            "resources.executor": self.executor,
        }
        if groups is not None:
            train.columns[GROUPS] = to_text(groups, "groups")
            if len(train.columns[GROUPS]) != len(train):
                raise ValueError(f"groups has {len(train.columns[GROUPS])} values for {len(train)} images")
            given["cv.groups"] = GROUPS
        study, _ = with_data(
            load_study(self.space, given | dict(self.overrides or {})), Task("", train), None
        )
        task = task_in_memory(train, study.cv)
        with TemporaryDirectory(prefix="tune_digits-") as temporary:
            # the link to the latest run is among the runs of the user only where a run is kept
            folder = Path(temporary, "run") if self.run_dir is None else Path(self.run_dir)
            run = search_in(folder.parent, study, task, run_dir=folder, screen=screen_of(not self.verbose))
            self.leaderboard_, self.trials_ = run.leaderboard(), run.trials()
            self.answer_, self.best_ = run.answer(), run.best()
            self.voter_ = make_ensemble(run, quiet=not self.verbose)
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probabilities float64 (n, K) of images, in the order of `classes_`."""
        check_is_fitted(self)
        images = self._images(validate_data(self, X, allow_nd=True, dtype=None, reset=False))
        if images.shape[1:] != self.image_shape_:
            raise ValueError(
                f"X has images of (channels, height, width) {images.shape[1:]}, but fit had {self.image_shape_}"
            )
        proba = self.voter_.vote(images)
        return np.asarray(proba / proba.sum(1, keepdims=True))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The most probable classes (n,)."""
        columns = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[columns])

    def _images(self, x: np.ndarray) -> np.ndarray:
        """uint8 (n, C, H, W), C-contiguous. Raises ValueError."""
        if x.ndim == 2:
            x = x.reshape(len(x), *self._flat_shape(x.shape[1]))
        if x.ndim == 3:
            x = x[..., None]
        if x.ndim != 4 or x.shape[3] > MOST_CHANNELS:
            raise ValueError(
                f"X has the shape {x.shape}; images are (n, h, w), (n, h, w, c) with 1 to {MOST_CHANNELS} channels, "
                "or flat (n, h * w)"
            )
        if x.dtype != np.uint8:
            x = np.rint(x.astype(np.float64) * self.scale_)
            if x.min() < 0 or x.max() > 255:
                allowed = "within 0..1, as in fit" if self.scale_ == 255 else "0..255"
                raise ValueError(
                    f"Negative values in data, or too large ones: X has pixels from {x.min() / self.scale_:g} to "
                    f"{x.max() / self.scale_:g}; they must be {allowed}"
                )
        elif self.scale_ == 255:
            raise ValueError("X is uint8, but fit had floats within 0..1: give both in the same form")
        return np.ascontiguousarray(np.moveaxis(x, 3, 1).astype(np.uint8))

    def _flat_shape(self, features: int) -> tuple[int, ...]:
        if self.image_shape is not None:
            if len(self.image_shape) not in (2, 3) or int(np.prod(self.image_shape)) != features:
                raise ValueError(
                    f"image_shape is {self.image_shape}, but X has {features} values for each image; it must be (h, w) "
                    "or (h, w, c) with that product"
                )
            return tuple(self.image_shape)
        side = isqrt(features)
        if side * side != features:
            raise ValueError(
                f"X has {features} values for each image, and no square has as many pixels: give image_shape=(h, w)"
            )
        return side, side

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.three_d_array = True
        tags.classifier_tags.multi_label = False
        return tags


def _scale_of(x: np.ndarray) -> int:
    """By what values are multiplied to be pixels 0..255."""
    if x.dtype.kind == "b" or (x.dtype.kind == "f" and x.min() >= 0 and x.max() <= 1):
        return 255
    return 1
