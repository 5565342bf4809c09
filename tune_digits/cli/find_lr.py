"""tune-digits find-lr: a learning rate by the range test of Smith 2017."""

from __future__ import annotations

import argparse
from pathlib import Path

from tune_digits.cli.common import CACHE, Help, add_common, command, new_file, parse_count, run_command
from tune_digits.cli.configured import add_configuration, configuration
from tune_digits.errors import ConfigError

LEAST = 20


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("find-lr"),
        formatter_class=Help,
        description="Train once for some hundred updates while the learning rate rises, draw the loss over it, and\n"
        "suggest the learning rate to take (Smith 2017, arXiv:1506.01186).",
    )
    add = parser.add_argument
    add_configuration(parser)
    add("--low", type=float, default=1e-6, metavar="LR", help="learning rate of the first update")
    add("--high", type=float, default=10.0, metavar="LR", help="learning rate of the last update")
    add("--steps", type=parse_count, default=200, metavar="N", help="updates")
    add(
        "--out",
        type=Path,
        default=Path("find_lr.png"),
        metavar="FILE",
        help="PNG to write; never overwritten",
    )
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(find, make_parser().parse_args(argv))


def find(args: argparse.Namespace) -> int:
    new_file("--out", args.out)
    if not 0 < args.low < args.high:
        raise ConfigError(f"--low {args.low:g} and --high {args.high:g}: they must be 0 < low < high")
    if args.steps < LEAST:
        raise ConfigError(f"--steps {args.steps}: fewer than {LEAST} updates make no curve")
    study, config, which = configuration(args)

    from tune_digits.api.learning_rate import curve, find_lr, in_words
    from tune_digits.data.load import load_task
    from tune_digits.learn.lr_range import suggest
    from tune_digits.screen import Screen

    screen = Screen()
    task = load_task(study.data, study.cv, CACHE)
    screen.say(task.describe())
    screen.say(f"range test of the {which}: {config.optimizer.name}, batches of {config.train.batch_size}")
    seen = find_lr(study, config, task, screen, low=args.low, high=args.high, steps=args.steps)
    found = suggest(seen, constant=config.schedule.name == "constant")
    for line in in_words(seen, found, config):
        screen.say(line)
    title = f"{study.name}, {which}: {config.model.name}, {config.optimizer.name}"
    curve(seen, found, title).savefig(args.out, dpi=120)
    screen.say(f"curve: {args.out}")
    return 0
