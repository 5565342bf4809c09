"""What no flag has set follows what one has, so that a short try, or another sampler, needs no second flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from tune_digits.config import Confirm, Cv, Search, Train
from tune_digits.config.study import USED_WITH

# what --smoke sets where no other flag does: all phases, on very little
SMOKE: dict[str, Any] = {
    "data.subset": 200,
    "cv.valid_rows": 200,
    "cv.folds": 2,
    "cv.repeats": 1,
    "search.trials": 2,
    "train.epochs": 1,
    "confirm.candidates": 1,
    "confirm.seeds": 1,
    "ensemble.top": 1,
    "ensemble.members": None,  # some of them may not have been trained
    "ensemble.seeds": 1,
    "ensemble.epochs": 1,
    "ensemble.pseudo": None,
}


def smoke_overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides of `--smoke` beside those that flags have `given`, which win."""
    keys = {key.removeprefix("trial.") for key in given}
    return {key: value for key, value in SMOKE.items() if key not in keys}


def fit_to_flags(raw: dict[str, Any], flags: Mapping[str, str]) -> list[str]:
    """Lower or leave out, in place, what of a raw study would not go with what flags have set. Returns what was done.

    flags: dotted key (of the trial without `trial.`) -> the flag that has set it, such as `--epochs 1`. A number that
    a flag has set is left alone, and so is everything where no flag has set any: the study then says what is wrong.
    """
    return [
        *_fit_to_names(raw, flags),
        *_fit_to_epochs(raw, flags),
        *_fit_to_folds(raw, flags),
        *_fit_to_subset(raw, flags),
    ]


def _fit_to_names(raw: dict[str, Any], flags: Mapping[str, str]) -> list[str]:
    """What the file says of another sampler or scheduler than a flag has chosen is left out."""
    search = _part(raw, "search")
    chosen = {"sampler": Search().sampler, "scheduler": Search().scheduler, **search}
    source = {by: flags.get(f"search.{by}") for by in ("sampler", "scheduler")}
    if chosen["sampler"] == "nsga2" and "scheduler" not in search:
        chosen["scheduler"], source["scheduler"] = "none", source["sampler"]
    said = []
    for key, (by, names) in USED_WITH.items():
        if source[by] and chosen[by] not in names and key in search and f"search.{key}" not in flags:
            said.append(f"{source[by]}: search.{key} {search.pop(key)} has no effect and is left out")
    return said


def _fit_to_epochs(raw: dict[str, Any], flags: Mapping[str, str]) -> list[str]:
    """The grace period is no longer than a training, and some epoch of it can mix."""
    flag = flags.get("train.epochs")
    epochs = _part(_part(raw, "trial"), "train").get("epochs")
    if flag is None or type(epochs) is not int or epochs < 1:
        return []
    said = []
    if "search.grace_period" not in flags:
        said += _lower(raw, "search", "grace_period", Search().grace_period, epochs, flag)
    if not {"mix", "mix.off_last"} & set(flags):
        said += _mix_in_some_epoch(raw, epochs - 1, flag)
    return said


def _fit_to_folds(raw: dict[str, Any], flags: Mapping[str, str]) -> list[str]:
    """Search and confirmation use folds that are there."""
    setting = [flag for key, flag in flags.items() if key == "cv" or key.startswith("cv.")]
    try:
        splits = Cv.model_validate(raw.get("cv", {})).splits
    except ValidationError:
        return []  # said when all parts are read
    if not setting or splits is None:
        return []
    flag, said = ", ".join(setting), []
    if "search.fold" not in flags:
        said += _lower(raw, "search", "fold", Search().fold, splits - 1, flag)
    if "confirm.folds" not in flags:
        said += _lower(raw, "confirm", "folds", Confirm().folds, splits, flag)
    return said


def _fit_to_subset(raw: dict[str, Any], flags: Mapping[str, str]) -> list[str]:
    """With train.drop_last, a quarter of the rows fills a batch: folds of few groups may train on 40 % of them."""
    flag = flags.get("data.subset")
    rows, trial = _part(raw, "data").get("subset"), _part(raw, "trial")
    if (
        flag is None
        or type(rows) is not int
        or rows < 4
        or _part(trial, "train").get("drop_last") is not True
    ):
        return []
    if "train.batch_size" in flags:
        return []
    return _lower(trial, "train", "batch_size", Train().batch_size, rows // 4, flag)


def _part(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a raw tree; {} where there is none, or something else."""
    part = raw.get(name)
    return part if isinstance(part, dict) else {}


def _lower(raw: dict[str, Any], part: str, key: str, default: int | None, limit: int, flag: str) -> list[str]:
    """Set a whole number that is larger than `limit` to it. Returns what was done, one line or none."""
    value = _part(raw, part).get(key, default)
    if type(value) is not int or value <= limit:
        return []
    raw.setdefault(part, {})[key] = limit
    return [f"{flag}: {part}.{key} is {limit} instead of {value}"]


def _mix_in_some_epoch(raw: dict[str, Any], limit: int, flag: str) -> list[str]:
    """mix.off_last, as a number, a choice or a randint, in the trial and in its points, is no more than `limit`."""
    lowered: list[str] = []

    def lower(value: Any) -> Any:
        if type(value) is int and value > limit:
            lowered.append(f"{flag}: mix.off_last is {limit} instead of {value}")
            return limit
        return value

    trial = _part(raw, "trial")
    mixes = [_part(trial, "mix")]
    branches = mixes[0].get("one_of")
    if isinstance(branches, list):
        mixes = [branch for branch in branches if isinstance(branch, dict)]
    for mix in mixes:
        if "off_last" in mix:
            mix["off_last"] = _each_value(mix["off_last"], lower)
    start = raw.get("start")
    for point in [raw.get("baseline"), *(start if isinstance(start, list) else [])]:
        if isinstance(point, dict):
            for place, key in ((point, "mix.off_last"), (_part(point, "mix"), "off_last")):
                if key in place:
                    place[key] = lower(place[key])
    return lowered[:1]


def _each_value(node: Any, change: Callable[[Any], Any]) -> Any:
    """A raw value, or its domain where it is searched, with every value changed; equal ones become one."""
    if isinstance(node, dict) and isinstance(node.get("choice"), list):
        changed = [change(value) for value in node["choice"]]
        return {"choice": [v for i, v in enumerate(changed) if v not in changed[:i]]}
    if isinstance(node, dict) and isinstance(node.get("randint"), list) and len(node["randint"]) == 2:
        low, high = node["randint"]
        if type(low) is not int or type(high) is not int:
            return node
        low, last = change(low), change(high - 1)
        return {"randint": [low, last + 1]} if low < last else {"choice": [low]}
    return change(node)
