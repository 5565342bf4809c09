"""tune-digits predict: a submission from saved weights, without training and without Ray."""

from __future__ import annotations

import argparse
from pathlib import Path

from tune_digits.cli.common import (
    CACHE,
    RUNS,
    Help,
    add_common,
    command,
    parse_count,
    refuse_existing,
    run_command,
)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("predict"),
        formatter_class=Help,
        description="Predict images with a saved ensemble. Only this package and the ensemble's folder are needed.",
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="file, folder or zip file of any known form: a table with pixels or with paths of images, "
        "a folder of images, Parquet parts, IDX, NumPy; image files are resized to what the ensemble was trained on",
    )
    add(
        "--out",
        type=Path,
        default=Path("submission.csv"),
        metavar="FILE",
        help="CSV to write; never overwritten",
    )
    add(
        "--run",
        "--model",
        dest="run",
        type=Path,
        default=RUNS / "latest",
        metavar="DIR",
        help="run folder, or the folder of an ensemble alone",
    )
    add(
        "--proba",
        type=Path,
        metavar="FILE",
        help="file for the probabilities of the vote and its members, for tune-digits blend; a name that ends in .csv: "
        "the vote's alone, as a table; never overwritten",
    )
    add(
        "--score",
        action="store_true",
        help="the data have labels: print the score on them; refused for images that were trained on",
    )
    add(
        "--tta",
        type=int,
        metavar="N",
        choices=range(1, 10),
        help="views per image, 1 to 9 (left out: as in the ensemble)",
    )
    add("--threads", type=parse_count, metavar="N", help="CPU threads (left out: all cores)")
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(predict, make_parser().parse_args(argv))


def predict(args: argparse.Namespace) -> int:
    from tune_digits.ensemble.members import (
        find_ensemble,
        predict_members,
        read_manifest,
        refuse_trained_rows,
        vote,
    )

    folder = find_ensemble(args.run)
    manifest = read_manifest(folder)
    refuse_existing(args, "out", "proba")

    from tune_digits.data.load import load_labelled, load_unlabelled
    from tune_digits.ensemble.submission import submission_frame, write_submission
    from tune_digits.ensemble.vote import labels_of
    from tune_digits.screen import Progress, Screen

    screen = Screen()
    cache = CACHE if CACHE.is_dir() else None
    reading = (manifest.shape, manifest.targets, cache, manifest.reading)
    truth = None
    if args.score:
        labelled = load_labelled(args.data, *reading)
        refuse_trained_rows(folder, labelled.images, args.data)
        images, ids, truth = labelled.images, labelled.ids, labelled.labels
    else:
        images, ids = load_unlabelled(args.data, *reading)

    import torch

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    progress = Progress("predict", total=len(manifest.members))

    def advance(done: int) -> None:
        progress.done = done
        screen.tick(progress)

    with screen.watch(progress):
        proba = predict_members(folder, manifest, images, device, args.tta or manifest.tta, advance)
    voted = vote(proba, manifest)
    frame = submission_frame(manifest.form.of(ids), labels_of(voted, manifest.heads), manifest.targets)
    write_submission(args.out, frame)
    if args.proba is not None:
        from tune_digits.ensemble.predictions import Predictions, write_predictions

        names = tuple(Path(file).stem for file in manifest.members)
        write_predictions(args.proba, Predictions(ids, manifest.targets, manifest.form, names, proba, voted))
        screen.say(f"probabilities: {args.proba}")
    if truth is not None:
        from tune_digits.learn.metrics import score

        name = manifest.metric.name.replace("_", " ")
        value = score(manifest.metric, voted, truth, manifest.heads)
        screen.say(f"{name} {value:.4f} on {len(images):,} labelled images")
    screen.say(f"{len(frame):,} rows: {args.out}")
    return 0
