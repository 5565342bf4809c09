"""The picture of an augmentation shows what trainings see: each operation at its strengths, on both backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from run_samples import halves, small_study

from tune_digits.api.preview import GAP, LABEL, TEXT, drawn, picture, rows_of, strengths, tile
from tune_digits.config import Augment
from tune_digits.errors import ConfigError
from tune_digits.learn.augment.magnitudes import is_identity
from tune_digits.space.space import Space


def space(augment: dict[str, Any]) -> Space:
    return small_study({"augment": augment}).space


@pytest.mark.parametrize(
    ("domain", "chosen", "expected"),
    [
        ({"uniform": [4, 20]}, 10, [("low", 4), ("chosen", 10), ("high", 20)]),
        ({"uniform": [0, 20]}, 12, [("low", 5), ("chosen", 12), ("high", 20)]),
        ({"uniform": [0, 20]}, 2, [("low", 1), ("chosen", 2), ("high", 20)]),
        ({"uniform": [0, 20]}, 0, [("low", 5), ("middle; chosen: off", 10), ("high", 20)]),
        ({"uniform": [4, 20]}, 20, [("low", 4), ("chosen, high", 20)]),
        ({"choice": [0, 5, 10]}, 5, [("low", 2.5), ("chosen", 5), ("high", 10)]),
        (120, 120, [("low", 60), ("chosen", 120), ("high", 180)]),  # no rotation is larger
        (0, 0, []),
    ],
)
def test_strengths_are_the_ends_of_the_domain_and_the_chosen_value(
    domain: Any, chosen: float, expected: list[tuple[str, float]]
) -> None:
    assert strengths("rotate", Augment(rotate=chosen), space({"rotate": domain})) == expected


def test_each_operation_stands_alone_and_is_always_applied() -> None:
    whole = {
        "rotate": 10,
        "shift": 0.1,
        "p": 0.5,
        "each_p": 0.3,
        "ps": {"rotate": 0.1},
        "strength": 2,
        "fill": "nearest",
    }
    rows = rows_of(Augment.model_validate(whole), space(whole), channels=1)
    assert [row.label.split()[0] for row in rows] == ["rotate"] * 3 + ["shift"] * 3 + ["all"]
    for row in rows[:3]:
        for backend, config in row.by_backend.items():
            assert config.backend == backend and config.fill == "nearest"
            assert (config.p, config.each_p, config.strength, config.ps.rotate) == (1, 1, 1, None)
            assert config.rotate > 0 and config.shift == 0
    assert set(rows[0].by_backend) == {"batched", "albumentations"}
    assert rows[-1].by_backend["batched"] == Augment.model_validate(whole)


def test_colours_need_colours() -> None:
    whole = {"hue": 0.1}
    assert [r.label.split()[0] for r in rows_of(Augment(hue=0.1), space(whole), 3)] == ["hue"] * 3 + ["all"]
    with pytest.raises(ConfigError, match="augments nothing"):
        rows_of(Augment(hue=0.1), space(whole), 1)


def test_what_one_backend_has_is_drawn_on_that_one() -> None:
    (policy,) = rows_of(Augment(autoaugment="svhn"), space({}), 1)
    assert list(policy.by_backend) == ["batched"]
    pipeline = {"backend": "albumentations", "pipeline": {"transform": {}}}
    (given,) = rows_of(Augment.model_validate(pipeline), space({}), 1)
    assert list(given.by_backend) == ["albumentations"]


@pytest.mark.parametrize("backend", ["batched", "albumentations"])
def test_draws_come_from_the_seed_and_differ(backend: Any) -> None:
    image = halves(1).images[0]
    config = Augment(rotate=40, backend=backend)
    assert not is_identity(config)
    first, again, other = drawn(image, config, 3, 0), drawn(image, config, 3, 0), drawn(image, config, 3, 1)
    assert first.shape == (3, 1, 8, 8) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(drawn(image, Augment(backend=backend), 2, 0), np.stack([image, image]))


def test_the_picture_has_a_line_for_each_row_with_the_original_and_the_draws() -> None:
    images = halves(2).images
    config = Augment(rotate=40, autoaugment="svhn")
    rows = rows_of(config, space({"rotate": 40}), 1)
    count, scale = 3, 8
    sheet = np.asarray(picture(rows, images, count, seed=5))
    step = 8 * scale + GAP
    assert sheet.shape[0] == 2 * TEXT + len(rows) * step
    for line, row in enumerate(rows):
        top = 2 * TEXT + line * step

        def at(column: int, block: int, top: int = top) -> np.ndarray:
            left = LABEL + column * step + 3 * GAP * block
            return sheet[top : top + 8 * scale, left : left + 8 * scale]

        image = images[0 if row.label.startswith("rotate") else 1]
        np.testing.assert_array_equal(at(0, 0), np.asarray(tile(image, scale)))
        for place, backend in enumerate(("batched", "albumentations")):
            if backend not in row.by_backend:
                continue
            outs = drawn(image, row.by_backend[backend], count, 5 + line)
            for i, out in enumerate(outs):
                np.testing.assert_array_equal(
                    at(1 + place * count + i, 1 + place), np.asarray(tile(out, scale))
                )


def test_colour_is_shown_in_colour() -> None:
    image = np.zeros((3, 2, 2), np.uint8)
    image[0] = 255
    assert np.asarray(tile(image, 4)).shape == (8, 8, 3)
    assert np.asarray(tile(image, 4))[0, 0].tolist() == [255, 0, 0]
    assert np.asarray(tile(image[:1], 1))[0, 0].tolist() == [255, 255, 255]
