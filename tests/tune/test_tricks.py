"""What in a configuration is a trick, and the configuration without it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.tune.tricks import DETAILS, NO_TRICKS, chosen_tricks, tricks_of


def config(**parts: Any) -> TrialConfig:
    return TrialConfig.model_validate(parts)


def keys(made: TrialConfig) -> list[str]:
    return [trick.key for trick in tricks_of(made)]


def differences(a: TrialConfig, b: TrialConfig) -> set[str]:
    left, right = a.model_dump(), b.model_dump()
    return {
        f"{part}.{name}"
        for part in left
        for name in {*left[part], *right[part]}
        if left[part].get(name) != right[part].get(name)
    }


MANY = config(
    model={"name": "lean_cnn", "width": 8, "bn_momentum": 0.3, "dropout": 0.0},
    augment={"rotate": 10, "shift": 0.1, "cutout": 0.3, "cutout_holes": 2, "strength": 1.5},
    mix={"mixup_alpha": 0.4, "off_last": 1},
    loss={"name": "focal", "gamma": 1.0, "label_smoothing": 0.1, "center_weight": 0.01, "center_rate": 0.3},
    optimizer={"name": "sgd", "lr": 0.2, "lookahead_k": 5, "lookahead_alpha": 0.6},
    schedule={"name": "cosine"},
    train={"epochs": 4, "ema_decay": 0.9, "batch_size": 32, "normalize": "none"},
)


def test_the_defaults_have_no_tricks() -> None:
    assert tricks_of(TrialConfig()) == []
    assert keys(config(model={"name": "keras8", "width": 16}, train={"epochs": 3, "batch_size": 32})) == []


def test_each_difference_is_a_trick_and_goes_alone() -> None:
    found = {trick.key: trick for trick in tricks_of(MANY)}
    assert list(found) == [
        *("model.bn_momentum", "model.dropout"),
        *(
            "augment",
            "augment.strength",
            "augment.rotate",
            "augment.shift",
            "augment.cutout",
            "augment.cutout_holes",
        ),
        *("mix.mixup_alpha", "mix.off_last"),
        *("loss", "loss.label_smoothing", "loss.center_weight", "loss.center_rate", "loss.gamma"),
        *("optimizer", "optimizer.lookahead_k", "optimizer.lookahead_alpha", "optimizer.lr"),
        *("schedule", "train.ema_decay", "train.normalize"),
    ]
    for key, trick in found.items():
        assert trick.config is not None, key
        if "." in key:
            assert differences(MANY, trick.config) == {key}
    assert found["mix.mixup_alpha"].value == "0.4" and found["mix.mixup_alpha"].off == "0"


def test_a_whole_part_is_one_trick() -> None:
    found = {trick.key: trick.config for trick in tricks_of(MANY)}
    without = found["augment"]
    assert without is not None and without.augment == TrialConfig().augment
    assert without.model_copy(update={"augment": MANY.augment}) == MANY
    assert "augment" not in keys(
        config(augment={"rotate": 10, "strength": 0.5})
    )  # one operation is its own row
    assert "mix" in keys(config(mix={"mixup_alpha": 0.4, "cutmix_alpha": 1.0}))
    images = config(augment={"rotate": 10, "shift": 0.1, "backend": "albumentations"})
    found = {trick.key: trick.config for trick in tricks_of(images)}
    assert found["augment"] is not None and found["augment"].augment.backend == "albumentations"


def test_another_loss_leaves_what_all_losses_have_and_another_optimizer_takes_its_own_rate() -> None:
    found = {trick.key: trick.config for trick in tricks_of(MANY)}
    loss, optimizer = found["loss"], found["optimizer"]
    assert loss is not None and optimizer is not None
    assert (loss.loss.name, loss.loss.label_smoothing, loss.loss.center_weight) == (
        "cross_entropy",
        0.1,
        0.01,
    )
    assert optimizer.optimizer == TrialConfig().optimizer


def test_a_detail_without_its_trick_is_none() -> None:
    assert keys(config(augment={"cutout_holes": 2})) == []
    assert keys(config(mix={"off_last": 1, "alpha_low": 0.5})) == []
    assert keys(config(loss={"name": "cross_entropy", "ohem_rate": 0.8})) == []
    for detail, governors in DETAILS.items():
        for key in (detail, *governors):
            part, _, name = key.partition(".")
            fields = type(getattr(TrialConfig(), part)).model_fields
            assert name in fields, key
    for part, names in NO_TRICKS.items():
        own = type(getattr(TrialConfig(), part)).model_fields
        assert names - {"arithmetic"} <= {*own, "arithmetic"}, part


def test_what_cannot_go_alone_says_why() -> None:
    made = config(
        mix={"mixup_alpha": 0.4},
        loss={
            "name": "cross_entropy",
            "reduction": "ohem",
            "ohem_rate": 0.7,
            "ohem_decay": 0,
            "ohem_on": "mixed",
        },
    )
    trick = next(t for t in tricks_of(made) if t.key == "mix.mixup_alpha")
    assert trick.config is None and "mix is off" in trick.why


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("mixup", "mix.mixup_alpha"),
        ("focal", "loss"),
        ("bn_momentum", "model.bn_momentum"),
        ("ema", "train.ema_decay"),
        ("augment.rotate", "augment.rotate"),
        ("augment", "augment"),
        ("sgd", "optimizer"),
    ],
)
def test_a_trick_may_be_called_by_its_short_name(name: str, key: str) -> None:
    assert [trick.key for trick in chosen_tricks(tricks_of(MANY), [name])] == [key]


def test_names_choose_in_the_order_of_the_file_and_unknown_ones_are_refused() -> None:
    chosen = chosen_tricks(tricks_of(MANY), ["focal", "rotate"])
    assert [trick.key for trick in chosen] == ["augment.rotate", "loss"]
    assert chosen_tricks(tricks_of(MANY), None) == tricks_of(MANY)
    with pytest.raises(ConfigError, match=r"--tricks cutmix: .*It has: model\.bn_momentum, "):
        chosen_tricks(tricks_of(MANY), ["cutmix"])


@given(
    rotate=st.floats(0, 30),
    smoothing=st.floats(0, 0.5),
    loss=st.sampled_from(["cross_entropy", "focal", "generalized_cross_entropy"]),
    ema=st.sampled_from([0.0, 0.9]),
    mixup=st.sampled_from([0.0, 0.3]),
    momentum=st.floats(0.01, 1),
)
def test_without_all_of_its_tricks_one_after_the_other_a_configuration_is_the_defaults(
    rotate: float, smoothing: float, loss: str, ema: float, mixup: float, momentum: float
) -> None:
    made = config(
        model={"name": "lean_cnn", "bn_momentum": momentum},
        augment={"rotate": rotate},
        loss={"name": loss, "label_smoothing": smoothing},
        mix={"mixup_alpha": mixup},
        train={"ema_decay": ema},
    )
    for _ in range(10):
        tricks = tricks_of(made)
        if not tricks:
            break
        assert tricks[0].config is not None
        assert len(tricks_of(tricks[0].config)) < len(tricks)
        made = tricks[0].config
    assert made == TrialConfig()
