"""Domains inside a pipeline of albumentations: searched as any other key, the items of its lists by their number."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.space.domains import Choice, Range
from tune_digits.space.space import Space, make_space
from tune_digits.space.tree import OneOf, flatten

AFFINE = "augment.pipeline.transform.transforms.0"
MASK = "augment.pipeline.transform.transforms.1"


def transforms() -> list[Any]:
    return [
        {
            "__class_fullname__": "Affine",
            "p": {"uniform": [0.2, 0.8]},
            "rotate": [-10, {"randint": [10, 40]}],
        },
        {
            "one_of": [
                {"__class_fullname__": "HorizontalFlip", "p": 0.5},
                {"__class_fullname__": "CoarseDropout", "p": {"choice": [0.1, 0.9]}},
            ]
        },
    ]


def trial(items: list[Any]) -> dict[str, Any]:
    compose = {"__class_fullname__": "Compose", "p": 1.0, "transforms": items}
    return {"augment": {"backend": "albumentations", "pipeline": {"transform": compose}}}


def space(**more: Any) -> Space:
    return make_space(trial(transforms()), more.get("baseline", {}), more.get("start", []), "a.yaml")


def test_domains_in_lists_are_parameters_by_their_number() -> None:
    found = space().searched()
    assert list(found) == [f"{AFFINE}.p", f"{AFFINE}.rotate.1", f"{MASK}.name", f"{MASK}.p"]
    assert isinstance(found[f"{AFFINE}.p"][0], Range)
    assert isinstance(found[f"{MASK}.name"][0], OneOf)
    assert isinstance(found[f"{MASK}.p"][0], Choice)


def test_a_trial_has_their_values_and_they_are_recorded() -> None:
    optuna.logging.disable_default_handler()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    one, seen = space(), set()
    for _ in range(20):
        tree = one.suggest(study.ask())
        TrialConfig.model_validate(tree)
        affine, mask = tree["augment"]["pipeline"]["transform"]["transforms"]
        assert 0.2 <= affine["p"] <= 0.8
        assert 10 <= affine["rotate"][1] < 40
        assert affine["rotate"][0] == -10
        flat = flatten(tree, list(one.searched()))
        assert (flat[f"{AFFINE}.p"], flat[f"{AFFINE}.rotate.1"]) == (affine["p"], affine["rotate"][1])
        assert flat[f"{MASK}.p"] == mask["p"]
        seen.add((mask["__class_fullname__"], mask["p"]))
    assert seen == {("HorizontalFlip", 0.5), ("CoarseDropout", 0.1), ("CoarseDropout", 0.9)}


def test_points_name_them_by_their_keys() -> None:
    point = {f"{AFFINE}.p": 0.5, f"{AFFINE}.rotate.1": 20, f"{MASK}.name": "1", f"{MASK}.p": 0.9}
    one = space(baseline=point, start=[{f"{AFFINE}.p": 0.25}])
    params, tree = one.point(one.baseline)
    affine, mask = tree["augment"]["pipeline"]["transform"]["transforms"]
    assert (affine["p"], affine["rotate"], mask["p"]) == (0.5, [-10, 20], 0.9)
    assert params[f"{MASK}.name"] == "1"
    # without a word of the point: the lowest value
    assert one.point(one.start[0])[1]["augment"]["pipeline"]["transform"]["transforms"][0]["rotate"] == [
        -10,
        10,
    ]
    with pytest.raises(ConfigError, match=rf"baseline: {AFFINE}\.p: 0\.9 lies outside its domain"):
        space(baseline={f"{AFFINE}.p": 0.9})
    with pytest.raises(ConfigError, match="did you mean"):
        space(baseline={f"{AFFINE}.q": 0.5})


def test_ends_of_every_domain_are_checked_configurations() -> None:
    found = [config.augment.pipeline for config in space().ends()]
    chances = {pipeline["transform"]["transforms"][0]["p"] for pipeline in found if pipeline}
    assert chances == {0.2, 0.8}


def test_a_whole_pipeline_may_be_one_of_a_choice() -> None:
    plain = {"transform": {"__class_fullname__": "HorizontalFlip", "p": 0.5}}
    other = {"transform": {"__class_fullname__": "VerticalFlip", "p": 0.5}}
    raw = {"augment": {"backend": "albumentations", "pipeline": {"choice": [plain, other]}}}
    one = make_space(raw, {"augment": {"pipeline": other}}, [], "a.yaml")
    assert one.point(one.baseline)[1]["augment"]["pipeline"] == other
    assert list(one.searched()) == ["augment.pipeline"]


def test_a_mistake_in_a_domain_names_its_place() -> None:
    bad = transforms()
    bad[0]["p"] = {"uniform": [1, 0]}
    with pytest.raises(
        ConfigError, match=r"a\.yaml: trial\.augment\.pipeline\.transform\.transforms\[0\]\.p: .*low"
    ):
        make_space(trial(bad), {}, [], "a.yaml")
    with pytest.raises(ConfigError, match=r"transforms\[0\]\.p: unknown domain 'unifrom'"):
        make_space(trial([{"p": {"unifrom": [0, 1]}, "n": 1}]), {}, [], "a.yaml")


def test_lists_elsewhere_hold_no_domains() -> None:
    weights = {"loss": {"given_weights": [1, {"uniform": [1, 2]}]}}
    with pytest.raises(ConfigError, match="given_weights"):
        make_space(weights, {}, [], "a.yaml")


def test_a_group_s_probability_and_weights_are_searched() -> None:
    groups = {
        "masks": {
            "take": "one",
            "p": {"uniform": [0, 0.5]},
            "of": {"cutout": 1, "grid_mask": {"uniform": [0.5, 2]}},
        },
    }
    augment = {"cutout": 0.2, "grid_mask": 0.3, "groups": groups}
    one = make_space({"augment": augment}, {"augment.groups.masks.p": 0.2}, [], "a.yaml")
    assert list(one.searched()) == ["augment.groups.masks.p", "augment.groups.masks.of.grid_mask"]
    group = TrialConfig.model_validate(one.point(one.baseline)[1]).augment.groups["masks"]
    assert (group.p, group.of) == (0.2, {"cutout": 1, "grid_mask": 0.5})
    groups["masks"]["p"] = {"uniform": [0, 1.5]}
    with pytest.raises(
        ConfigError, match=r"trial\.augment\.groups\.masks\.p: .*an end of uniform 0 \.\. 1\.5"
    ):
        make_space({"augment": augment}, {}, [], "a.yaml")
