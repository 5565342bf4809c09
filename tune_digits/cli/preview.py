"""tune-digits preview: a picture of what a study's augmentation does to its images."""

from __future__ import annotations

import argparse
from pathlib import Path

from tune_digits.cli.common import CACHE, Help, add_common, command, new_file, parse_count, run_command
from tune_digits.cli.configured import add_configuration, configuration


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("preview"),
        formatter_class=Help,
        description="Draw each augmentation of a study by itself, weak, as chosen and strong, and all together,\n"
        "on both backends beside the original, into one PNG file.",
    )
    add = parser.add_argument
    add_configuration(parser)
    add("--draws", type=parse_count, default=4, metavar="N", help="draws of each, on each backend")
    add("--seed", type=int, default=0, metavar="N", help="seed of the draws and of which images are shown")
    add(
        "--out",
        type=Path,
        default=Path("preview.png"),
        metavar="FILE",
        help="PNG to write; never overwritten",
    )
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(preview, make_parser().parse_args(argv))


def preview(args: argparse.Namespace) -> int:
    new_file("--out", args.out)
    study, config, which = configuration(args)

    import numpy as np

    from tune_digits.api.preview import picture, rows_of
    from tune_digits.data.load import load_task
    from tune_digits.screen import Screen

    screen = Screen()
    task = load_task(study.data, study.cv, CACHE)
    screen.say(task.describe())
    images = task.train.images
    rows = rows_of(config.augment, study.space, images.shape[1])
    shown = np.random.default_rng(args.seed).permutation(len(images))[: len(rows)]
    picture(rows, images[shown], args.draws, args.seed).save(args.out)
    screen.say(f"augmentation of the {which}, {len(rows)} lines: {args.out}")
    return 0
