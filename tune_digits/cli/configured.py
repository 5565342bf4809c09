"""Flags of commands that look at one configuration: of a space, or of a trial of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tune_digits.cli.search import parse_set
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    from tune_digits.config import TrialConfig
    from tune_digits.study import Study


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Which configuration is meant, and on which data: a space's, or a trial of a run."""
    add = parser.add_argument
    add(
        "--space", metavar="FILE", help="study file: a path, or a name in search_spaces/ (left out: aug.yaml)"
    )
    add(
        "--run",
        type=Path,
        metavar="DIR",
        help="run folder, in place of --space: with its best trial, or --trial",
    )
    add("--trial", type=int, metavar="N", help="the configuration of this trial of --run")
    add("--data", metavar="PATH", help="data (left out: those of the study, else scikit-learn's digits)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the study file, over what it says: optimizer.name=sgd",
    )


def configuration(args: argparse.Namespace) -> tuple[Study, TrialConfig, str]:
    """The study, the configuration that the flags mean, and its name in words.

    Of a space it is the first start point, or the baseline where it has none; of a run the one to send in. Raises
    ConfigError and RunError.
    """
    from tune_digits.config import TrialConfig
    from tune_digits.study import find_space, load_study

    overrides = parse_set(args.set)
    if args.data is not None:
        overrides["data.path"] = args.data
    if args.run is None:
        if args.trial is not None:
            raise ConfigError(
                f"--trial {args.trial} is a trial of a run: name it by --run, as --run runs/latest"
            )
        study = load_study(find_space(args.space or "aug.yaml"), overrides)
        start = study.space.start[:1]
        point = start[0] if start else study.space.baseline
        which = "start point" if start else "baseline"
        return study, TrialConfig.model_validate(study.space.point(point)[1]), which
    if args.space is not None:
        raise ConfigError(f"--space {args.space} and --run {args.run}: name one of them")
    if kept := [key for key in overrides if key.partition(".")[0] in TrialConfig.model_fields]:
        raise ConfigError(
            f"--set {kept[0]}: the configuration of a trial of --run is what it was; use --space"
        )
    from tune_digits.api.opened import open_run

    run = open_run(args.run)
    number = run.answer().trial if args.trial is None else args.trial
    return load_study(run.folder.study_file, overrides), run.config(number), f"trial {number}"
