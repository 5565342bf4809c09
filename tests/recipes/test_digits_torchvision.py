"""R2: Digit Recognizer with eleven networks of torchvision, against the figures that their author published."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import ensemble, records, search
from recipes import (
    built,
    changed,
    config_of,
    drawn,
    folds_of,
    loss_of,
    one_hot,
    rates,
    says,
    some_gradients,
    study_of,
    updated,
    values,
    weights_of,
    write_digits,
)
from run_samples import MADE_FROM
from torch import nn
from torchvision import models

from tune_digits.ensemble.names import trials_named
from tune_digits.learn.models.classifier import last_layer
from tune_digits.learn.models.normalize import Repeat
from tune_digits.runs import TrialRecord

STUDY = study_of("digits_torchvision")
NETWORKS = (
    "resnet18", "resnet34", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "squeezenet1_0",
    "squeezenet1_1", "efficientnet_b0", "efficientnet_b3", "mnasnet0_5", "mnasnet1_0",
)  # fmt: skip
VOTERS = ("resnet18", "resnet34", "mobilenet_v2", "mobilenet_v3_large", "squeezenet1_0", "efficientnet_b0")
FIGURES = {
    "model.stem": "as_is",
    "loss.name": "cross_entropy",
    "optimizer.name": "adam",
    "optimizer.lr": 1e-3,
    "schedule.name": "exponential",
    "schedule.factor": 0.75,
    "schedule.change_every": "epoch",
    "train.epochs": 10,  # the author gives none
    "train.batch_size": 64,
    "train.keep": "best_score",
    "train.channels": "repeat",
    "train.normalize": "none",
    "train.precision": "float32",
}
# what torchvision gives the BatchNorms of these
NORMS: dict[str, dict[str, float]] = {
    "mobilenet_v3_small": {"model.bn_momentum": 0.01, "model.bn_eps": 1e-3},
    "mobilenet_v3_large": {"model.bn_momentum": 0.01, "model.bn_eps": 1e-3},
    "mnasnet0_5": {"model.bn_momentum": 3e-4},
    "mnasnet1_0": {"model.bn_momentum": 3e-4},
}
# figures that are defaults too
DEFAULTS = {
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.999,
    "optimizer.eps": 1e-8,
    "optimizer.weight_decay": 0.0,
    "optimizer.arithmetic": "torch",
}
PLAIN = config_of(STUDY)


def test_nothing_but_the_authors_figures_is_set_in_each_of_eleven_trials() -> None:
    assert (STUDY.search.sampler, STUDY.search.trials, STUDY.search.grace_period) == ("grid", 11, 10)
    configs = [config for _, config in STUDY.space.configurations()]
    for name, config in zip(NETWORKS, configs, strict=True):
        expected = {**FIGURES, "model.name": f"torchvision:{name}", **NORMS.get(name, {})}
        assert changed(config) == expected
    assert values(PLAIN, DEFAULTS) == DEFAULTS


def test_six_of_them_vote_by_the_most_frequent_label_and_each_writes_a_submission() -> None:
    assert says(STUDY, "ensemble", members=list(VOTERS), vote="hard", each=True, pseudo=None, seeds=1, tta=1)
    assert says(STUDY, "confirm", candidates=11, seeds=1)
    assert set(VOTERS) <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_torchvisions_own_with_another_head_and_three_equal_channels(name: str) -> None:
    config = config_of(STUDY, name=f"torchvision:{name}")
    normalize, network = built(config, 1, 28, 10)
    original: Any = models.get_model(name, weights=None, num_classes=10)
    assert weights_of(network) == weights_of(original)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    published = [m for m in original.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.eps for m in norms] == [m.eps for m in published]
    assert [m.momentum for m in norms] == pytest.approx([m.momentum for m in published])
    # 28 x 28 as they are: nothing is resized in front of the network
    own_kind = type(original)
    assert type(network) is own_kind
    assert isinstance(normalize, nn.Sequential) and isinstance(normalize[0], Repeat)
    assert isinstance(normalize[1], nn.Identity)
    images = torch.rand(2, 1, 28, 28)
    if name.startswith("squeezenet"):
        original.features.load_state_dict(network.get_submodule("features").state_dict())
        dense = last_layer(network)
        original.classifier[1].load_state_dict({"weight": dense.weight[:, :, None, None], "bias": dense.bias})
        original.classifier[2] = nn.Identity()  # a ReLU on the logits, which is not here
    else:
        original.load_state_dict(network.state_dict())
    ours = network.eval()(normalize(images))
    torch.testing.assert_close(ours, original.eval()(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_the_loss_is_cross_entropy() -> None:
    even, right, wrong = (torch.zeros(1, 10) for _ in range(3))
    right[0, 3] = wrong[0, 4] = math.log(91)  # probability 91/100, and 1/100 for each other class
    target = one_hot([3], 10)
    expected = {"even": math.log(10), "right": -math.log(0.91), "wrong": -math.log(0.01)}
    for name, logits in (("even", even), ("right", right), ("wrong", wrong)):
        assert loss_of(PLAIN, logits, target, [10]) == pytest.approx(expected[name], rel=1e-5)
    batch = torch.cat([even, right, wrong])
    assert loss_of(PLAIN, batch, target.repeat(3, 1), [10]) == pytest.approx(sum(expected.values()) / 3)


def test_the_learning_rate_is_three_quarters_of_the_last_epochs() -> None:
    steps = math.ceil(33_600 / 64)
    published = [1e-3 * 0.75**epoch for epoch in range(10)]
    assert rates(PLAIN, steps) == pytest.approx(np.repeat(published, steps))


def test_adam_is_pytorchs_own() -> None:
    start, gradients = some_gradients()
    weights = nn.Parameter(start.clone())
    adam = torch.optim.Adam([weights], lr=1e-3)
    for found, gradient in zip(updated(PLAIN, 1e-3, start, gradients), gradients, strict=True):
        weights.grad = gradient
        adam.step()
        torch.testing.assert_close(found, weights.detach())


def test_nothing_is_augmented() -> None:
    p = drawn(PLAIN, 28, 10)
    assert all(getattr(p, name) is None for name in type(p).__slots__)


def test_a_fifth_of_the_rows_validates_in_the_proportions_of_the_classes() -> None:
    labels = np.random.default_rng(0).choice(10, 42_000, p=np.arange(1, 11) / 55)[:, None]
    (fold,) = folds_of(STUDY, labels)
    assert len(fold.valid_idx) == 8_400
    whole = np.bincount(labels[:, 0])
    assert np.abs(np.bincount(labels[fold.valid_idx, 0]) - whole / 5).max() <= 1


def test_the_six_are_found_by_their_names() -> None:
    found = [
        TrialRecord(n, "finished", "search", config, params, MADE_FROM, 1, 0.9, 0.9, 1.0)
        for n, (params, config) in enumerate(STUDY.space.configurations())
    ]
    names = STUDY.ensemble.members
    assert names is not None
    assert [r.config.model.name for r in trials_named(names, found)] == [f"torchvision:{n}" for n in VOTERS]


def test_a_small_run_of_two_networks_votes_and_writes_three_submissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_digits(Path("digits"), 60)
    space = ("--space", "recipes/digits_torchvision", "--data", "digits", "--executor", "inline")
    assert search(*space, "--trials", 2, "--candidates", 2, "--epochs", 1, "--run-dir", "run") == 0
    run = Path("run")
    assert [r.config.model.name for r in records(run)] == ["torchvision:resnet18", "torchvision:resnet34"]
    assert all(r.state == "finished" for r in records(run))
    assert ensemble("--run", run, "--members", "resnet18,resnet34") == 0
    report = json.loads((run / "ensemble/report.json").read_text())
    assert report["vote"]["rule"] == "hard" and [m["name"] for m in report["members"]] == [
        "resnet18",
        "resnet34",
    ]
    files = {"submission.csv", "submission-resnet18.csv", "submission-resnet34.csv"}
    assert (
        {path.name for path in (run / "ensemble").glob("*.csv")}
        == files
        == set(report["submissions"].values())
    )
    for file in files:
        answers = pd.read_csv(run / "ensemble" / file)
        assert list(answers.columns) == ["ImageId", "Label"] and answers["ImageId"].tolist() == [
            1,
            2,
            3,
            4,
            5,
            6,
        ]
    for row in report["disputed"]:
        assert set(row["members"]) == {"resnet18", "resnet34"} and row["vote"] in row["members"].values()
