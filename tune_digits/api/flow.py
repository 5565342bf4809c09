"""From a study to its answer: prepare, search, confirm. The command `search` and `tune_digits.search` both walk it.

prepared = prepare(study, None, screen)
search_and_confirm(study, run, prepared, screen)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune_digits.data.dataset import Task
    from tune_digits.runs import Run
    from tune_digits.screen import Screen
    from tune_digits.study import Study
    from tune_digits.tune.prepare import Prepared
    from tune_digits.tune.reuse import Known


def prepare(
    study: Study,
    run: Run | None,
    screen: Screen,
    *,
    address: str | None = None,
    cache: Path | None = None,
    strict: bool = False,
    given: Task | None = None,
) -> Prepared:
    """Start the executor, read the data, divide them into folds, and check all that can be checked.

    run: the one that is taken up again, with whose data these are compared. address: of a Ray cluster to join. cache:
    where parsed copies of large files are kept. strict: raise DataError for anything odd about the data. given: the
    data, where they are in memory and not what `study.data` names. What was found is said on the way. Raises UserError
    where something cannot be trained.
    """
    from tune_digits.execute.slots import oversubscription
    from tune_digits.execute.start import start_executor
    from tune_digits.machine import available_cores, work_of_others
    from tune_digits.tune.prepare import Prepared, draw_subset, start_and_read, trained_folds

    others = work_of_others()  # before there is any work of our own
    if given is None:
        executor, task = start_and_read(study, address, cache, screen)
    else:
        executor, task = start_executor(study.resources, address), given

    from tune_digits.api.summary import print_folds, report_findings
    from tune_digits.learn.metrics import metric_of
    from tune_digits.tune.preflight import preflight
    from tune_digits.tune.same_data import check_same_data, check_same_search, facts_of, made_from
    from tune_digits.tune.same_study import check_same_study
    from tune_digits.tune.training import share

    screen.say(task.describe())
    if run is not None:
        check_same_study(run, study)
        check_same_data(run, study, task)
    rows = draw_subset(study, task.train)
    if rows is not None:
        screen.say(
            f"trainings take {len(rows):,} of the rows, drawn evenly by class; all others only validate"
        )
    folds = trained_folds(study, task.train, rows)
    fingerprints = made_from(task, folds)
    if run is not None:
        check_same_search(run, fingerprints)
    print_folds(folds, task.train, study, screen)
    report_findings(task, folds, strict, screen)
    for line in preflight(study, task, folds):
        screen.say(line)
    slots = executor.slots.describe()
    screen.say(f"trainings: {slots}")
    here = not (address or (study.resources.executor == "ray" and os.environ.get("RAY_ADDRESS")))
    if here and (warning := oversubscription(executor.slots, others, available_cores())):
        screen.warn(warning)
    facts = {"slots": slots, **facts_of(study, task, fingerprints)}
    task, data = share(task, metric_of(study.cv, task.targets), executor)
    return Prepared(task, data, folds, fingerprints, facts, executor)


def search_and_confirm(
    study: Study, run: Run, prepared: Prepared, screen: Screen, known: Known | None = None
) -> None:
    """Search, confirm the best, and say what was found. All of it is kept in the run folder.

    known: confirming trainings of other runs, which are not done again.
    """
    from tune_digits.api.summary import print_board
    from tune_digits.tune.answer import in_words, read_answer
    from tune_digits.tune.confirm import run_confirm
    from tune_digits.tune.reuse import NOTHING
    from tune_digits.tune.search import run_search

    data, folds, made_from, executor = prepared.data, prepared.folds, prepared.made_from, prepared.executor
    records = run_search(study, run, data, folds[study.search.fold], made_from, executor, screen)
    board = run_confirm(
        study, run, prepared.task, data, folds, records, made_from, executor, screen, known or NOTHING
    )
    print_board(board, screen)
    for line in in_words(read_answer(run)):
        screen.say(line)
