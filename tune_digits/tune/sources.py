"""What trainings start from or learn from must not have seen the rows that judge them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tune_digits.config import TrialConfig
from tune_digits.config.given import SameFolds
from tune_digits.data.dataset import Task
from tune_digits.data.fingerprint import row_hashes
from tune_digits.data.folds.split import Fold
from tune_digits.errors import ConfigError
from tune_digits.trained_rows import rows_behind
from tune_digits.tune.initial_weights import initial_weights_file
from tune_digits.tune.kept_folds import kept_network, out_of_fold_file
from tune_digits.tune.teacher import rows_behind_teacher


@dataclass(frozen=True, slots=True)
class Source:
    """Networks that a training starts from or learns from.

    key: what names them in the configuration. file: where they or their answers are. rows: hashes uint64 (N,) of the
    images that they were trained on; None where that is not known.
    """

    key: str
    file: Path
    rows: np.ndarray | None


def sources_of(config: TrialConfig, fold: int | None) -> list[Source]:
    """fold: the one that the training leaves out; None where it trains on all rows.

    Raises ConfigError, DataError or RunError where a source cannot be read.
    """
    found = []
    if (weights := initial_weights_file(config.model, fold or 0)) is not None:
        key = "model.weights" if config.model.init_from is None else "model.init_from"
        found.append(Source(key, weights, rows_behind(weights)))
    teacher = config.loss.teacher
    if teacher is not None and config.loss.teacher_weight > 0:
        if isinstance(teacher, SameFolds) and fold is not None:
            file = kept_network(teacher, fold, "loss.teacher")
            rows = rows_behind(file)
        else:
            file = (
                out_of_fold_file(teacher, "loss.teacher") if isinstance(teacher, SameFolds) else Path(teacher)
            )
            rows = rows_behind_teacher(file)
        found.append(Source("loss.teacher", file, rows))
    return found


def check_sources(configs: Sequence[TrialConfig], task: Task, folds: Sequence[Fold]) -> list[str]:
    """Refuse sources that were trained on rows which judge a training: those of its fold, or of a holdout.

    folds: those that are trained. Returns a line for each teacher of which that is not known. Raises ConfigError.
    """
    holdouts = {name: dataset.images for name, dataset in task.holdouts.items()}
    unknown: dict[str, None] = {}
    for fold in folds:
        sources = {(s.key, s.file): s for config in configs for s in sources_of(config, fold.index)}
        judges = {f"fold {fold.index}": task.train.images[fold.valid_idx], **holdouts} if sources else {}
        hashes = {name: row_hashes(images) for name, images in judges.items()}
        for source in sources.values():
            if source.rows is None:
                # weights of which nothing is known are somebody else's, such as ImageNet's
                if source.key == "loss.teacher":
                    unknown[
                        f"{source.file} does not say which rows the teacher was trained on; if rows that are "
                        "validated here are among them, all scores are too good"
                    ] = None
                continue
            for name, rows in hashes.items():
                if seen := int(np.isin(rows, source.rows).sum()):
                    raise ConfigError(
                        f"trial.{source.key}: {source.file} comes from networks that were trained on {seen:,} of the "
                        f"{len(rows):,} images that {name} is judged by, so every score would be too good. "
                        + _way_out(source.key, name in holdouts)
                    )
    return list(unknown)


def _way_out(key: str, of_holdout: bool) -> str:
    if of_holdout:
        return "Use networks that have not seen them, or leave that holdout out"
    return (
        "Use networks of other data, or those of a run on the same folds: search there with "
        f"confirm.keep_weights: true, and give {key}: {{run: FOLDER, folds: same}}"
    )
