"""The tricks of a configuration: what in it differs from the defaults, each switched off by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tune_digits.config import TrialConfig
from tune_digits.config.part import Part
from tune_digits.errors import ConfigError
from tune_digits.validate import did_you_mean

# what a training is made of, and no trick: its size and length, where its weights come from, how it is computed
NO_TRICKS = {
    "model": {"name", "width", "depth", "init_from", "weights"},
    "augment": {"backend"},
    "loss": {"name", "teacher", "head_weights"},
    "optimizer": {"name", "arithmetic"},
    "schedule": {"name"},
    "train": {
        *("epochs", "batch_size", "drop_last", "keep", "early_stopping", "early_stopping_on", "valid_loss"),
        *("snapshots", "channels", "precision", "layout", "compile"),
    },
}
# a detail -> what must be on for it to have an effect (any of several)
DETAILS: dict[str, tuple[str, ...]] = {
    "augment.zoom_axes": ("augment.zoom",),
    "augment.zoom_of": ("augment.zoom",),
    "augment.grid_steps": ("augment.grid_distortion",),
    "augment.cutout_holes": ("augment.cutout",),
    "augment.cutout_fixed": ("augment.cutout",),
    "augment.grid_mask_cells": ("augment.grid_mask",),
    "augment.grid_mask_fixed": ("augment.grid_mask",),
    "augment.randaugment_magnitude": ("augment.randaugment_n", "augment.augmix"),
    "augment.augmix_jsd": ("augment.augmix",),
    "mix.fmix_decay": ("mix.fmix_alpha",),
    "mix.mixup_weight": ("mix.cutmix_alpha", "mix.fmix_alpha"),
    "mix.cutmix_weight": ("mix.mixup_alpha", "mix.fmix_alpha"),
    "mix.fmix_weight": ("mix.mixup_alpha", "mix.cutmix_alpha"),
    **{
        f"mix.{d}": ("mix.mixup_alpha", "mix.cutmix_alpha", "mix.fmix_alpha")
        for d in ("p", "alpha_low", "off_last")
    },
    **{
        f"loss.ohem_{d}": ("loss.reduction",) for d in ("rate", "start", "decay", "unit", "min", "form", "on")
    },
    "loss.class_balance": ("loss.class_weights",),
    "loss.center_rate": ("loss.center_weight",),
    "loss.temperature": ("loss.teacher_weight",),
    "optimizer.lookahead_alpha": ("optimizer.lookahead_k",),
}
# of these the whole part is one trick, too, where it does more than one thing
TOGETHER = ("augment", "mix")
# how often and how strongly operations are applied: no operations
MANNER = ("strength", "p", "each_p")
# where another loss is put in a loss's place, what all losses have stays; an optimizer's rates mean nothing to another
CARRIED = ("loss",)
ENDINGS = ("_alpha", "_decay", "_weight", "_start", "_rate", "_k")


@dataclass(frozen=True, slots=True)
class Trick:
    """One difference to the defaults. key: of the study file, or the part of it; value: what the configuration has
    there; off: what it is put back to. config: the configuration without it; None where it cannot go alone, for the
    reason `why`."""

    key: str
    value: str
    off: str
    config: TrialConfig | None
    why: str = ""

    @property
    def names(self) -> set[str]:
        """What it may be called: mix.mixup_alpha is mixup_alpha and mixup, too, and another loss its own name."""
        last = self.key.rpartition(".")[2]
        short = {last.removesuffix(ending) for ending in ENDINGS}
        return {
            self.key,
            last,
            *short,
            *({self.value} if self.value.isidentifier() and "." not in self.key else ()),
        }


def tricks_of(config: TrialConfig) -> list[Trick]:
    """Every difference to the defaults that is a trick, in the order of the study file."""
    return [trick for part in TrialConfig.model_fields for trick in _of_part(config, part)]


def chosen_tricks(tricks: Sequence[Trick], names: Sequence[str] | None) -> list[Trick]:
    """The tricks that `names` mean, in their own order; None = all. Raises ConfigError for a name of none."""
    if names is None:
        return list(tricks)
    known = {name: None for trick in tricks for name in sorted(trick.names)}
    for name in names:
        if name not in known:
            there = ", ".join(trick.key for trick in tricks) or "none"
            raise ConfigError(
                f"--tricks {name}: this configuration has no such trick.{did_you_mean(name, known)} It has: {there}"
            )
    return [trick for trick in tricks if trick.names & set(names)]


def _of_part(config: TrialConfig, part: str) -> Iterator[Trick]:
    own, default = getattr(config, part), TrialConfig.model_fields[part].default
    excluded = NO_TRICKS.get(part, set())
    changed = [
        name
        for name, field in type(own).model_fields.items()
        if name not in excluded and getattr(own, name) != field.get_default(call_default_factory=True)
    ]
    if type(own) is not type(default) and part != "model":
        kept = {}
        if part in CARRIED:
            kept = {name: getattr(own, name) for name in changed if name in type(default).model_fields}
        yield _trick(config, part, own.name, default.name, type(default)(**kept))
    operations = [
        name
        for name in changed
        if _is_number(getattr(own, name)) and f"{part}.{name}" not in DETAILS and name not in MANNER
    ]
    if part in TOGETHER and len(operations) > 1:
        kept = {name: getattr(own, name) for name in excluded if name in type(own).model_fields}
        yield _trick(config, part, "all of it", "off", type(own)(**kept))
    for name in changed:
        governors = DETAILS.get(f"{part}.{name}")
        if governors is not None and not any(_is_on(config, governor) for governor in governors):
            continue
        off = type(own).model_fields[name].get_default(call_default_factory=True)
        value = getattr(own, name)
        try:
            without: Part = type(own).model_validate({**own.model_dump(), name: off})
        except ValidationError as error:
            yield Trick(f"{part}.{name}", _text(value), _text(off), None, _reason(error))
            continue
        yield _trick(config, f"{part}.{name}", value, off, without)


def _trick(config: TrialConfig, key: str, value: Any, off: Any, without: Part) -> Trick:
    part = key.partition(".")[0]
    try:
        # a copy is not validated
        changed = TrialConfig.model_validate(config.model_copy(update={part: without}).model_dump())
    except ValidationError as error:
        return Trick(key, _text(value), _text(off), None, _reason(error))
    return Trick(key, _text(value), _text(off), changed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_on(config: TrialConfig, key: str) -> bool:
    part, _, name = key.partition(".")
    own = getattr(config, part)
    return bool(getattr(own, name) != type(own).model_fields[name].default)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Part | dict):
        return "given"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reason(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")
