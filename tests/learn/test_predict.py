"""Predictions: of the rows asked for, whatever the batches, and averaged over shifted views."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from small_training import HEADS, IMAGES, K, training
from torch import nn

from tune_digits.learn.predict import SHIFTS, predict_logits, predict_proba, shifted, softmax_heads

PIXELS = torch.from_numpy(IMAGES)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A network whose BatchNorms have seen data, with dropout, in training mode."""
    state, epochs = training({"model": {"dropout": 0.5}, "train": {"epochs": 1}})
    list(epochs)
    return state.model.train()


def test_batches_do_not_change_predictions(model: nn.Module) -> None:
    whole = predict_logits(model, PIXELS)
    assert whole.shape == (len(PIXELS), K)
    torch.testing.assert_close(predict_logits(model, PIXELS, batch_size=13), whole, rtol=1e-4, atol=1e-5)
    parts = predict_proba(model, PIXELS, HEADS, batch_size=13)
    np.testing.assert_allclose(parts, predict_proba(model, PIXELS, HEADS), atol=1e-5)
    assert parts.dtype == np.float32


def test_rows_are_predicted_in_their_order(model: nn.Module) -> None:
    rows = torch.tensor([5, 3, 99, 3, 0])
    expected = predict_logits(model, PIXELS)[rows]
    for batch_size in (None, 2):
        out = predict_logits(model, PIXELS, rows, batch_size=batch_size)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_off(model: nn.Module) -> None:
    for predict in (predict_logits, lambda m, x: torch.from_numpy(predict_proba(m, x, HEADS))):
        twin = copy.deepcopy(model).train()
        first = predict(twin, PIXELS)
        assert not twin.training
        assert torch.equal(predict(twin.train(), PIXELS), first)


def test_probabilities_add_up_to_1_in_each_target() -> None:
    logits = torch.randn(6, K, generator=torch.Generator().manual_seed(0))
    proba = softmax_heads(logits, HEADS)
    for head in HEADS:
        torch.testing.assert_close(proba[:, head], logits[:, head].softmax(1))


@pytest.mark.parametrize("tta", [1, 3, 9])
def test_tta_averages_the_first_whole_pixel_shifts(model: nn.Module, tta: int) -> None:
    assert SHIFTS[0] == (0, 0)
    views = [shifted(PIXELS.float(), dy, dx).to(torch.uint8) for dy, dx in SHIFTS[:tta]]
    expected = np.mean([predict_proba(model, view, HEADS) for view in views], axis=0)
    np.testing.assert_allclose(predict_proba(model, PIXELS, HEADS, tta=tta), expected, atol=1e-6)


def test_a_shift_moves_down_and_right_and_repeats_the_border() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4)
    moved = shifted(images, 1, -1)
    assert torch.equal(moved[..., 1:, :-1], images[..., :-1, 1:])
    assert torch.equal(moved[..., 0, :-1], images[..., 0, 1:])
    assert torch.equal(moved[..., 1:, -1], images[..., :-1, -1])


def test_no_images_give_no_probabilities(model: nn.Module) -> None:
    assert predict_proba(model, PIXELS[:0], HEADS).shape == (0, K)


def test_the_precision_is_the_one_asked_for(model: nn.Module) -> None:
    exact, rough = (predict_proba(model, PIXELS, HEADS, precision=p) for p in ("float32", "bfloat16"))
    assert np.abs(exact - rough).max() > 1e-5
    for precision, proba in (("float32", exact), ("bfloat16", rough)):
        logits = predict_logits(model, PIXELS, precision=precision)
        np.testing.assert_allclose(proba, softmax_heads(logits, HEADS).numpy(), atol=1e-6)
