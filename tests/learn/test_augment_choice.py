"""Which operations of the batched augmentation happen together, how often, and what its zoom and masks draw."""

from __future__ import annotations

import math

import pytest
import torch
from augment_samples import KNOBS, generator, noise
from pydantic import ValidationError
from scipy import stats

from tune_digits.config import Augment
from tune_digits.learn import augment
from tune_digits.learn.augment.magnitudes import RANDAUGMENT

DRAWS = 4000


# ── which operations happen ──────────────────────────────────────────────────────────────────────────


def happened(config: Augment, channels: int = 3, n: int = DRAWS) -> dict[str, torch.Tensor]:
    """(n,) bool of each operation that is on: which samples it happens to."""
    params = augment.draw(config, n, 28, 28, generator(), channels)
    neutral = {"zoom": 1, "hflip": 1, "vflip": 1, "contrast": 1, "saturation": 1, "gamma": 1}
    values = {name: getattr(params, name) for name in KNOBS}
    return {
        name: (value != neutral.get(name, 0)).flatten(1).any(1)
        if value.ndim > 1
        else value != neutral.get(name, 0)
        for name, value in values.items()
        if value is not None
    }


def share(count: int, p: float) -> float:
    """4 standard errors of a share."""
    return 4 * math.sqrt(p * (1 - p) / count)


SURE = {name: value for name, value in KNOBS.items() if name not in ("hflip", "vflip", "crop", "noise")}


def test_each_p_holds_for_each_operation_by_itself():
    on = happened(Augment(**SURE, each_p=0.3, ps={"rotate": 0.8, "blur": 1.0, "shear": 0.0}))
    assert set(on) == set(SURE) - {"shear"}
    for name, where in on.items():
        p = {"rotate": 0.8, "blur": 1.0}.get(name, 0.3)
        assert abs(where.float().mean() - p) <= share(DRAWS, p), name
    table = torch.stack([where for name, where in on.items() if name != "blur"]).float()
    assert torch.corrcoef(table).fill_diagonal_(0).abs().max() < 5 / math.sqrt(DRAWS)


def test_what_does_not_happen_leaves_the_image_bitwise():
    images = noise(DRAWS, 3, 8, 8)
    tone = {"cutout": 0.9, "grid_mask": 0.9, "noise": 0.2}
    out = augment.augment(images, Augment(**tone, each_p=0.5), generator())
    same = (out == images).flatten(1).all(1).float().mean()
    assert 0.125 - share(DRAWS, 0.125) < same < 0.25


@pytest.mark.parametrize("n", [1, 2, 5])
def test_randaugment_takes_n_operations_each_as_often(n):
    on = torch.stack(list(happened(Augment(**SURE, randaugment_n=n, randaugment_magnitude=0)).values()))
    assert (on.sum(0) == n).all()
    p = n / len(SURE)
    assert (on.float().mean(1) - p).abs().max() < share(DRAWS, p)


def test_randaugment_of_more_operations_than_there_are_takes_all():
    images = noise(8, 1, 28, 28)
    few = {"rotate": 10.0, "gamma": 0.5}
    config = Augment(**few, randaugment_n=5, randaugment_magnitude=0)
    assert torch.equal(
        augment.augment(images, config, generator()), augment.augment(images, Augment(**few), generator())
    )


def test_randaugment_magnitude_stands_in_for_magnitudes_that_are_not_given():
    own = {"rotate": 5.0, "hflip": 0.2}
    found = augment.magnitudes(Augment(**own, randaugment_n=2, randaugment_magnitude=15, strength=0.5))
    expected = {name: 0.25 * value for name, value in RANDAUGMENT.items()} | {"rotate": 2.5, "hflip": 0.1}
    assert {name: value for name, value in found.items() if value} == pytest.approx(expected)
    full = augment.magnitudes(Augment(randaugment_n=1, randaugment_magnitude=30))
    assert {name: value for name, value in full.items() if value} == RANDAUGMENT
    without = Augment(randaugment_n=2, ps={"cutout": 0.0})
    assert augment.magnitudes(without)["cutout"] == 0 < augment.magnitudes(without)["rotate"]
    assert (
        augment.magnitudes(without, channels=1)["saturation"] == 0 < augment.magnitudes(without)["saturation"]
    )
    assert not any(augment.magnitudes(Augment()).values())


TONES = ("brightness", "contrast", "gamma")


def group(take: str, of: object, p: float = 1.0) -> dict[str, object]:
    return {"groups": {"some": {"take": take, "p": p, "of": of}}}


def test_a_group_that_takes_one_takes_each_as_often():
    on = happened(Augment(**SURE, **group("one", TONES)))
    tones = torch.stack([on.pop(name) for name in TONES])
    assert (tones.sum(0) == 1).all()
    assert (tones.float().mean(1) - 1 / 3).abs().max() < share(DRAWS, 1 / 3)
    assert all(where.all() for where in on.values())


def test_a_group_takes_one_by_weight_with_its_own_probability():
    weights = {"cutout": 1, "grid_mask": 3, "hue": 2}
    on = happened(Augment(**SURE, each_p=0.5, **group("one", weights, 0.6)))
    for name, weight in weights.items():
        p = 0.6 * weight / 6
        assert abs(on[name].float().mean() - p) < share(DRAWS, p), name
    count = sum(on[name].int() for name in weights)
    assert count.unique().tolist() == [0, 1]
    assert torch.corrcoef(torch.stack([count, on["rotate"]]).float())[0, 1].abs() < 5 / math.sqrt(DRAWS)
    assert abs(on["rotate"].float().mean() - 0.5) < share(DRAWS, 0.5)


def test_what_is_off_leaves_its_weight_to_the_rest_of_its_group():
    on = happened(Augment(cutout=0.3, rotate=5, hue=0.1, **group("one", ["cutout", "hue"])), channels=1)
    assert set(on) == {"cutout", "rotate"}
    assert on["cutout"].all()


def test_a_group_that_takes_all_throws_one_coin():
    names = ("rotate", "shift", "zoom")
    on = happened(Augment(**SURE, **group("all", names, 0.7)))
    first, *others = (on.pop(name) for name in names)
    assert abs(first.float().mean() - 0.7) < share(DRAWS, 0.7)
    assert all(torch.equal(first, other) for other in others)
    assert all(where.all() for where in on.values())


def test_a_group_with_probability_0_is_off():
    config = Augment(**SURE, **group("all", ["rotate", "zoom"], 0.0))
    assert not {"rotate", "zoom"} & set(happened(config))
    assert augment.is_identity(Augment(rotate=10, **group("one", ["rotate"], 0.0)))


def test_a_group_that_takes_one_is_one_of_the_n_operations():
    tones = {"brightness": 0.2, "contrast": 0.3, "gamma": 0.5}
    one = group("one", TONES, 0.5)
    on = happened(Augment(rotate=20, **tones, **one, randaugment_n=1, randaugment_magnitude=0))
    assert (torch.stack(list(on.values())).sum(0) <= 1).all()
    assert abs(on["rotate"].float().mean() - 0.5) < share(DRAWS, 0.5)
    tone = sum(on[name].int() for name in TONES)
    assert abs(tone.float().mean() - 0.25) < share(DRAWS, 0.25)


@pytest.mark.parametrize(
    ("groups", "others", "words"),
    [
        ({"a": {"take": "one", "of": ["rotat"]}}, {}, "names rotat; operations are rotate, shift"),
        ({"a": {"take": "one", "of": []}}, {}, "at least 1 item"),
        ({"a": {"take": "one", "of": {"hue": 0}}}, {}, "greater than 0"),
        ({"a": {"take": "all", "of": {"hue": 1, "blur": 2}}}, {}, "weights choose among operations"),
        ({"a": {"take": "some", "of": ["hue"]}}, {}, "'one' or 'all'"),
        ({"a": {"of": ["hue"]}}, {}, "take\n  Field required"),
        ({n: {"take": "all", "of": ["hue"]} for n in "ab"}, {}, "hue is in two groups, a and b"),
        ({"a": {"take": "all", "of": ["hue"]}}, {"ps": {"hue": 0.5}}, "leave it out of ps"),
        ({"a": {"take": "all", "of": ["hue"]}}, {"randaugment_n": 2}, "group a takes all"),
        ({"a": {"take": "all", "of": ["hue"]}}, {"augmix": 2}, "group a takes all"),
    ],
)
def test_groups_that_mean_nothing_are_refused(groups, others, words):
    with pytest.raises(ValidationError, match=words):
        Augment(groups=groups, **others)


# ── zoom, masks ──────────────────────────────────────────────────────────────────────────────────────


def test_zoom_of_both_axes_is_one_factor_and_of_each_two():
    each, both = (
        augment.draw(Augment(zoom=0.3, zoom_axes=axes), DRAWS, 28, 20, generator()).zoom
        for axes in ("each", "both")
    )
    assert torch.equal(both[:, 0], both[:, 1])
    assert stats.kstest(both[:, 0].numpy(), stats.uniform(0.7, 0.6).cdf).pvalue > 0.001
    assert torch.corrcoef(each.T)[0, 1].abs() < 5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("axes", ["each", "both"])
def test_zoom_of_the_view_is_keras_s(axes):
    config = Augment(zoom=0.4, zoom_of="view", zoom_axes=axes)
    zoom = augment.draw(config, DRAWS, 28, 28, generator()).zoom
    for column in zoom.T:
        assert stats.kstest((1 / column).numpy(), stats.uniform(0.6, 0.8).cdf).pvalue > 0.001
    assert bool((zoom[:, 0] == zoom[:, 1]).all()) is (axes == "both")


def test_masks_of_fixed_size_are_those_of_the_third_recipe():
    """10 holes of 8 px at 128, and GridMask with 7 cells."""
    config = Augment(cutout=8 / 128, cutout_holes=10, cutout_fixed=True)
    holes = augment.draw(config, DRAWS, 128, 128, generator()).cutout
    assert holes.shape == (DRAWS, 10, 3)
    assert (holes[..., 2] == 8).all()
    assert stats.kstest(holes[:, 4, 0].numpy(), stats.uniform(0, 128).cdf).pvalue > 0.001
    assert torch.corrcoef(holes[:, :, :2].flatten(1).T).fill_diagonal_(0).abs().max() < 5 / math.sqrt(DRAWS)
    config = Augment(grid_mask=0.5, grid_mask_cells=7, grid_mask_fixed=True)
    unit, x, _, side = augment.draw(config, DRAWS, 128, 150, generator()).grid_mask.T
    torch.testing.assert_close(unit, torch.full((DRAWS,), 128 / 7))
    torch.testing.assert_close(side, torch.full((DRAWS,), 64 / 7))
    assert stats.kstest(x.numpy(), stats.uniform(0, 128 / 7).cdf).pvalue > 0.001


def test_augmix_draws_chains_of_one_to_three_operations_and_weights_that_sum_to_one():
    config = Augment(**SURE, augmix=3, randaugment_magnitude=0)
    depths = torch.stack(list(happened(config, n=1500).values())).sum(0)
    assert depths.shape == (4500,)
    assert depths.unique().tolist() == [1, 2, 3]
    assert ((depths == 2).float().mean() - 1 / 3).abs() < share(4500, 1 / 3)
    weights = augment.draw(config, DRAWS, 8, 8, generator(), 3).augmix
    torch.testing.assert_close(weights.sum(1), torch.ones(DRAWS))
    assert stats.kstest(weights[:, 0].numpy(), stats.uniform().cdf).pvalue > 0.001
    first = (weights[:, 1] / weights[:, 1:].sum(1)).numpy()
    assert (
        stats.kstest(first, stats.beta(1, 2).cdf).pvalue > 0.001
    )  # a margin of the flat Dirichlet distribution


@pytest.mark.parametrize("channels", [1, 3])
def test_augmix_keeps_the_contract(channels):
    images = noise(64, channels, 12, 15)
    config = Augment(augmix=3, p=0.5)
    out, again = (augment.augment(images, config, generator()) for _ in range(2))
    assert torch.equal(out, again)
    assert out.shape == images.shape
    assert 0 <= out.min() <= out.max() <= 1
    changed = (out != images).flatten(1).any(1)
    assert torch.equal(changed, augment.draw(config, 64, 12, 15, generator(), channels).chosen)


def test_a_pipeline_does_not_go_with_choices_among_the_magnitudes():
    pipeline = {"backend": "albumentations", "pipeline": {"transform": {}}}
    with pytest.raises(ValidationError, match=r"A\.SomeOf"):
        Augment(**pipeline, randaugment_n=2)
    with pytest.raises(ValidationError, match="backend: albumentations"):
        Augment(pipeline={"transform": {}})
    with pytest.raises(ValidationError, match="fill and zoom_axes would have no effect"):
        Augment(**pipeline, fill="nearest", zoom_axes="both")
    with pytest.raises(ValidationError, match="groups would have no effect"):
        Augment(**pipeline, **group("all", ["hue"]))
