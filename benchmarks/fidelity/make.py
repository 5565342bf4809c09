"""Record a table of trainings: the same configurations short, middle and full, with the same seeds.

    python benchmarks/fidelity/make.py --data FOLDER --out benchmarks/tables/mnist.npz --seeds 3
    python benchmarks/fidelity/make.py --data FOLDER --out benchmarks/tables/kannada.npz --seeds 3 --rows-per-group 1280

The configurations are those of design.py. Each is trained with three lengths, every one with a schedule of its own, and
judged after each epoch on the watched rows, by the weights of the last update and by their moving average; at the end
also on further rows, which no policy of replay.py sees. All configurations have the same seeds, and so the same order
of rows (docs/fidelity.md). To fit a table into an hour of one core, images are halved to 14x14 pixels (the mean of two
by two) and the networks are narrow.

Every finished training is written at once: the same command goes on where it was stopped, seed after seed. A file of
another setting is refused. One thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from fidelity.design import design, with_epochs
from fidelity.table_file import Key, Record, Setting, Table, read_table, write_table

from tune_digits.config import Cv, RowGroups, TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.data.folds.split import groups_of, make_folds
from tune_digits.data.folds.subset import subset_rows
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.errors import RunError, UserError
from tune_digits.learn.device import DeviceData, to_device
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.predict import predict_proba
from tune_digits.learn.version import TRAINING_VERSION

CPU = torch.device("cpu")
FOLD = 0
LENGTHS = (3, 9, 27)


@dataclass(frozen=True)
class Sizes:
    """Rows to train on, to judge each epoch on, and to judge the end of a training on."""

    train: int
    watched: int
    validated: int


@dataclass(frozen=True)
class Data:
    """images: uint8 (N, C, H, W); labels: int64 (N,); train_rows, rows: int64, trained on, and validated."""

    images: np.ndarray
    labels: np.ndarray
    targets: tuple[Target, ...]
    train_rows: np.ndarray
    rows: np.ndarray


def halved(images: np.ndarray) -> np.ndarray:
    """uint8 (N, C, H, W) -> uint8 (N, C, H/2, W/2), the rounded mean of two by two pixels; H and W even."""
    count, channels, height, width = images.shape
    blocks = images.reshape(count, channels, height // 2, 2, width // 2, 2)
    return ((blocks.sum((3, 5), dtype=np.uint16) + 2) // 4).astype(np.uint8)


def prepare(
    path: str | None, sizes: Sizes, rows_per_group: int, lengths: list[int], configurations: int
) -> tuple[Table, Data]:
    """An empty table, and what its trainings need. rows_per_group: 0 = rows are independent."""
    cv = Cv(groups=RowGroups(rows_per_group=rows_per_group) if rows_per_group else None)
    task = load_task(Auto(path=path), cv)
    groups = groups_of(task.train, cv)
    fold = make_folds(task.train.labels, groups, cv, task.targets)[FOLD]

    def some(among: np.ndarray, count: int, seed: int) -> np.ndarray:
        own = None if groups is None else groups[among]
        return among[subset_rows(task.train.labels[among], own, count, seed)]

    validated = some(fold.valid_idx, sizes.validated, 1)
    watched = some(validated, sizes.watched, 2)
    rows = np.concatenate([watched, np.setdiff1d(validated, watched)])
    labels = task.train.labels[:, 0]
    images = halved(task.train.images)
    setting = Setting(
        data=task.name,
        fingerprint=task.train.fingerprint,
        training_version=TRAINING_VERSION,
        image="x".join(map(str, images.shape[2:])),
        train_rows=sizes.train,
        watched=sizes.watched,
        validated=sizes.validated,
        rows_per_group=rows_per_group,
        lengths=lengths,
        configurations=design(configurations),
    )
    table = Table(setting, rows, labels[rows], rows if groups is None else groups[rows])
    return table, Data(images, labels, task.targets, some(fold.train_idx, sizes.train, 0), rows)


def record(config: TrialConfig, data: Data, watched: int, seed: int) -> Record:
    """Train, and keep what table_file.Record says; the first `watched` of data.rows are judged after each epoch."""
    classes = len(data.targets[0].classes)
    proba = np.eye(classes, dtype=np.float32)[data.labels]
    state = start_training(config, data.images, data.train_rows, classes, seed, FOLD, CPU)
    on_device = to_device(data.images, proba, data.targets, CPU)
    truth = data.labels[data.rows]
    off, loss, train_loss = [], [], []
    for report in fit(state, config, on_device, torch.from_numpy(data.train_rows), seed=seed, fold=FOLD):
        train_loss.append(report.train_loss)
        models = (state.model, state.current_model)
        seen = [_judged(model, on_device, data.rows[:watched], truth[:watched]) for model in models]
        off.append([o for o, _ in seen])
        loss.append([-np.log(np.maximum(likely, 1e-12)).mean() for _, likely in seen])
    end = [_judged(model, on_device, data.rows, truth) for model in (state.model, state.current_model)]
    return Record(
        off=np.array(off, np.uint8).transpose(1, 0, 2),
        loss=np.array(loss, np.float32).T,
        train_loss=np.array(train_loss, np.float32),
        end_off=np.array([o for o, _ in end], np.uint8),
        end_likely=np.rint(255 * end[1][1]).astype(np.uint8),
    )


def _judged(
    model: torch.nn.Module, data: DeviceData, rows: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(class predicted minus label, modulo the classes; probability of the true class), both (n,), of int64 rows."""
    proba = predict_proba(model, data.images[torch.from_numpy(rows)], data.heads)
    return (proba.argmax(1) - labels) % proba.shape[1], proba[np.arange(len(rows)), labels]


def wanted(setting: Setting, seeds: int) -> Iterator[Key]:
    """All trainings, seed by seed, so that a table that was stopped has whole seeds."""
    for seed in range(seeds):
        for configuration in range(len(setting.configurations)):
            for length in range(len(setting.lengths)):
                yield Key(seed, configuration, length)


def make(path: Path, table: Table, data: Data, seeds: int) -> Table:
    """The table with all trainings of so many seeds: those that `path` has, and the others, written one by one.

    Raises RunError where `path` is damaged, or holds trainings of another setting or of other rows.
    """
    if path.exists():
        known = read_table(path)
        if known.setting != table.setting or not np.array_equal(known.rows, table.rows):
            raise RunError(f"{path}: made with another setting; give the same arguments, or another --out")
        table = known
    for key in wanted(table.setting, seeds):
        if key in table.trainings:
            continue
        config = with_epochs(
            table.setting.configurations[key.configuration], table.setting.lengths[key.length]
        )
        begun = time.process_time()
        found = record(config, data, table.setting.watched, key.seed)
        table.trainings[key] = found
        write_table(path, table)
        score = (found.end_off[1] == 0).mean()
        print(f"{key}  {score:.4f}  {time.process_time() - begun:.1f} s", flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", help="data set of one target (default: scikit-learn's digits)")
    add("--out", type=Path, required=True, help="the table, an .npz file")
    add("--seeds", type=int, default=3)
    add("--configurations", type=int, default=16)
    add("--train", type=int, default=1500, help="rows to train on")
    add("--watched", type=int, default=1000, help="rows to judge each epoch on")
    add("--validated", type=int, default=5000, help="rows to judge the end on, those among them")
    add("--lengths", type=int, nargs="+", default=list(LENGTHS), help="epochs of the trainings, ascending")
    add(
        "--rows-per-group",
        type=int,
        default=0,
        help="so many rows in a row are by one writer; 0 = none",
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = Sizes(args.train, args.watched, args.validated)
    try:
        table, data = prepare(args.data, sizes, args.rows_per_group, args.lengths, args.configurations)
        make(args.out, table, data, args.seeds)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
