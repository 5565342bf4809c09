"""A search from Python: a study, data in files or in memory, and the run that comes of them.

study = load_study("aug.yaml", {"search.trials": 4})
run = search(study, data=(x, y))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tune_digits import runs
from tune_digits import study as studies
from tune_digits.api.flow import prepare, search_and_confirm
from tune_digits.api.opened import OpenRun
from tune_digits.api.places import CACHE, RUNS
from tune_digits.data.dataset import Labelled, Task
from tune_digits.data.load import task_in_memory
from tune_digits.data.memory import from_arrays, to_text
from tune_digits.errors import DataError
from tune_digits.screen import Screen
from tune_digits.study import Study, find_space, make_study

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Data: TypeAlias = "str | Path | tuple[Any, Any] | Task"
GROUPS = "group"  # the column that `groups` becomes


def load_study(space: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """The study that `space` means: a path, or a name in `search_spaces/`, as `--space` takes it.

    overrides: dotted key -> value, over what the file says: {"search.trials": 4, "train.epochs": 2}. Raises
    ConfigError.
    """
    overrides = overrides or {}
    return studies.load_study(find_space(str(space)), overrides, {key: key for key in overrides})


def search(
    study: Study,
    data: Data | None = None,
    *,
    groups: ArrayLike | None = None,
    run_dir: str | Path | None = None,
    address: str | None = None,
    strict: bool = False,
    quiet: bool = False,
) -> OpenRun:
    """Search, confirm, and return the run, as the command `search` does.

    data: a path; or (x, y) in the forms that `data.memory.from_arrays` takes, x uint8 (n, h, w[, c]) or flat, y numbers
    or names; or a whole Task; None: what the study says, else scikit-learn's digits. groups: (n,), for (x, y) only:
    rows of one group (writer, patient) stay in one fold. run_dir: the folder to make; None: runs/TIME-NAME. address: of
    a Ray cluster to join. strict: refuse data with anything odd. quiet: print nothing.

    Raises UserError of all kinds: for a study, data or a folder that cannot be used.
    """
    study, task = with_data(study, data, groups)
    return search_in(
        RUNS, study, task, run_dir=run_dir, address=address, strict=strict, screen=screen_of(quiet)
    )


def search_in(
    root: Path,
    study: Study,
    task: Task | None,
    *,
    run_dir: str | Path | None,
    screen: Screen,
    address: str | None = None,
    strict: bool = False,
) -> OpenRun:
    """`search` of a study whose data are settled. root: where the run folder and the link `latest` go."""
    for note in study.notes:
        screen.say(note)
    if task is None and study.data.path is None:
        screen.say("data: none given, so scikit-learn's bundled digits")
    prepared = prepare(study, None, screen, address=address, cache=CACHE, strict=strict, given=task)
    facts = {"command": "tune_digits.search", "seed": study.search.seed, "study": study.raw, **prepared.facts}
    folder = None if run_dir is None else Path(run_dir)
    run = runs.create_run(root, study.name, study.to_yaml(), facts, folder)
    screen.say(f"run folder: {run.path}")
    search_and_confirm(study, run, prepared, screen)
    return OpenRun(run, task)


def with_data(study: Study, data: Data | None, groups: ArrayLike | None) -> tuple[Study, Task | None]:
    """The study with these data in place of its own, and the task where the data are in memory. Raises UserError."""
    if groups is not None and not isinstance(data, tuple):
        raise DataError("groups goes with data=(x, y); for data in files write the column as cv.groups")
    if data is None:
        return study, None
    if isinstance(data, (str, Path)):
        return _remade(study, data={**study.raw["data"], "path": str(data)}), None
    # of the options for files only the subset means something in memory
    in_memory = {"subset": study.data.subset}
    if isinstance(data, Task):
        return _remade(study, data=in_memory), data
    x, y = data
    train = from_arrays(x, y)
    if not isinstance(train, Labelled):
        raise DataError(
            "data=(x, y): y is None, and x has no column `label`; without labels nothing can be trained"
        )
    cv = study.raw["cv"]
    if groups is not None:
        train.columns[GROUPS] = to_text(groups, "groups")
        if len(train.columns[GROUPS]) != len(train):
            raise DataError(
                f"groups has {len(train.columns[GROUPS]):,} values, but x has {len(train):,} images."
            )
        cv = {**cv, "groups": GROUPS}
    study = _remade(study, data=in_memory, cv=cv)
    return study, task_in_memory(train, study.cv)


def _remade(study: Study, **parts: Any) -> Study:
    return make_study({**study.raw, **parts}, study.name, study.name)


def screen_of(quiet: bool) -> Screen:
    if not quiet:
        return Screen()
    from rich.console import Console

    return Screen(Console(quiet=True))
