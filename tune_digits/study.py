"""The study file: data, folds, budgets and the trial space in one YAML, resolved and checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tune_digits.config import Confirm, Cv, Ensemble, Resources, Search, TrialConfig
from tune_digits.data.formats import Data
from tune_digits.errors import ConfigError
from tune_digits.space import Space, flatten, make_space
from tune_digits.study_parts import StudyParts
from tune_digits.validate import did_you_mean, validate

# keys of a trial that name files or folders
PATHS = ("model.init_from", "model.weights", "loss.teacher")


@dataclass(frozen=True, slots=True)
class Study:
    """A study file, resolved and checked. `raw` writes back the file from which the same study loads."""

    name: str
    data: Data
    cv: Cv
    search: Search
    confirm: Confirm
    ensemble: Ensemble
    resources: Resources
    space: Space
    raw: dict[str, Any]

    @property
    def epochs(self) -> int:
        """Epochs of a trial that is not stopped; one number for all, since ASHA compares trials at equal epochs."""
        return int(self.space.fixed("train.epochs"))

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.raw, sort_keys=False, default_flow_style=None, width=110)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a key given twice is an error and not silently the last."""


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key}' stands twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return {loader.construct_object(k, True): loader.construct_object(v, True) for k, v in node.value}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def parse_yaml(text: str, file: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{file}:{at} {getattr(error, 'problem', None) or error}") from None


def space_folders() -> list[Path]:
    """Where a space's bare name is looked for: here, in the checkout, and in the installed package."""
    package = Path(__file__).resolve().parent
    return [Path("search_spaces"), package.parent / "search_spaces", package / "search_spaces"]


def find_space(name: str) -> Path:
    """The study file that `name` means: a path, or a name (with or without .yaml) in `search_spaces/`."""
    spellings = [name] if name.endswith((".yaml", ".yml")) else [name, f"{name}.yaml"]
    candidates = [Path(s) for s in spellings] + [folder / s for folder in space_folders() for s in spellings]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted({p.name for folder in space_folders() if folder.is_dir() for p in folder.glob("*.yaml")})
    hint = did_you_mean(Path(name).stem, [Path(k).stem for k in known])
    raise ConfigError(f"no search space '{name}'{hint} Give a path, or one of: {', '.join(known)}")


def load_study(path: Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read, resolve and check a study file. `overrides`: dotted key -> value, over what the file says.

    An override's key is that of a study part (`search.trials`) or of the trial (`optimizer.lr`, which reaches into
    every branch of a one_of). Raises ConfigError.
    """
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if raw is None:
        raw = {}
    return make_study(raw, str(path), path.stem, overrides or {})


def make_study(raw: Any, file: str, name: str, overrides: Mapping[str, Any]) -> Study:
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: must be a mapping with the key 'trial', got {type(raw).__name__}")
    allowed = ["name", *StudyParts.model_fields, "trial", "baseline", "start"]
    for key in raw:
        if key not in allowed:
            hint = did_you_mean(key, allowed)
            raise ConfigError(f"{file}: {key}: unknown key{hint} Allowed here: {', '.join(allowed)}")
    raw = json.loads(json.dumps(raw))  # a copy of our own, and proof that nothing but plain values is in it
    for key, value in overrides.items():
        _override(raw, key, value)
    _resolve_paths(raw)
    parts = {k: v for k, v in raw.items() if k in StudyParts.model_fields}
    study_parts = validate(StudyParts, parts, file)
    space = make_space(raw.get("trial", {}), raw.get("baseline", {}), raw.get("start", []), file)
    name = str(raw.get("name", name))
    resolved = {
        "name": name,
        **study_parts.model_dump(mode="json"),
        "trial": raw.get("trial", {}),
        "baseline": raw.get("baseline", {}),
        "start": raw.get("start", []),
    }
    study = Study(
        name, **{k: getattr(study_parts, k) for k in StudyParts.model_fields}, space=space, raw=resolved
    )
    if study.search.grace_period > study.epochs:
        raise ConfigError(
            f"{file}: search.grace_period is {study.search.grace_period}, more than train.epochs {study.epochs}"
        )
    return study


def _resolve_paths(node: Any, place: str = "") -> None:
    """Make the trial's paths absolute in place: trials run in folders of their own, and so may --resume."""
    if isinstance(node, list):
        for item in node:
            _resolve_paths(item, place)
    elif isinstance(node, dict):
        for key, value in node.items():
            # one_of and choice add no level to a key; points of the space may be flat
            at = place if key in ("trial", "baseline", "start", "one_of") else f"{place}.{key}".lstrip(".")
            if at in PATHS and isinstance(value, str):
                node[key] = str(Path(value).expanduser().resolve())
            elif at in PATHS and isinstance(value, dict) and isinstance(value.get("choice"), list):
                value["choice"] = [
                    str(Path(v).expanduser().resolve()) if isinstance(v, str) else v for v in value["choice"]
                ]
            else:
                _resolve_paths(value, at)


def _override(raw: dict[str, Any], key: str, value: Any) -> None:
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
    # a point that names what is now fixed would be refused as "not searched"
    dotted = ".".join(parts)
    for point in [raw.get("baseline"), *(raw.get("start") or [])]:
        if isinstance(point, dict):
            flat = {k: v for k, v in flatten(point).items() if k != dotted and not k.startswith(f"{dotted}.")}
            point.clear()
            point.update(flat)


def _set(tree: Any, parts: list[str], value: Any, key: str) -> None:
    head, *rest = parts
    if isinstance(tree, dict) and set(tree) == {"one_of"} and isinstance(tree["one_of"], list):
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
