"""An ensemble from Python: the best of a run, retrained on all rows, as an object that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_digits.api.opened import OpenRun
from tune_digits.api.places import CACHE
from tune_digits.api.searching import Data, screen_of, with_data
from tune_digits.config import TrialConfig
from tune_digits.data.labels import is_whole
from tune_digits.data.load import load_task
from tune_digits.data.memory import to_images
from tune_digits.ensemble.build import build_ensemble
from tune_digits.ensemble.members import Manifest, load_member, read_manifest, vote
from tune_digits.ensemble.tta import predict_views
from tune_digits.errors import DataError
from tune_digits.execute.start import start_executor
from tune_digits.run_lock import hold
from tune_digits.study import load_study
from tune_digits.tune.same_data import check_same_data

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Voter:
    """The networks of a saved ensemble and how they vote. It pickles, and needs the ensemble's folder no more.

    manifest: the targets, the images' shape (C, H, W), and the kind of vote. members: (network on the CPU, its
    configuration).
    """

    manifest: Manifest
    members: tuple[tuple[Any, TrialConfig], ...]

    @property
    def classes_(self) -> Any:
        """The classes (K,) in the order of the probabilities' columns: int64 where all are whole numbers, else text.

        A list of them, one for each target, where there are several.
        """
        found = [_names(target.classes) for target in self.manifest.targets]
        return found[0] if len(found) == 1 else found

    def predict_proba(self, x: ArrayLike) -> Any:
        """Probabilities float64 (n, K) of images (n, h, w[, c]) or flat, uint8 0..255 or floats within 0..1.

        A list of them, one for each target, where there are several. Raises DataError for other images than those that
        were trained on.
        """
        proba = self.vote(self._images(x))
        found = [proba[:, head] for head in self.manifest.heads]
        return found[0] if len(found) == 1 else found

    def predict(self, x: ArrayLike) -> np.ndarray:
        """The most probable classes (n,) of images; (n, T) where there are T targets."""
        proba = self.vote(self._images(x))
        columns = [
            _names(target.classes)[proba[:, head].argmax(1)]
            for target, head in zip(self.manifest.targets, self.manifest.heads, strict=True)
        ]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def vote(self, images: np.ndarray) -> np.ndarray:
        """The vote float64 (n, K), all targets side by side, on uint8 images (n, C, H, W)."""
        import torch

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        heads, views = self.manifest.heads, (self.manifest.tta, self.manifest.tta_strength)
        parts = []
        for network, config in self.members:
            parts.append(predict_views(network.to(device), config, pixels, heads, *views))
            network.cpu()
        return vote(np.stack(parts), self.manifest)

    def _images(self, x: ArrayLike) -> np.ndarray:
        channels, height, width = self.manifest.shape
        values = np.asarray(x)
        if values.ndim == 2 and channels == 1 and values.shape[1] == height * width:
            values = values.reshape(-1, height, width)
        images = to_images(values)
        if images.shape[1:] != self.manifest.shape:
            raise DataError(
                f"x has images of (C, H, W) {images.shape[1:]}, but the ensemble was trained on {self.manifest.shape}."
            )
        return images


def load_voter(folder: Path) -> Voter:
    """The ensemble in a folder, read into memory. Raises RunError where there is none."""
    import torch

    manifest = read_manifest(folder)
    members = []
    for name in manifest.members:
        network, config = load_member(folder / name, manifest, torch.device("cpu"))
        members.append((network, config))
    return Voter(manifest, tuple(members))


def make_ensemble(
    run: OpenRun,
    top: int | None = None,
    *,
    data: Data | None = None,
    groups: ArrayLike | None = None,
    overrides: Mapping[str, Any] | None = None,
    address: str | None = None,
    quiet: bool = False,
) -> Voter:
    """Retrain the best of a run on all rows, as the command `ensemble` does, and return what votes.

    top: how many configurations; None: as the study says. data, groups: those of the search, as `search` takes them;
    needed only where they were in memory and the run was opened again later. overrides: other keys of the study, as
    {"ensemble.seeds": 3}. address: of a Ray cluster to join. quiet: print nothing. All files of the ensemble are in the
    run folder afterwards, members that are there already are not trained again.

    Raises UserError: RunError where the data are not those of the search, or nothing is confirmed yet.
    """
    given = {} if top is None else {"ensemble.top": top, "ensemble.members": None}
    given |= overrides or {}
    study = load_study(run.folder.study_file, given, {key: key for key in given})
    screen = screen_of(quiet)
    task = run.task
    if data is not None:
        study, task = with_data(study, data, groups)
    if task is None:
        task = load_task(study.data, study.cv, CACHE)
    screen.say(task.describe())
    check_same_data(run.folder, study, task)
    with hold(run.path, "tune_digits.make_ensemble", screen.warn):
        executor = start_executor(study.resources, address)
        build_ensemble(study, run.folder, task, study.ensemble, executor, screen)
    return load_voter(run.folder.ensemble)


def _names(classes: tuple[str, ...]) -> np.ndarray:
    return np.array(classes, np.int64) if all(map(is_whole, classes)) else np.array(classes, dtype=str)
