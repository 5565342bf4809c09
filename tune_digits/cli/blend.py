"""tune-digits blend: a vote over files of predictions and submissions."""

from __future__ import annotations

import argparse
from pathlib import Path

from tune_digits.cli.common import Help, add_common, command, refuse_existing, run_command
from tune_digits.errors import UserError


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("blend"),
        formatter_class=Help,
        description="Vote over files: proba.npz of ensembles, tables with a probability for each class, and\n"
        "submissions, ours or other people's. Rows are matched by id.",
    )
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="two or more files, each with one vote")
    add("--weights", type=parse_weights, metavar="W,…", help="a weight for each file")
    add(
        "--vote",
        choices=("soft", "hard", "rank"),
        help="soft: mean of probabilities; hard: most frequent label; rank: points for the order of the classes (left "
        "out: soft, or hard where a file has labels alone)",
    )
    add(
        "-o",
        "--out",
        type=Path,
        default=Path("submission.csv"),
        metavar="FILE",
        help="CSV to write; never overwritten",
    )
    add(
        "--proba",
        type=Path,
        metavar="FILE",
        help="file for the probabilities, .npz or .csv; never overwritten",
    )
    add_common(parser)
    return parser


def parse_weights(text: str) -> list[float]:
    """'2,1' -> [2.0, 1.0]. Raises ArgumentTypeError."""
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if not weights or not all(0 < weight < float("inf") for weight in weights):
        raise argparse.ArgumentTypeError(f"{text!r}: write numbers above 0 with commas between them: 2,1,1")
    return weights


def main(argv: list[str] | None = None) -> int:
    return run_command(blend, make_parser().parse_args(argv))


def blend(args: argparse.Namespace) -> int:
    if len(args.files) < 2:
        raise UserError(f"{args.files[0]} alone is no vote: name two files or more")
    if args.weights is not None and len(args.weights) != len(args.files):
        raise UserError(
            f"--weights has {len(args.weights)} numbers for {len(args.files)} files: write one for each"
        )
    refuse_existing(args, "out", "proba")

    from tune_digits.ensemble.blend import blend, read_voter
    from tune_digits.ensemble.predictions import write_predictions
    from tune_digits.ensemble.submission import submission_frame, write_submission
    from tune_digits.ensemble.vote import agreement, labels_of
    from tune_digits.screen import Screen

    screen = Screen()
    voted = blend([read_voter(path) for path in args.files], args.vote, args.weights)
    frame = submission_frame(voted.form.of(voted.ids), labels_of(voted.vote, voted.heads), voted.targets)
    write_submission(args.out, frame)
    if args.proba is not None:
        write_predictions(args.proba, voted)
        screen.say(f"probabilities: {args.proba}")
    agreed = agreement(voted.members, voted.heads)["unanimous"]
    screen.say(f"{len(args.files)} files, unanimous on {agreed:.1%} of {len(voted.ids):,} images")
    screen.say(f"{len(frame):,} rows: {args.out}")
    return 0
