"""tune-digits predict: a submission from saved weights, without training and without Ray."""

from __future__ import annotations

import argparse
from pathlib import Path

from tune_digits.cli.common import CACHE, RUNS, Help, add_common, run_command
from tune_digits.errors import UserError


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="predict.py",
        formatter_class=Help,
        description="Predict images with a saved ensemble. Only this package and the ensemble's folder are needed.",
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="file or folder of any known form: a table with pixels or with paths of images, "
        "a folder of images, Parquet parts, IDX, NumPy",
    )
    add(
        "--out",
        type=Path,
        default=Path("submission.csv"),
        metavar="FILE",
        help="CSV to write; never overwritten",
    )
    add(
        "--model",
        type=Path,
        default=RUNS / "latest" / "ensemble",
        metavar="DIR",
        help="folder of the ensemble",
    )
    add(
        "--tta",
        type=int,
        metavar="N",
        choices=range(1, 10),
        help="views per image, 1 to 9 (as in the ensemble)",
    )
    add("--threads", type=int, metavar="N", help="CPU threads (all cores)")
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(predict, make_parser().parse_args(argv))


def predict(args: argparse.Namespace) -> int:
    from tune_digits.ensemble.members import predict_members, read_manifest, vote

    manifest = read_manifest(args.model)
    if args.out.exists():
        raise UserError(f"{args.out}: is there already; nothing is overwritten. Name another file with --out")

    from tune_digits.data.load import load_unlabelled
    from tune_digits.ensemble.submission import submission_frame, write_submission
    from tune_digits.ensemble.vote import labels_of
    from tune_digits.screen import Progress, Screen

    screen = Screen()
    cache = CACHE if CACHE.is_dir() else None
    images, ids = load_unlabelled(args.data, manifest.shape, manifest.targets, cache, manifest.data)

    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    progress = Progress("predict", total=len(manifest.members))

    def advance(done: int) -> None:
        progress.done = done
        screen.tick(progress)

    with screen.watch(progress):
        proba = predict_members(args.model, manifest, images, device, args.tta or manifest.tta, advance)
    labels = labels_of(vote(proba, manifest), manifest.heads)
    frame = submission_frame(manifest.form.of(ids), labels, manifest.targets)
    write_submission(args.out, frame)
    screen.say(f"{len(frame):,} rows: {args.out}")
    return 0
