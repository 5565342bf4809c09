"""The ensemble as a folder: weights as safetensors and a manifest. Prediction needs only these and this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tune_digits import disk, machine
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import RowForm, Target, head_slices
from tune_digits.data.formats import Auto
from tune_digits.data.options import DataOptions
from tune_digits.ensemble.predictions import row_form
from tune_digits.ensemble.tta import predict_views
from tune_digits.ensemble.vote import VOTES, Ballot, Stack, cast
from tune_digits.errors import RunError, printable
from tune_digits.learn.metrics import Metric
from tune_digits.trained_rows import count_seen, read_trained_rows
from tune_digits.tune.networks import load_network

FORMAT = 4
MANIFEST = "manifest.json"
MOST_SIDE = 4096  # pixels of an image


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a saved ensemble is: enough to build its networks, read images for them and write a submission.

    shape: (C, H, W). members: file names in the folder. ballot: how they vote. tta, tta_strength: as in
    `tta.predict_views`. data: how the training images were read. form: how a submission writes the answer for one
    image. metric: what the study maximised. trained_on: fingerprint of the labelled data that all members were trained
    on.
    """

    members: tuple[str, ...]
    targets: tuple[Target, ...]
    shape: tuple[int, int, int]
    ballot: Ballot
    tta: int
    tta_strength: float | None
    data: DataOptions
    form: RowForm
    metric: Metric
    trained_on: str

    @property
    def heads(self) -> tuple[slice, ...]:
        return head_slices(self.targets)

    @property
    def reading(self) -> DataOptions:
        """How further images are read: as those of the training, and resized to their size where the format can."""
        return self.data.model_copy(update={"size": self.shape[1:]})


def write_manifest(folder: Path, manifest: Manifest) -> None:
    disk.write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "members": list(manifest.members),
            "targets": [{"name": t.name, "classes": list(t.classes)} for t in manifest.targets],
            "shape": list(manifest.shape),
            "vote": asdict(manifest.ballot),
            "tta": manifest.tta,
            "tta_strength": manifest.tta_strength,
            "data": manifest.data.reading(),  # no path of the training data
            "submission": asdict(manifest.form),
            "metric": asdict(manifest.metric),
            "trained_on": manifest.trained_on,
            **machine.environment(),
        },
    )


def read_manifest(folder: Path) -> Manifest:
    """Raises RunError where `folder` holds no finished ensemble of this format."""
    path = folder / MANIFEST
    if not path.exists():
        raise RunError(
            f"{folder}: no saved ensemble (manifest.json is missing); make one with: tune-digits ensemble"
        )
    raw = disk.read_json(path)
    if raw.get("format") != FORMAT:
        raise RunError(
            f"{path}: is of format {raw.get('format')}; this version of tune_digits reads {FORMAT} only. "
            "Make the ensemble again with: tune-digits ensemble"
        )
    try:
        manifest = Manifest(
            members=tuple(raw["members"]),
            targets=tuple(Target(t["name"], tuple(t["classes"])) for t in raw["targets"]),
            shape=tuple(raw["shape"]),
            ballot=_ballot(**raw["vote"]),
            tta=raw["tta"],
            tta_strength=raw["tta_strength"],
            data=Auto.model_validate(raw["data"]),
            form=row_form(**raw["submission"]),
            metric=_metric(**raw["metric"]),
            trained_on=raw["trained_on"],
        )
        _check(manifest)
        return manifest
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def _check(manifest: Manifest) -> None:
    """Raises ValueError for what no ensemble has. The folder may come from anybody, and is not to be trusted."""
    for name in manifest.members:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not name.endswith(".safetensors") or name.startswith("/") or ".." in parts or ":" in name:
            raise ValueError(f"the member {name!r} is no file of weights in the ensemble's folder")
    channels, height, width = manifest.shape
    if not (1 <= channels <= 4 and 1 <= height <= MOST_SIDE and 1 <= width <= MOST_SIDE):
        raise ValueError(f"the shape {manifest.shape} is not that of small images")
    if not manifest.members or not manifest.targets:
        raise ValueError("it has no members or no targets")
    if manifest.ballot.rule not in VOTES or manifest.tta not in range(1, 65):
        raise ValueError(f"it votes {manifest.ballot.rule!r} with {manifest.tta!r} views")
    for target in manifest.targets:
        for text in (target.name, *target.classes):
            if text != printable(text):
                raise ValueError(f"the name {text!r} has a letter that controls a terminal")
    heads = range(len(manifest.targets))
    if any(head not in heads for row in manifest.form.heads for head in row):
        raise ValueError("its submission names a target that is not there")


def _ballot(
    weights: list[list[float]],
    configurations: list[int],
    families: list[int],
    stacks: list[dict[str, Any]],
    offsets: list[float],
    rule: str,
) -> Ballot:
    return Ballot(
        rule,
        tuple(map(tuple, weights)),
        tuple(configurations),
        tuple(families),
        tuple(Stack(tuple(map(tuple, s["coefficients"])), tuple(s["intercepts"])) for s in stacks),
        tuple(offsets),
    )


def _metric(name: str, weights: list[float] | None) -> Metric:
    return Metric(name, None if weights is None else tuple(weights))


def find_ensemble(folder: Path) -> Path:
    """The ensemble's folder that a run's folder or the ensemble's own means. Raises RunError where there is none."""
    for place in (folder, folder / "ensemble"):
        if (place / MANIFEST).is_file():
            return place
    raise RunError(
        f"{folder}: no saved ensemble ({MANIFEST} is missing, also in ensemble/); make one with: tune-digits ensemble"
    )


def refuse_trained_rows(folder: Path, images: np.ndarray, path: Path) -> None:
    """Raise RunError where the members were trained on some of the images uint8 (N, C, H, W): a score on them is too
    good. path: where they are from, for the message."""
    try:
        trained = read_trained_rows(folder)
    except RunError as error:
        raise RunError(f"{error}; make the ensemble again") from None
    if seen := count_seen(images, trained):
        raise RunError(
            f"{path}: the ensemble was trained on {seen:,} of these {len(images):,} images, so its score on them says "
            "nothing. Score it on images that it has not seen; cross-validated scores are in leaderboard.csv"
        )


def load_member(path: Path, manifest: Manifest, device: Any) -> tuple[Any, TrialConfig]:
    """A network ready to predict, on `device`. Raises RunError where the file does not fit."""
    return load_network(path, manifest.shape, manifest.heads[-1].stop, device, "the manifest")


def predict_members(
    folder: Path,
    manifest: Manifest,
    images: np.ndarray,
    device: Any,
    tta: int,
    each: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Probabilities float32 (M, N, K) of every member for uint8 images (N, C, H, W)."""
    import torch

    if images.shape[1:] != manifest.shape:
        raise RunError(
            f"the ensemble was trained on images of (C, H, W) {manifest.shape}, not {images.shape[1:]}"
        )
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    parts = []
    for i, name in enumerate(manifest.members):
        model, config = load_member(folder / name, manifest, device)
        parts.append(predict_views(model, config, pixels, manifest.heads, tta, manifest.tta_strength))
        each(i + 1)
    return np.stack(parts)


def vote(proba: np.ndarray, manifest: Manifest) -> np.ndarray:
    """The ensemble's answer float64 (N, K) from its members' (M, N, K)."""
    return cast(proba, manifest.heads, manifest.ballot)
