"""The training loop: it replays, it goes on exactly, it learns, and it leaves what it is given alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tune_digits import disk, runs
from tune_digits.config import TrialConfig
from tune_digits.data.dataset import Target
from tune_digits.learn.device import to_device
from tune_digits.learn.fit import channel_stats, fit, start_training
from tune_digits.learn.seeds import derive_seed
from tune_digits.learn.state import pack, unpack

CPU = torch.device("cpu")
TARGETS = (Target("digit", tuple(map(str, range(10)))),)
FULL = {
    "model": {"name": "lean_cnn", "width": 8, "depth": 1},
    "augment": {"rotate": 15, "shift": 0.1, "elastic": 0.02, "cutout": 0.3, "brightness": 0.1, "p": 0.9},
    "mix": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "p": 0.7},
    "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 1e-3},
    "train": {"epochs": 4, "batch_size": 50, "ema_decay": 0.9},
}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.round(raw.images[:700, None] * (255 / 16)).astype(np.uint8)
    return images, np.eye(10, dtype=np.float32)[raw.target[:700]]


def training(digits, raw: dict, seed: int = 0, fold: int = 0):
    images, proba = digits
    config = TrialConfig.model_validate(raw)
    state = start_training(config, images, np.arange(500), 10, seed, fold, CPU)
    data = to_device(images, proba, TARGETS, CPU)
    epochs = fit(state, config, data, torch.arange(500), torch.arange(500, 700), seed=seed, fold=fold)
    return state, epochs


def scores(epochs) -> list[tuple[float, float, float]]:
    return [(r.train_loss, r.valid_loss, r.score) for r in epochs]


VARIANTS = [
    {"optimizer": {"name": name}, "schedule": {"name": schedule}}
    for name, schedule in [
        ("sgd", "one_cycle"),
        ("adam", "cosine"),
        ("adamw", "plateau"),
        ("rmsprop", "step"),
    ]
] + [
    {"augment": {"backend": "albumentations", "rotate": 10, "shift": 0.1}},
    {"model": {"name": "keras8", "width": 4}},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_stop_save_load_go_on_equals_straight_training_bitwise(digits, variant, tmp_path) -> None:
    raw = {**FULL, **variant}
    straight, epochs = training(digits, raw)
    expected = scores(epochs)

    stopped, epochs = training(digits, raw)
    first = [next(epochs), next(epochs)]
    file = tmp_path / "state.safetensors"
    disk.write_tensors(file, *pack(stopped))
    resumed, epochs = training(digits, raw)
    unpack(resumed, *disk.read_tensors(file))
    assert scores(first) + scores(epochs) == expected
    for a, b in zip(straight.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_same_seed_replays_and_another_does_not(digits) -> None:
    one, two, other = (scores(training(digits, FULL, seed)[1]) for seed in (3, 3, 4))
    assert one == two
    assert one != other
    assert scores(training(digits, FULL, 3, fold=1)[1]) != one


def test_fit_leaves_the_global_generator_and_the_data_alone(digits) -> None:
    images, proba = digits[0].copy(), digits[1].copy()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    list(training((images, proba), {**FULL, "train": {"epochs": 1}})[1])
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(images, digits[0])
    assert np.array_equal(proba, digits[1])


def test_it_learns_digits(digits) -> None:
    raw = {
        "model": {"name": "lean_cnn", "width": 16},
        "train": {"epochs": 12, "batch_size": 32},
        "optimizer": {"name": "adamw", "lr": 5e-3},
    }
    *_, last = training(digits, raw)[1]
    # the last 200 rows are other writers: a network that has learnt nothing scores 0.1
    assert last.score > 0.88
    assert last.train_loss < 0.05


def test_plain_training_equals_a_loop_written_out(digits) -> None:
    """Golden: without augmentation, the loss of the first epoch is that of ten lines of PyTorch."""
    raw = {
        "model": {"name": "lean_cnn", "width": 8, "dropout": 0},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "schedule": {"name": "constant"},
        "train": {"epochs": 1, "batch_size": 100},
    }
    images, proba = digits
    _, epochs = training(digits, raw)
    twin = start_training(
        TrialConfig.model_validate(raw), images, np.arange(500), 10, 0, 0, CPU
    ).model.train()
    generator = torch.Generator().manual_seed(derive_seed(0, 0, 0, 1))
    optimizer = torch.optim.SGD(twin.parameters(), 0.05, momentum=0.9, nesterov=True)
    losses = []
    for rows in torch.randperm(500, generator=generator).split(100):
        x = torch.from_numpy(images[rows.numpy()]).float() / 255
        loss = F.cross_entropy(
            twin(x.contiguous(memory_format=torch.channels_last)), torch.from_numpy(proba)[rows]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    (report,) = epochs
    assert report.train_loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_training_that_diverges_says_so_and_ends(digits) -> None:
    raw = {"optimizer": {"name": "sgd", "lr": 1e30}, "schedule": {"name": "constant"}, "train": {"epochs": 5}}
    reports = list(training(digits, raw)[1])
    assert len(reports) < 5
    assert not math.isfinite(reports[-1].train_loss)
    assert reports[-1].score == 0


def test_channel_stats_equal_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 9, 7), dtype=np.uint8)
    rows = np.arange(3, 40)
    mean, std = channel_stats(images, rows)
    scaled = images[rows] / 255
    assert mean == pytest.approx(scaled.mean((0, 2, 3)))
    assert std == pytest.approx(scaled.std((0, 2, 3)))


def test_a_damaged_state_is_named(tmp_path, digits) -> None:
    file = tmp_path / "state.safetensors"
    disk.write_tensors(file, *pack(training(digits, FULL)[0]))
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(runs.RunError, match=r"state\.safetensors: damaged"):
        disk.read_tensors(file)
    json.dumps(pack(training(digits, FULL)[0])[1])
