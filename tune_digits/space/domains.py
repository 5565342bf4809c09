"""What a searched key may be: the domains, under Ray Tune's names and with Ray Tune's meaning.

    uniform loguniform            [low, high]         real numbers, both ends included
    quniform qloguniform          [low, high, step]   multiples of the step, both ends included
    randint lograndint            [low, high]         whole numbers, the upper end excluded
    qrandint qlograndint          [low, high, step]   whole multiples of the step, both ends included
    choice                        [a, b, ...]         one of these values

`log` draws evenly on a logarithmic scale. DOMAINS at the end of the file is the one list of the names: a new domain is
a row there, an example in tests/space/test_domain_contract.py and a word in the README. Optuna draws the values, but is
not imported here: it takes as long as all the rest of `search --dry-run`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

from tune_digits.validate import did_you_mean

Number: TypeAlias = int | float
Label: TypeAlias = str | int | float | bool | None  # what Optuna can store as one of several choices


class Suggester(Protocol):
    """What a domain asks for a value: an Optuna trial, or what stands in for one."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label: ...


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included; with a step only its multiples.

    kind is the name in DOMAINS. whole: integers, as Python's int. log: drawn evenly on a logarithmic scale.

    >>> shift = parse_domain("quniform", [0, 0.2, 0.05])
    >>> shift.nearest(0.16), shift.allows(0.16), shift.allows(0.15)
    (0.15, False, True)
    """

    kind: str
    low: Number
    high: Number
    step: Number | None
    whole: bool
    log: bool

    def ends(self) -> tuple[Any, ...]:
        """The values that stand for all others when the space is checked."""
        return (self.low, self.high)

    def nearest(self, value: Any) -> Any:
        """The allowed value next to `value`; the least one for what is no number."""
        number = _number(value)
        if number is None or math.isnan(number):
            return self.low
        number = min(max(number, self.low), self.high)
        if self.step is not None:
            return _multiple(round(number / self.step), self.step)
        return round(number) if self.whole else float(number)

    def allows(self, value: Any) -> bool:
        """Whether `value` is in the domain; real numbers up to the rounding of their last digits."""
        number = _number(value)
        if number is None:
            return False
        return math.isclose(number, self.nearest(number), rel_tol=0 if self.whole else 1e-9)

    def refusal(self, value: Any) -> str:
        """Why `value` is not allowed, and what is, in words."""
        if _number(value) is None:
            return f"{value!r} is no number; the domain is {self}"
        return f"{value!r} lies outside its domain {self}; the nearest allowed value is {_shown(self.nearest(value))}"

    def label(self, value: Any) -> Any:
        """`value` as Optuna stores it."""
        return value

    def unlabel(self, label: Any) -> Any:
        """The value that Optuna stores as `label`."""
        return label

    @property
    def size(self) -> int | None:
        """How many values there are; None where they are real numbers without a step."""
        if self.step is None:
            return int(self.high - self.low) + 1 if self.whole else None
        return round((self.high - self.low) / self.step) + 1

    def at(self, index: int) -> Any:
        """The value number `index` of `size`, from the lowest."""
        if self.step is None:
            return self.low + index
        return _multiple(round(self.low / self.step) + index, self.step)

    def written(self) -> dict[str, Any]:
        """The domain as a study file has it."""
        high = self.high + 1 if self.whole and self.step is None else self.high
        return {self.kind: [self.low, high] + ([] if self.step is None else [self.step])}

    def suggest(self, trial: Suggester, name: str) -> Any:
        """Ask an Optuna trial for a value under `name`."""
        if self.whole:
            step = 1 if self.log or self.step is None else int(self.step)
            value: Number = trial.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log)
        else:
            step_or_none = None if self.log else self.step
            value = trial.suggest_float(name, self.low, self.high, step=step_or_none, log=self.log)
        # Optuna has no steps on a logarithmic scale, and writes 3 * 0.05 as 0.15000000000000002
        return self.nearest(value)

    def __str__(self) -> str:
        step = "" if self.step is None else f" step {_shown(self.step)}"
        return f"{self.kind} {_shown(self.low)} .. {_shown(self.high)}{step}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these values: numbers, texts, true and false, null, lists or mappings.

    Values that Python calls equal (1, 1.0 and true) are one value, in the spelling of the list.
    """

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[Label, ...]:
        """The values as Optuna can store them: scalars as they are, lists and mappings as JSON."""
        return tuple(v if isinstance(v, Label) else json.dumps(v) for v in self.values)

    def ends(self) -> tuple[Any, ...]:
        """All values: none of them stands for another when the space is checked."""
        return self.values

    def nearest(self, value: Any) -> Any:
        """`value` as the list spells it; the first value for one that is not in the list."""
        return self.values[self.values.index(value)] if value in self.values else self.values[0]

    def allows(self, value: Any) -> bool:
        """Whether `value` is in the list."""
        return value in self.values

    def refusal(self, value: Any) -> str:
        """Why `value` is not allowed, and what is, in words."""
        return f"{value!r} lies outside its domain {self}{did_you_mean(value, map(str, self.values)).rstrip('.')}"

    def label(self, value: Any) -> Label:
        """`value` as Optuna stores it."""
        return self.labels[self.values.index(value)]

    def unlabel(self, label: Label) -> Any:
        """The value that Optuna stores as `label`."""
        return self.values[self.labels.index(label)]

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    def at(self, index: int) -> Any:
        """The value number `index` of `size`, in the order of the list."""
        return self.values[index]

    def written(self) -> dict[str, Any]:
        """The domain as a study file has it."""
        return {"choice": list(self.values)}

    def suggest(self, trial: Suggester, name: str) -> Any:
        """Ask an Optuna trial for a value under `name`."""
        return self.unlabel(trial.suggest_categorical(name, self.labels))

    def __str__(self) -> str:
        return "choice " + " | ".join(map(str, self.values))


Domain: TypeAlias = Range | Choice


def _number(value: Any) -> Number | None:
    """`value` as a number, or None; '1e-4' is one, True is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _multiple(count: int, step: Number) -> Number:
    """count * step in decimal arithmetic: 3 * 0.05 is 0.15, not 0.15000000000000002."""
    return count * step if isinstance(step, int) else float(count * Decimal(repr(step)))


def _shown(number: Number) -> str:
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


# ── from the study file ──────────────────────────────────────────────────────────────────────────────


def parse_domain(name: str, args: Any) -> Domain:
    """The domain `name` of DOMAINS with its arguments as YAML gave them.

    Raises ValueError with what is allowed, in words.
    """
    return DOMAINS[name](name, args)


def _choice(name: str, args: Any) -> Choice:
    if not isinstance(args, list) or not args:
        raise ValueError(f"{name} needs a list of values, got {args!r}")
    domain = Choice(tuple(args))
    for known in (domain.values, domain.labels):
        for i, value in enumerate(known):
            if value in known[:i]:
                first = args[known.index(value)]
                raise ValueError(f"{name} has one value twice: {first!r} and {args[i]!r}")
    return domain


def _range(*, whole: bool = False, log: bool = False, stepped: bool = False) -> Callable[[str, Any], Range]:
    """What parses the arguments of one kind of range."""
    form = "[low, high, step]" if stepped else "[low, high]"

    def parse(name: str, args: Any) -> Range:
        if not isinstance(args, list) or len(args) != (3 if stepped else 2):
            raise ValueError(f"{name} needs {form}, got {args!r}")
        numbers = [n for n in map(_number, args) if n is not None]
        if len(numbers) < len(args):
            raise ValueError(f"{name} needs numbers {form}, got {args!r}")
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{name} needs finite numbers, got {args!r}")
        if whole and any(n != int(n) for n in numbers):
            raise ValueError(f"{name} needs whole numbers, got {args!r}")
        low, high, *rest = map(int if whole else float, numbers)
        if not low < high:
            raise ValueError(f"{name} needs low < high, got {args!r}")
        if log and low <= 0:
            raise ValueError(f"{name} needs low > 0, got {args!r}")
        if rest:
            low, high = _ends_on_grid(name, low, high, rest[0], log, args)
        elif whole:
            high -= 1
        return Range(name, low, high, rest[0] if rest else None, whole, log)

    return parse


def _ends_on_grid(
    name: str, low: Number, high: Number, step: Number, log: bool, args: list[Any]
) -> tuple[Number, Number]:
    """The ends as multiples of the step; ValueError with the nearest ones where they are none."""
    if not 0 < step <= (high - low) * (1 + 1e-9):
        raise ValueError(f"the step of {name} must be more than 0 and at most high - low, got {args!r}")
    if isinstance(step, int) and step == 1:
        # Ray Tune includes the upper end with every other step
        raise ValueError(
            f"{name} with step 1 excludes the upper end in Ray Tune; write {name.removeprefix('q')}: "
            f"[{low}, {high + 1}] to include it, or [{low}, {high}]"
        )
    counts = [round(low / step), round(high / step)]
    nearest = [_multiple(count, step) for count in counts]
    if not all(math.isclose(end, near, rel_tol=1e-9) for end, near in zip((low, high), nearest, strict=True)):
        if log and counts[0] == 0:
            nearest[0] = step
        low_text, high_text, step_text = map(_shown, (*nearest, step))
        raise ValueError(
            f"both ends of {name} must be multiples of its step {step_text}, got {args!r}; the nearest are "
            f"{low_text} and {high_text}"
        )
    return nearest[0], nearest[1]


# name in the study file -> what parses its arguments
DOMAINS: dict[str, Callable[[str, Any], Domain]] = {
    "uniform": _range(),
    "quniform": _range(stepped=True),
    "loguniform": _range(log=True),
    "qloguniform": _range(log=True, stepped=True),
    "randint": _range(whole=True),
    "qrandint": _range(whole=True, stepped=True),
    "lograndint": _range(whole=True, log=True),
    "qlograndint": _range(whole=True, log=True, stepped=True),
    "choice": _choice,
}
