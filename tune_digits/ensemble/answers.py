"""What the members of an ensemble say of images that they were not trained on, and the files with their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_digits.data.dataset import Dataset, Task
from tune_digits.ensemble.members import Manifest, predict_members, vote
from tune_digits.ensemble.predictions import Predictions, write_predictions
from tune_digits.ensemble.submission import submission_frame, write_submission
from tune_digits.ensemble.vote import agreement, labels_of, most_disputed
from tune_digits.learn.metrics import score
from tune_digits.screen import Progress, Screen

DISPUTED = 10  # test images on which members disagree that the report lists


@dataclass(frozen=True, slots=True)
class Judged:
    """What the members of one round say. sets: name -> figures of each set of images that is not trained on.

    manifest: with what its vote has learned from the test images. Of the N test images: test_proba, what each member
    says, float32 (M, N, K); test_vote, the vote's probabilities float64 (N, K).
    """

    sets: dict[str, Any]
    manifest: Manifest
    test_proba: np.ndarray
    test_vote: np.ndarray


def judge(
    manifest: Manifest,
    folder: Path,
    task: Task,
    device: Any,
    screen: Screen,
    match: Callable[[Manifest, np.ndarray], Manifest] = lambda manifest, test_proba: manifest,
) -> Judged:
    """What the members say of all images that they were not trained on.

    match: the manifest as it is once the test images are known, from what the members say of them, float32 (M, N, K).
    """
    # the test images first: what the vote learns from them, it knows of the others
    sets: dict[str, Dataset] = {} if task.test is None else {"test": task.test}
    sets |= task.holdouts
    progress = Progress("predict", total=len(sets) * len(manifest.members))
    figures: dict[str, Any] = {}
    test_proba = np.zeros((len(manifest.members), 0, manifest.heads[-1].stop), np.float32)
    with screen.watch(progress):
        for name, dataset in sets.items():
            before = progress.done

            def advance(done: int, before: int = before) -> None:
                progress.done = before + done
                screen.tick(progress)

            proba = predict_members(folder, manifest, dataset.images, device, manifest.tta, advance)
            if dataset is task.test:
                test_proba, manifest = proba, match(manifest, proba)
            voted = vote(proba, manifest)
            entry: dict[str, Any] = {"images": len(dataset), **agreement(proba, manifest.heads)}
            if dataset.labels is not None:
                entry["score"] = score(manifest.metric, voted, dataset.labels, manifest.heads)
                entry["member_scores"] = [
                    score(manifest.metric, p, dataset.labels, manifest.heads) for p in proba
                ]
            figures[name] = entry
    if "test" in figures:  # the last one in the report
        figures["test"] = figures.pop("test")
    return Judged(figures, manifest, test_proba, vote(test_proba, manifest))


def write_answers(
    folder: Path, task: Task, judged: Judged, names: Sequence[str], each: bool
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Write what the vote and the members say of the test images, and its submission; `each`: one of each member, too.

    Files of before are removed. Returns which submission is whose ('vote' or the member's name), and of the most
    disputed test images the id, the class that each member gives, and the vote's; several targets with a slash between
    them.
    """
    for old in (*folder.glob("submission-*.csv"), folder / "proba.npz"):
        old.unlink(missing_ok=True)
    if task.test is None:
        return {}, []
    manifest = judged.manifest
    said = Predictions(
        task.test.ids, task.targets, manifest.form, tuple(names), judged.test_proba, judged.test_vote
    )
    write_predictions(folder / "proba.npz", said)
    by_member = [labels_of(p, manifest.heads) for p in judged.test_proba]
    voted = labels_of(judged.test_vote, manifest.heads)
    answers = {"vote": ("submission.csv", voted)}
    if each:
        for name, labels in zip(names, by_member, strict=True):
            answers[name] = (f"submission-{name}.csv", labels)
    form = task.submission or manifest.form.of(task.test.ids)
    for file, labels in answers.values():
        write_submission(folder / file, submission_frame(form, labels, task.targets))

    def written(labels: np.ndarray) -> str:
        return "/".join(target.classes[label] for target, label in zip(task.targets, labels, strict=True))

    disputed = [
        {
            "id": str(task.test.ids[row]),
            "members": {name: written(own[row]) for name, own in zip(names, by_member, strict=True)},
            "vote": written(voted[row]),
        }
        for row in most_disputed(np.stack(by_member), voted, DISPUTED)
    ]
    return {whose: file for whose, (file, _) in answers.items()}, disputed
