"""tune-digits report: a run as one HTML page to look at. Search and ensemble write it at their end, too."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from tune_digits.cli.common import CACHE, RUNS, Help, add_common, command, run_command
from tune_digits.errors import UserError

if TYPE_CHECKING:
    from tune_digits.data.dataset import Task
    from tune_digits.runs import Run
    from tune_digits.screen import Screen
    from tune_digits.study import Study


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("report"),
        formatter_class=Help,
        description="Write a run as one HTML page, which needs no network: the answer, the leaderboard, the search,\n"
        "classes, mistakes, cost. Also while the run goes on. Pictures are in it where the data can be read.",
    )
    add = parser.add_argument
    add("--run", type=Path, default=RUNS / "latest", metavar="DIR", help="run folder")
    add(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="page to write (left out: report.html in the run folder)",
    )
    add("--no-data", action="store_true", help="do not read the data: no pictures, and quicker")
    add(
        "--final",
        action="store_true",
        help="first score the ensemble on the rows that nothing has touched (cv.untouched); they are read once",
    )
    add("--open", action="store_true", help="show it in the browser")
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(report, make_parser().parse_args(argv))


def report(args: argparse.Namespace) -> int:
    from tune_digits.report.material import read_material
    from tune_digits.report.page import write_page
    from tune_digits.runs import open_run
    from tune_digits.screen import Screen
    from tune_digits.study import load_study

    screen = Screen()
    run = open_run(args.run)
    study = load_study(run.study_file)
    task, why = (None, "The data were not read (--no-data), so there are no pictures.")
    if not args.no_data:
        task, why = read_data(run, study)
    if why:
        screen.warn(why)
    if args.final:
        judge_finally(run, study, screen)
    file = args.out or run.report
    write_page(read_material(run, study, task, why), file, command)
    screen.say(f"report: {file}")
    if args.open and not webbrowser.open(file.resolve().as_uri()):
        screen.warn(f"no browser was found; open {file} yourself")
    return 0


def judge_finally(run: Run, study: Study, screen: Screen) -> None:
    """Say what the saved ensemble scores on the untouched rows. Raises UserError where that cannot be told."""
    import torch

    from tune_digits.data.load import load_task
    from tune_digits.ensemble.final import final_score, in_words
    from tune_digits.ensemble.members import read_manifest
    from tune_digits.screen import Progress
    from tune_digits.tune.same_data import check_same_data

    task = load_task(study.data, study.cv, CACHE if CACHE.is_dir() else None)
    check_same_data(run, study, task)
    progress = Progress("predict", total=len(read_manifest(run.ensemble).members))

    def advance(done: int) -> None:
        progress.done = done
        screen.tick(progress)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with screen.watch(progress):
        final, _ = final_score(run, task, device, advance)
    for line in in_words(final, run.ensemble):
        screen.say(line)


def read_data(run: Run, study: Study) -> tuple[Task | None, str]:
    """The data of the run, or None and a sentence that says why they are not there."""
    from tune_digits.data.load import load_task
    from tune_digits.tune.same_data import check_same_data

    try:
        task = load_task(study.data, study.cv, CACHE if CACHE.is_dir() else None)
        check_same_data(run, study, task)
    except UserError as error:
        return None, f"Without pictures, because the data could not be read: {error}"
    return task, ""


def write_report(run: Run, study: Study, task: Task, screen: Screen, preview: bool) -> None:
    """Write the run's page at the end of another command, which a page that cannot be drawn must not fail.

    preview: whether to show augmentation, which needs torch: importing it takes seconds.
    """
    try:
        from tune_digits.report.material import read_material
        from tune_digits.report.page import write_page

        write_page(read_material(run, study, task), run.report, command, preview)
    except Exception as error:
        again = f"{command('report')} --run {run.path} --debug"
        screen.warn(f"report.html could not be written ({type(error).__name__}: {error}); see {again}")
    else:
        screen.say(f"report: {run.report}")
