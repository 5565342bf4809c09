"""What trainings of one seed share, and a generator for each operation."""

from __future__ import annotations

import numpy as np
import pytest
from fidelity_modules import module


def test_the_shared_fraction_of_scores():
    shared = module("shared").shared_fraction
    rng = np.random.default_rng(0)
    shift, own = rng.normal(size=(500, 1)), rng.normal(size=(500, 6))
    means = np.arange(6.0)
    assert shared(means + shift)["fraction"] == 1
    assert shared(means + own)["fraction"] == pytest.approx(0, abs=0.03)
    assert shared(means + 2 * shift + own)["fraction"] == pytest.approx(0.8, abs=0.04)
    assert shared(means + 2 * shift + own)["deviation"] == pytest.approx(1, abs=0.05)


def test_the_example_of_shrout_and_fleiss():
    """Their table 2 and 4: ICC(3,1) is 0.71; the interval as R's package psych gives it."""
    scores = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
    )
    found = module("shared").shared_fraction(scores)
    assert found["fraction"] == pytest.approx(0.7148, abs=1e-4)
    assert (found["low"], found["high"]) == pytest.approx((0.34, 0.95), abs=0.005)


def test_the_interval_of_the_shared_fraction_holds_the_truth():
    shared, rng = module("shared").shared_fraction, np.random.default_rng(1)
    held = 0
    for _ in range(400):
        found = shared(rng.normal(size=(3, 1)) + rng.normal(size=(3, 8)))
        held += found["low"] <= 0.5 <= found["high"]
    assert 0.92 <= held / 400 <= 0.98


def test_discordance_is_counted_pair_by_pair():
    wrong = np.random.default_rng(0).random((3, 4, 50)) < 0.3
    same, other = module("shared").discordance(wrong)
    for a in range(4):
        for b in range(4):
            pairs = {(s, t): (wrong[s, a] != wrong[t, b]).mean() for s in range(3) for t in range(3)}
            assert same[a, b] == pytest.approx(
                np.mean([v for (s, t), v in pairs.items() if s == t]), abs=1e-6
            )
            assert other[a, b] == pytest.approx(
                np.mean([v for (s, t), v in pairs.items() if s != t]), abs=1e-6
            )


def test_what_sharing_saves_on_images():
    """Both of a pair have the same mistakes with one seed, other ones with another."""
    wrong = np.zeros((3, 2, 90), bool)
    for seed in range(3):
        wrong[seed, :, 30 * seed : 30 * (seed + 1)] = True
    found = module("shared").saved(wrong, [(0, 1)])
    assert found == pytest.approx(
        {"same seed": 0, "other seeds": 2 / 3, "saved": 1, "error": 0, "pairs": 1}, abs=1e-6
    )


def test_pairs_are_told_apart_by_what_they_share():
    def tree(width, elastic, cutout):
        return {"model": {"width": width}, "augment": {"elastic": elastic, "cutout": cutout}}

    trees = [tree(8, 0, 0.2), tree(8, 0, 0.1), tree(16, 0, 0.2), tree(8, 0.02, 0.2)]
    assert module("shared").kinds_of_pairs(trees) == {
        "draws": [(0, 2), (1, 2)],
        "initial weights": [(0, 3), (1, 3)],
        "initial weights and draws": [(0, 1)],
        "neither": [(2, 3)],
    }


def test_operations_with_generators_of_their_own_leave_each_other_alone():
    torch = pytest.importorskip("torch")
    from tune_digits.config import Augment
    from tune_digits.learn.augment import draw

    draw_apart = module("draws").draw_apart
    plain, more = Augment(rotate=10, shift=0.1), Augment(rotate=20, shift=0.1, elastic=0.02, cutout=0.2)

    def both(function, *salt):
        return [function(c, 8, 14, 14, torch.Generator().manual_seed(3), 1, *salt) for c in (plain, more)]

    one, other = both(draw_apart, 0)
    assert torch.equal(2 * one.rotate, other.rotate) and torch.equal(one.shift, other.shift)
    assert other.elastic is not None and other.cutout is not None and one.elastic is None
    assert not torch.equal(one.shift, both(draw_apart, 1)[0].shift)
    # what the product does: docs/fidelity.md says so
    one, other = both(draw)
    assert not torch.allclose(2 * one.rotate, other.rotate)


def test_trainings_apart_draw_apart_and_leave_the_product_as_it_was():
    torch = pytest.importorskip("torch")
    from tune_digits.config import Augment
    from tune_digits.learn import augment, batches

    draws, config, images = module("draws"), Augment(rotate=10, shift=0.1), torch.rand(4, 1, 14, 14)

    def augmented():
        return batches.augment.augment(images, config, torch.Generator().manual_seed(0))

    before = augmented()
    with draws.apart(0):
        inside = augmented()
    expected = draws.draw_apart(config, 4, 14, 14, torch.Generator().manual_seed(0), 1, 0)
    assert torch.equal(inside, augment.apply(images, expected)) and not torch.equal(inside, before)
    assert torch.equal(augmented(), before)
