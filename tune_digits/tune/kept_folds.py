"""The networks that another run's confirmation has kept, one for each fold (`{run: FOLDER, folds: same}`)."""

from __future__ import annotations

from pathlib import Path

from tune_digits.config.given import SameFolds
from tune_digits.data.fingerprint import hash_of
from tune_digits.disk import file_digest
from tune_digits.errors import ConfigError, RunError
from tune_digits.runs import Run, open_run


def kept_network(source: SameFolds, fold: int, key: str) -> Path:
    """The file of the network that fold `fold` of the run's best configuration ended with, its first seed.

    key: what names the run, for messages. Raises ConfigError where the run has kept none.
    """
    run, best = _best(source, key)
    file = run.fold_member(best, fold, 0)
    if not file.is_file():
        raise ConfigError(
            f"{key}: {run.path} has kept no weights of fold {fold} of trial {best}, its best; search there with "
            "confirm.keep_weights: true, and confirm on all folds that this study uses"
        )
    return file


def out_of_fold_file(source: SameFolds, key: str) -> Path:
    """The run's predictions for rows that its networks had not seen. Raises ConfigError where there are none."""
    file = _best(source, key)[0].out_of_fold
    if not file.is_file():
        raise ConfigError(
            f"{key}: {file} is missing, from which a training on all rows would learn; it is written where a run is "
            "confirmed on all folds"
        )
    return file


def kept_digest(source: SameFolds, key: str) -> str:
    """A hash of the content of every file that trainings may read of the run. Raises ConfigError."""
    run, best = _best(source, key)
    files = sorted(run.path.glob(f"fold_weights/*/{best:04d}-seed0.safetensors"))
    files += [run.out_of_fold] if run.out_of_fold.is_file() else []
    return hash_of([[str(file.relative_to(run.path)), file_digest(file)] for file in files])


def _best(source: SameFolds, key: str) -> tuple[Run, int]:
    try:
        run = open_run(Path(source.run))
    except RunError as error:
        raise ConfigError(f"{key}: {error}") from None
    best = run.best_confirmed()
    if best is None:
        raise ConfigError(f"{key}: {run.path} has no leaderboard yet; finish its search first")
    return run, best
