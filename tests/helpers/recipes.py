"""The recipes in search_spaces/recipes: loaded, and what a training of one is made of, to compare with its author's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from data_files import Table, table, write
from PIL import Image
from torch import Tensor, nn

from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Labelled, Target
from tune_digits.data.folds.split import Fold, groups_of, make_folds
from tune_digits.learn import augment, mix
from tune_digits.learn.augment import AugmentParams
from tune_digits.learn.batch_loss import batch_loss
from tune_digits.learn.batches import Batch
from tune_digits.learn.models import build_model
from tune_digits.learn.models.classifier import ImageClassifier, Network
from tune_digits.learn.optim import build_optimizer, set_lr
from tune_digits.learn.schedule import multiplier
from tune_digits.study import Study, find_space, load_study

BENGALI_HEADS = ("grapheme_root", "vowel_diacritic", "consonant_diacritic")


def study_of(recipe: str) -> Study:
    return load_study(find_space(f"recipes/{recipe}"))


def config_of(study: Study, **point: Any) -> TrialConfig:
    """The trial of one point, such as `name="torchvision:resnet18"` for the key model.name; the baseline by default."""
    values = {f"model.{key}": value for key, value in point.items()} or study.space.baseline
    return TrialConfig.model_validate(study.space.point(values)[1])


def changed(config: TrialConfig) -> dict[str, Any]:
    """Dotted key -> value, as in a study file, of everything that is not its default; always the names of the parts."""
    found: dict[str, Any] = {}
    for part in TrialConfig.model_fields:
        own, default = getattr(config, part), type(getattr(config, part))()
        for key, value in own.model_dump(mode="json").items():
            if key == "name" or getattr(own, key) != getattr(default, key):
                found[f"{part}.{key}"] = value
    return found


def values(config: TrialConfig, keys: Iterable[str]) -> dict[str, Any]:
    """Dotted key -> value of these keys."""
    tree = config.model_dump(mode="json")
    return {key: tree[key.partition(".")[0]][key.partition(".")[2]] for key in keys}


def says(study: Study, part: str, **values: Any) -> bool:
    """Whether a part of a study other than the trial has these values."""
    return {key: study.raw[part][key] for key in values} == values


# ── what a training is made of ───────────────────────────────────────────────────────────────────────


def built(config: TrialConfig, channels: int, side: int, classes: int) -> tuple[nn.Module, nn.Module]:
    """What prepares the images, and the network of prepared images, for images (B, channels, side, side)."""
    stats = (0.3,) * channels, (0.2,) * channels
    model = build_model(config.model, channels, side, side, classes, *stats, train=config.train)
    return model.get_submodule("normalize"), model.get_submodule("network")


def weights_of(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def rates(
    config: TrialConfig, steps_per_epoch: int, losses: Sequence[float] = (), epochs: int | None = None
) -> list[float]:
    """The learning rate of each update; losses: those that a plateau watches, of each epoch."""
    epochs = epochs or config.train.epochs
    peak = config.optimizer.lr
    return [
        peak
        * multiplier(
            config.schedule,
            step,
            steps_per_epoch,
            epochs * steps_per_epoch,
            losses[: step // steps_per_epoch],
            peak,
        )
        for step in range(epochs * steps_per_epoch)
    ]


def loss_of(
    config: TrialConfig, logits: Tensor, targets: Tensor, heads: Sequence[int], epoch: int = 0
) -> float:
    """What is minimised on a batch that is not mixed: logits and targets (B, K), heads: the classes of each."""
    return float(batch_loss(logits, Batch(logits, targets, None), config, slices(heads), epoch))


def mixed_loss_of(
    config: TrialConfig,
    logits: Tensor,
    pair: tuple[Tensor, Tensor],
    own: float,
    heads: Sequence[int],
    epoch: int,
) -> float:
    """What is minimised on a mixed batch: the target sets (B, K) have the weights own and 1 - own."""
    batch = Batch(logits, own * pair[0] + (1 - own) * pair[1], None, mix.Mixed(own, pair, None))
    return float(batch_loss(logits, batch, config, slices(heads), epoch))


def slices(heads: Sequence[int]) -> tuple[slice, ...]:
    ends = np.cumsum(heads).tolist()
    return tuple(slice(end - classes, end) for end, classes in zip(ends, heads, strict=True))


def one_hot(labels: Sequence[int], classes: int) -> Tensor:
    return torch.eye(classes)[list(labels)]


def drawn(config: TrialConfig, side: int, count: int = 20_000, channels: int = 1) -> AugmentParams:
    """The random numbers of augmentation for `count` images of side x side."""
    return augment.draw(config.augment, count, side, side, torch.Generator().manual_seed(0), channels)


def ends(values: Tensor | None) -> tuple[float, float]:
    assert values is not None
    return float(values.min()), float(values.max())


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def updated(config: TrialConfig, lr: float, start: Tensor, gradients: Sequence[Tensor]) -> list[Tensor]:
    """A matrix of weights after each update by the configured optimizer."""
    dense = nn.Linear(start.shape[1], start.shape[0], bias=False)
    model = ImageClassifier(nn.Identity(), Network(dense, (dense,)))
    with torch.no_grad():
        dense.weight.copy_(start)
    optimizer = build_optimizer(model, config.optimizer)
    set_lr(optimizer, lr)
    found = []
    for gradient in gradients:
        dense.weight.grad = gradient.clone()
        optimizer.step()
        found.append(dense.weight.detach().clone())
    return found


def some_gradients(count: int = 5) -> tuple[Tensor, list[Tensor]]:
    """A matrix of weights, and gradients for it of very different sizes."""
    generator = torch.Generator().manual_seed(0)
    sizes = 10.0 ** torch.arange(-6, 2)
    return torch.randn(3, 8, generator=generator), [
        torch.randn(3, 8, generator=generator) * sizes for _ in range(count)
    ]


def folds_of(study: Study, labels: np.ndarray) -> tuple[Fold, ...]:
    """The folds of rows with labels int64 (N, T) and nothing else."""
    names = BENGALI_HEADS[: labels.shape[1]]
    targets = tuple(
        Target(name, tuple(map(str, range(column.max() + 1))))
        for name, column in zip(names, labels.T, strict=True)
    )
    rows = Labelled(np.zeros((len(labels), 1, 1, 1), np.uint8), labels, np.arange(len(labels)), targets)
    return make_folds(labels, groups_of(rows, study.cv), study.cv, targets)


# ── small data sets ──────────────────────────────────────────────────────────────────────────────────


def write_kannada(folder: Path, rows: int) -> Path:
    """Kannada-MNIST's files, of 28x28 random pixels: `rows` to train on, 6 to predict."""
    write(folder / "train.csv", table(rows, 28, classes=10))
    write(folder / "test.csv", table(6, 28, first="id", seed=1))
    write(folder / "sample_submission.csv", "id,label\n" + "".join(f"{i},0\n" for i in range(6)))
    return folder


def write_digits(folder: Path, rows: int) -> Path:
    """Digit Recognizer's files."""
    write(folder / "train.csv", table(rows, 28, classes=10))
    write(folder / "test.csv", table(6, 28, first=None, seed=1))
    write(folder / "sample_submission.csv", "ImageId,Label\n" + "".join(f"{i + 1},0\n" for i in range(6)))
    return folder


def write_bengali(folder: Path, rows: int, side: int = 64) -> Path:
    """Bengali.AI's files, of smaller images and with few classes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", rows), ("test", 3)):
        pixels = rng.integers(0, 256, (count, side * side), dtype=np.uint8)
        names = [f"{part.title()}_{i}" for i in range(count)]
        columns = {"image_id": pa.array(names)} | {str(i): pixels[:, i] for i in range(side * side)}
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), folder / f"{part}_image_data_0.parquet")
    labels: Table = [[f"Train_{i}", i % 4, i % 3, i % 2] for i in range(rows)]
    write(folder / "train.csv", [["image_id", *BENGALI_HEADS], *labels])
    asked: Table = [[f"Test_{i}_{head}", f"Test_{i}", head] for i in range(3) for head in BENGALI_HEADS]
    write(folder / "test.csv", [["row_id", "image_id", "component"], *asked])
    return folder


def write_leaves(folder: Path, rows: int, side: int = 40) -> Path:
    """classify-leaves' files: colour photographs of three species."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for i in range(rows + 4):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{i}.jpg")
    species = ("maclura_pomifera", "ulmus_rubra", "abies_concolor")
    named: Table = [[f"images/{i}.jpg", species[i % 3]] for i in range(rows)]
    write(folder / "train.csv", [["image", "label"], *named])
    unnamed: Table = [[f"images/{i}.jpg"] for i in range(rows, rows + 4)]
    write(folder / "test.csv", [["image"], *unnamed])
    return folder
