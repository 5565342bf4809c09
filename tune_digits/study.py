"""The study file: data, folds, budgets and the trial space in one YAML, resolved and checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tune_digits.config import Confirm, Cv, Ensemble, Resources, Search, TrialConfig
from tune_digits.data.formats import Data
from tune_digits.errors import ConfigError
from tune_digits.space.sampler_limits import fit_sampler
from tune_digits.space.space import Space, make_space
from tune_digits.space.tree import flatten
from tune_digits.study_fit import fit_to_flags
from tune_digits.study_parts import StudyParts
from tune_digits.validate import did_you_mean, validate
from tune_digits.yaml_text import MOST_LETTERS, parse_yaml, write_yaml

# keys that name files or folders
PATHS = frozenset(
    {
        *("data.path", "data.root", "model.weights"),
        *(f"{key}{below}" for key in ("model.init_from", "loss.teacher") for below in ("", ".run")),
    }
)


@dataclass(frozen=True, slots=True)
class Study:
    """A study file, resolved and checked.

    raw: the file from which the same study loads, with every default. notes: what follows from the flags and was not
    said by any, a line each.
    """

    name: str
    data: Data
    cv: Cv
    search: Search
    confirm: Confirm
    ensemble: Ensemble
    resources: Resources
    space: Space
    raw: dict[str, Any]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def epochs(self) -> int:
        """Epochs of a trial that is not stopped; one number for all, since ASHA compares trials at equal epochs."""
        return int(self.space.fixed("train.epochs"))

    def to_yaml(self) -> str:
        return write_yaml(self.raw)


def space_folders() -> list[Path]:
    """Where a space's bare name is looked for: here, in the checkout, and in the installed package."""
    package = Path(__file__).resolve().parent
    return [Path("search_spaces"), package.parent / "search_spaces", package / "search_spaces"]


def find_space(name: str) -> Path:
    """The study file that `name` means: a path, or a name (with or without .yaml) in `search_spaces/`.

    What lies in a folder there has it in its name: `recipes/kannada_3rd`. Raises ConfigError where there is none.
    """
    spellings = [name] if name.endswith((".yaml", ".yml")) else [name, f"{name}.yaml"]
    candidates = [Path(s) for s in spellings] + [folder / s for folder in space_folders() for s in spellings]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    files = [(p, folder) for folder in space_folders() for p in folder.rglob("*.yaml")]
    known = sorted({p.relative_to(folder).with_suffix("").as_posix() for p, folder in files})
    wanted = name.removesuffix(".yaml").removesuffix(".yml")
    inside = [k for k in known if k.endswith(f"/{wanted}")]
    hint = f"; did you mean '{inside[0]}'?" if inside else did_you_mean(wanted, known)
    raise ConfigError(f"no search space '{name}'{hint} Give a path, or one of: {', '.join(known)}")


def load_study(
    path: Path, overrides: Mapping[str, Any] | None = None, origins: Mapping[str, str] | None = None
) -> Study:
    """Read, resolve and check a study file. `overrides`: dotted key -> value, over what the file says.

    An override's key is that of a study part (`search.trials`) or of the trial (`optimizer.lr`, which reaches into
    every branch of a one_of). origins: an override's key -> the flag it comes from (`--trials`), which messages about
    it name; without one it comes from `--set`. Raises ConfigError.
    """
    try:
        with path.open(encoding="utf-8") as file:
            raw = parse_yaml(file.read(MOST_LETTERS + 1), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return make_study({} if raw is None else raw, str(path), path.stem, overrides, origins)


def make_study(
    raw: Any,
    file: str,
    name: str,
    overrides: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
) -> Study:
    """The study of a raw tree; see `load_study`. file: what messages name. name: the study's, unless raw has one."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: must be a mapping with the key 'trial', got {type(raw).__name__}")
    allowed = ["name", *StudyParts.model_fields, "trial", "baseline", "start"]
    for key in raw:
        if key not in allowed:
            hint = did_you_mean(key, allowed)
            raise ConfigError(f"{file}: {key}: unknown key{hint} Allowed here: {', '.join(allowed)}")
    try:
        raw = json.loads(json.dumps(raw))  # a copy of our own
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{file}: only texts, numbers, true, false, null, lists and mappings can be used ({error})"
        ) from None
    overrides = overrides or {}
    flags = {k.removeprefix("trial."): _flag(k, v, origins or {}) for k, v in overrides.items()}
    for key, value in overrides.items():
        _override(raw, key, value)
    notes = fit_to_flags(raw, flags)
    _resolve_paths(raw)
    parts = {k: v for k, v in raw.items() if k in StudyParts.model_fields}
    study_parts = validate(StudyParts, parts, file, flags=flags)
    space = make_space(raw.get("trial", {}), raw.get("baseline", {}), raw.get("start", []), file, flags)
    place = flags.get("search.sampler", f"{file}: search.sampler")
    trials_given = "trials" in raw.get("search", {})
    search, said = fit_sampler(study_parts.search, space, trials_given, place)
    study_parts = study_parts.model_copy(update={"search": search})
    notes += said
    name = str(raw.get("name", name))
    resolved = {
        "name": name,
        **study_parts.model_dump(mode="json"),
        "trial": space.written(),
        "baseline": raw.get("baseline", {}),
        "start": raw.get("start", []),
    }
    study = Study(
        name,
        **{k: getattr(study_parts, k) for k in StudyParts.model_fields},
        space=space,
        raw=resolved,
        notes=tuple(notes),
    )
    if study.search.grace_period > study.epochs:
        place = flags.get("train.epochs") or flags.get("search.grace_period") or file
        raise ConfigError(
            f"{place}: search.grace_period is {study.search.grace_period}, more than train.epochs {study.epochs}"
        )
    return study


def _flag(key: str, value: Any, origins: Mapping[str, str]) -> str:
    """An override as it was written: `--trials 0` or `--set optimizer.lr=0.01`, of lists and mappings the key alone."""
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    short = not isinstance(value, (list, dict))
    if origins.get(key) == "--smoke":  # it sets many keys
        return f"--smoke ({key} {shown})"
    if key in origins:
        return f"{origins[key]} {shown}" if short else origins[key]
    return f"--set {key}={shown}" if short else f"--set {key}"


def _resolve_paths(node: Any, place: str = "") -> None:
    """Make paths absolute in place: trials run in folders of their own, and so may --resume."""
    if isinstance(node, list):
        for item in node:
            _resolve_paths(item, place)
    elif isinstance(node, dict):
        for key, value in node.items():
            # one_of and choice add no level to a key; points of the space may be flat
            level = "" if key in ("trial", "baseline", "start", "one_of", "choice") else f".{key}"
            at = f"{place}{level}".lstrip(".")
            if at in PATHS and isinstance(value, str):
                node[key] = _absolute(value)
            elif at in PATHS and isinstance(value, list):
                node[key] = [_absolute(v) if isinstance(v, str) else v for v in value]
            else:
                _resolve_paths(value, at)


def _absolute(path: str) -> str:
    return path if path.startswith("torchvision:") else str(Path(path).expanduser().resolve())


def _override(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set a key of a study in place; what the points say of it goes, since it would be refused as not searched."""
    parts = key.split(".")
    if parts[0] in StudyParts.model_fields:
        _set(raw, parts, value, key)
        return
    parts = parts[1:] if parts[0] == "trial" else parts
    if not parts or parts[0] not in TrialConfig.model_fields:
        allowed = [*StudyParts.model_fields, *TrialConfig.model_fields]
        hint = did_you_mean(parts[0] if parts else key, allowed)
        raise ConfigError(f"--set {key}: unknown key{hint} It begins with one of: {', '.join(allowed)}")
    _set(raw.setdefault("trial", {}), parts, value, key)
    dotted = ".".join(parts)
    for point in [raw.get("baseline"), *(raw.get("start") or [])]:
        if isinstance(point, dict):
            flat = flatten(point)
            # knobs of an optimizer that another has replaced
            replaced = parts[-1] == "name" and flat.get(dotted, value) != value
            gone = ".".join(parts[:-1]) if replaced else dotted
            point.clear()
            point.update({k: v for k, v in flat.items() if k != dotted and not k.startswith(f"{gone}.")})


def _set(tree: Any, parts: list[str], value: Any, key: str) -> None:
    head, *rest = parts
    if isinstance(tree, dict) and set(tree) == {"one_of"} and isinstance(tree["one_of"], list):
        if parts == ["name"]:
            tree["one_of"] = _branches_named(value, tree["one_of"], key)
        for branch in tree["one_of"]:
            _set(branch, parts, value, key)
        return
    if not isinstance(tree, dict):
        raise ConfigError(f"--set {key}: there is nothing below '{head}' to set")
    if rest:
        if not isinstance(tree.get(head), dict):
            tree[head] = {}
        _set(tree[head], rest, value, key)
    else:
        tree[head] = value


def _branches_named(name: Any, branches: list[Any], key: str) -> list[Any]:
    """The branches of a one_of that `--set optimizer.name=sgd` keeps."""
    names = [str(branch.get("name")) for branch in branches if isinstance(branch, dict)]
    kept = [branch for branch in branches if isinstance(branch, dict) and branch.get("name") == name]
    if not kept:
        hint = did_you_mean(name, names)
        raise ConfigError(f"--set {key}: no branch is named {name!r}{hint} Branches: {', '.join(names)}")
    return kept
