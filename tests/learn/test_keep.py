"""Which epoch's weights a training is left with, and what early stopping watches."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from small_training import CPU, HEADS, IMAGES, PROBA, TARGETS, TRAIN, K, config_of, training

from tune_digits import disk
from tune_digits.config import Train
from tune_digits.learn import loop
from tune_digits.learn.device import to_device
from tune_digits.learn.epoch import EpochReport, best_epoch, is_over, kept_epoch, stopped_early
from tune_digits.learn.fit import fit, start_training
from tune_digits.learn.fused import fit_fused
from tune_digits.learn.loop import Training, evaluate
from tune_digits.learn.metrics import ACCURACY
from tune_digits.learn.predict import predict_logits
from tune_digits.learn.state import pack, unpack


def reports(
    scores: list[float | None], losses: list[float | None], train_losses: list[float] | None = None
) -> list[EpochReport]:
    trained = train_losses or [1.0] * len(scores)
    return [
        EpochReport(i, t, loss, score, 0.1, 1.0, 0.1, 1.0)
        for i, (t, loss, score) in enumerate(zip(trained, losses, scores, strict=True), 1)
    ]


# ── what the reports say ─────────────────────────────────────────────────────────────────────────────


def test_the_first_of_equally_good_epochs_is_kept() -> None:
    history = reports([0.5, 0.7, 0.7, 0.6], [1.0, 0.4, 0.3, 0.3])
    kept = {keep: kept_epoch(history, Train(keep=keep)).epoch for keep in ("last", "best_score", "best_loss")}
    assert kept == {"last": 4, "best_score": 2, "best_loss": 3}


def test_without_validation_the_last_epoch_is_kept() -> None:
    history = reports([None, None], [None, None])
    assert best_epoch(history, "score") is best_epoch(history, "loss") is None
    assert kept_epoch(history, Train(keep="best_loss")).epoch == 2


def test_epochs_whose_loss_is_not_finite_are_never_the_best() -> None:
    history = reports([0.1, 0.9], [2.0, 0.1], [1.0, math.nan])
    assert kept_epoch(history, Train(keep="best_score")).epoch == 1
    history = reports([0.5, 0.5, 0.5], [math.nan, 2.0, math.inf])
    assert kept_epoch(history, Train(keep="best_loss")).epoch == 2


@pytest.mark.parametrize(("on", "stopped"), [("score", False), ("loss", True)])
def test_early_stopping_watches_what_it_is_told_to(on: Any, stopped: bool) -> None:
    history = reports([0.1, 0.2, 0.3], [1.0, 1.0, 1.2])
    train = Train(epochs=9, early_stopping=2, early_stopping_on=on)
    assert stopped_early(history, train) is is_over(history, train) is stopped


@pytest.mark.parametrize("bad", [{"keep": "best"}, {"early_stopping_on": "valid"}, {"valid_loss": "train"}])
def test_other_words_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Input should be"):
        Train(**bad)


# ── what a training keeps ────────────────────────────────────────────────────────────────────────────

UNSTEADY: dict[str, Any] = {"optimizer": {"lr": 0.6}}  # good and bad epochs in turns


@pytest.mark.parametrize("keep", ["best_score", "best_loss"])
@pytest.mark.parametrize(
    "average", [{}, {"ema_decay": 0.5}, {"swa_start": 0.5}, {"ema_decay": 0.5, "swa_start": 0.5}], ids=str
)
def test_a_training_is_left_with_the_weights_of_its_best_epoch(keep: str, average: dict[str, Any]) -> None:
    state, epochs = training({**UNSTEADY, "train": {"epochs": 8, "keep": keep, **average}})
    validated = {r.epoch: copy.deepcopy(state.validated_model.state_dict()) for r in epochs}
    expected = kept_epoch(state.history, Train(keep=keep)).epoch
    assert state.best_epoch == expected < 8
    kept = state.best_model.state_dict()
    assert all(torch.equal(value, validated[expected][name]) for name, value in kept.items())
    assert not all(torch.equal(value, validated[8][name]) for name, value in kept.items())


def test_what_it_is_left_with_has_the_score_of_its_epoch() -> None:
    change = {**UNSTEADY, "train": {"epochs": 8, "keep": "best_score", "ema_decay": 0.5}}
    state, epochs = training(change)
    list(epochs)
    logits = predict_logits(state.best_model, torch.from_numpy(IMAGES[TRAIN:]))
    hits = [logits[:, h].argmax(1) == torch.from_numpy(PROBA[TRAIN:, h]).argmax(1) for h in HEADS]
    assert torch.stack(hits).float().mean().item() == pytest.approx(max(r.score or 0 for r in state.history))


def test_without_validation_a_training_is_left_with_its_last_weights() -> None:
    config = config_of({"train": {"keep": "best_score", "epochs": 2}})
    state = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    list(fit(state, config, to_device(IMAGES, PROBA, TARGETS, CPU), torch.arange(TRAIN), seed=0))
    assert state.best_model is state.model


def test_a_best_epoch_before_a_stop_is_kept_after_it(tmp_path: Path) -> None:
    change = {**UNSTEADY, "train": {"epochs": 8, "keep": "best_score"}}
    straight, epochs = training(change)
    list(epochs)
    stopped, epochs = training(change)
    for _ in range(straight.best_epoch):
        next(epochs)
    disk.write_tensors(tmp_path / "state.safetensors", *pack(stopped))
    resumed, epochs = training(change)
    unpack(resumed, *disk.read_tensors(tmp_path / "state.safetensors"))
    assert len(list(epochs)) == 8 - straight.best_epoch > 0
    assert resumed.best_epoch == straight.best_epoch
    kept = straight.best_model.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in resumed.best_model.state_dict().items())


def test_keeping_the_best_does_not_change_the_training() -> None:
    plain, one = training(UNSTEADY)
    kept, two = training({**UNSTEADY, "train": {"keep": "best_loss"}})
    assert [r.train_loss for r in one] == [r.train_loss for r in two]
    assert all(torch.equal(v, pack(kept)[0][k]) for k, v in pack(plain)[0].items())


def test_fused_trainings_keep_each_its_own_best_epoch() -> None:
    config = config_of({**UNSTEADY, "train": {"epochs": 8, "keep": "best_loss", "ema_decay": 0.5}})
    data = to_device(IMAGES, PROBA, TARGETS, CPU)
    rows, valid = torch.arange(TRAIN), torch.arange(TRAIN, len(IMAGES))

    def start(seed: int) -> Training:
        state = start_training(config, IMAGES, np.arange(TRAIN), K, seed, 0, CPU)
        return Training(state, rows, seed, 0, valid)

    alone, fused = [start(seed) for seed in (0, 1)], [start(seed) for seed in (0, 1)]
    for one in alone:
        list(fit(one.state, config, data, one.rows, valid, seed=one.seed))
    list(fit_fused(fused, config, data))
    assert len({one.state.best_epoch for one in alone}) > 1
    for one, two in zip(alone, fused, strict=True):
        assert one.state.best_epoch == two.state.best_epoch
        for a, b in zip(one.state.best_model.parameters(), two.state.best_model.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_early_stopping_on_the_loss_ends_a_training() -> None:
    def lengths(on: str) -> int:
        change = {**UNSTEADY, "train": {"epochs": 12, "early_stopping": 1, "early_stopping_on": on}}
        return len(list(training(change)[1]))

    _, epochs = training({**UNSTEADY, "train": {"epochs": 12}})
    history = list(epochs)
    for on in ("score", "loss"):
        watched = [r.score if on == "score" else -r.valid_loss for r in history]
        worse = [i for i in range(1, 12) if watched[i] <= max(watched[:i])]
        assert lengths(on) == worse[0] + 1
    assert lengths("score") != lengths("loss")


# ── the validation loss ──────────────────────────────────────────────────────────────────────────────


def test_the_trained_loss_is_validated_with_smoothing_and_weights() -> None:
    loss = {"label_smoothing": 0.2, "head_weights": [0.7, 0.3], "class_weights": "inverse"}
    state, epochs = training({"loss": loss, "train": {"epochs": 1, "valid_loss": "trained"}})
    (report,) = epochs
    logits = predict_logits(state.model, torch.from_numpy(IMAGES[TRAIN:]))
    targets = torch.from_numpy(PROBA[TRAIN:])
    counts = torch.from_numpy(PROBA[:TRAIN]).sum(0)
    expected = 0.0
    for share, h in zip((0.7, 0.3), HEADS, strict=True):
        each = F.cross_entropy(logits[:, h], targets[:, h].argmax(1), label_smoothing=0.2, reduction="none")
        weights = TRAIN / (len(counts[h]) * counts[h])
        expected += share * (each * weights[targets[:, h].argmax(1)]).mean().item()
    assert report.valid_loss == pytest.approx(expected, rel=1e-5)


def test_plain_cross_entropy_is_validated_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of({"loss": {"label_smoothing": 0.2}})
    state = start_training(config, IMAGES, np.arange(TRAIN), K, 0, 0, CPU)
    data = to_device(IMAGES, PROBA, TARGETS, CPU)
    monkeypatch.setattr(loop, "loss_per_sample", None)
    loss, _ = evaluate(state, config, data, torch.arange(TRAIN, len(IMAGES)), ACCURACY)
    logits = predict_logits(state.model, torch.from_numpy(IMAGES[TRAIN:]))
    targets = torch.from_numpy(PROBA[TRAIN:])
    each = [F.cross_entropy(logits[:, h], targets[:, h]).item() for h in HEADS]
    assert loss == pytest.approx(np.mean(each), rel=1e-5)
