"""From a study's `data` part to a `Task`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tune_digits.config import Cv, Data, RowGroups
from tune_digits.data.dataset import Task
from tune_digits.data.digits import load_digits_task
from tune_digits.data.kaggle_csv import find_csv, listing, load_kaggle_csv
from tune_digits.errors import DataError


def _digits(data: Data, groups: str | RowGroups | None, cache_dir: Path | None) -> Task:
    if data.path is not None or data.holdout:
        raise DataError(
            "The format 'digits' is scikit-learn's bundled set: it takes no data.path and no data.holdout. "
            "Leave them out, or name another data.format."
        )
    return load_digits_task(groups)


LOADERS: dict[str, Callable[[Data, str | RowGroups | None, Path | None], Task]] = {
    "digits": _digits,
    "kaggle_csv": load_kaggle_csv,
}


def load_task(data: Data, cv: Cv, cache_dir: Path | None = None) -> Task:
    """Read what `data` names; `cv.groups` says which samples belong together.

    With no path it is scikit-learn's digits. `cache_dir` keeps parsed copies of large text files (see
    `cache.py`). `data.subset` is not applied here: the final training wants all rows.

    Raises DataError when the path is missing, of no known format, or its content is not what it should be.
    """
    return LOADERS[_detect(data) if data.format == "auto" else data.format](data, cv.groups, cache_dir)


def _detect(data: Data) -> str:
    if data.path is None:
        return "digits"
    path = Path(data.path).expanduser()
    if not path.exists():
        raise DataError(
            f"There is no file or folder {path} (data.path). Relative paths start at {Path.cwd()}."
        )
    if path.is_file() and path.name.endswith((".csv", ".csv.gz")):
        return "kaggle_csv"
    if path.is_dir() and find_csv(path, "train") is not None:
        return "kaggle_csv"
    found = f"the folder {path}, which has: {listing(path)}" if path.is_dir() else f"the file {path}"
    raise DataError(
        f"Cannot tell how to read {found}. Known is a folder in Kaggle's form (train.csv, test.csv, "
        f"sample_submission.csv; .csv.gz too) or one training file .csv or .csv.gz."
    )
