"""Views at prediction: drawn from a member's own augmentation, milder, and the same whatever else is predicted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_training import HEADS, IMAGES, training
from torch import nn

from tune_digits.config import Augment, Ensemble, TrialConfig
from tune_digits.ensemble.tta import draw_views, predict_views, softened
from tune_digits.errors import ConfigError
from tune_digits.learn.augment import apply, magnitudes
from tune_digits.learn.predict import predict_proba, softmax_heads

PIXELS = torch.from_numpy(IMAGES)
SHAPE = tuple(IMAGES.shape[1:])
ROTATED = TrialConfig.model_validate(
    {"augment": {"rotate": 40, "shift": 0.2, "strength": 0.5, "fill": "nearest"}}
)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    state, epochs = training({"train": {"epochs": 2}})
    list(epochs)
    return state.model


def test_magnitudes_are_a_fraction_of_the_trained_ones_without_what_covers() -> None:
    config = Augment(rotate=40, hflip=0.4, cutout=0.3, grid_mask=0.2, strength=0.5, p=0.3, augmix=3)
    found = magnitudes(softened(config, 0.25))
    assert (found["rotate"], found["hflip"]) == (5.0, pytest.approx(0.05))
    mild = softened(config, 0.25)
    assert (mild.cutout, mild.grid_mask, mild.p, mild.augmix, mild.randaugment_n) == (0, 0, 1, 0, 1)
    assert softened(Augment(randaugment_n=2), 0.5).randaugment_n == 2
    assert softened(Augment(autoaugment="svhn"), 0.5).autoaugment == "none"


def test_a_pipeline_has_no_strength() -> None:
    config = Augment(backend="albumentations", pipeline={"transform": {}})
    with pytest.raises(ConfigError, match=r"tta_strength.*pipeline of albumentations"):
        softened(config, 0.5)


def test_the_mean_is_of_the_image_and_of_each_drawn_view(model: nn.Module) -> None:
    found = predict_views(model, ROTATED, PIXELS, HEADS, 4, 0.5)
    drawn = draw_views(ROTATED.augment, 3, 0.5, SHAPE)
    assert len(drawn) == 3 and len({float(params.rotate[0]) for params in drawn}) == 3
    expected = [predict_proba(model, PIXELS, HEADS)]
    for params in drawn:
        assert abs(float(params.rotate[0])) <= 10
        parts = []
        for image in PIXELS[:8]:
            view = apply(image[None].float() / 255, params, "nearest")
            with torch.inference_mode():
                parts.append(softmax_heads(model.eval()(view), HEADS).numpy())
        expected.append(np.concatenate(parts))
    mean = np.mean([part[:8] for part in expected], axis=0)
    np.testing.assert_allclose(found[:8], mean, atol=1e-4)
    assert np.abs(found - expected[0]).max() > 1e-3


def test_an_answer_depends_on_no_other_image_and_comes_again(model: nn.Module) -> None:
    whole = predict_views(model, ROTATED, PIXELS, HEADS, 3, 0.5)
    np.testing.assert_array_equal(whole, predict_views(model, ROTATED, PIXELS, HEADS, 3, 0.5))
    alone = predict_views(model, ROTATED, PIXELS[7:8], HEADS, 3, 0.5)
    np.testing.assert_allclose(alone[0], whole[7], atol=1e-5)
    assert predict_views(model, ROTATED, PIXELS[:0], HEADS, 3, 0.5).shape == (0, HEADS[-1].stop)


def test_the_first_views_stay_when_there_are_more(model: nn.Module) -> None:
    few, more = (draw_views(ROTATED.augment, count, 0.5, SHAPE) for count in (2, 5))
    assert [float(p.rotate[0]) for p in more[:2]] == [float(p.rotate[0]) for p in few]


def test_without_a_strength_views_are_shifts_and_without_augmentation_there_is_one(model: nn.Module) -> None:
    shifts = predict_views(model, ROTATED, PIXELS, HEADS, 5, None)
    np.testing.assert_array_equal(shifts, predict_proba(model, PIXELS, HEADS, tta=5))
    plain = predict_proba(model, PIXELS, HEADS)
    np.testing.assert_array_equal(predict_views(model, TrialConfig(), PIXELS, HEADS, 5, 0.5), plain)
    np.testing.assert_array_equal(predict_views(model, ROTATED, PIXELS, HEADS, 1, None), plain)


def test_views_that_are_not_there_are_refused() -> None:
    assert Ensemble(tta=16, tta_strength=0.3).tta == 16
    with pytest.raises(ValidationError, match="there are nine views shifted by up to a pixel"):
        Ensemble(tta=10)
    with pytest.raises(ValidationError, match="no effect on one view"):
        Ensemble(tta_strength=0.3)
