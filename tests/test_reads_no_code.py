"""Nothing that is read from a run, a data set or a file of weights can run code: no pickle, no unsafe YAML."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tune_digits"
# what a call must say, where it can read objects
SAFE = {
    "np.load": ("allow_pickle", False),
    "np.lib.format.read_array": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
NEVER = {
    *(
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "cloudpickle.load",
        "cloudpickle.loads",
        "joblib.load",
    ),
    *("dill.load", "marshal.load", "marshal.loads", "shelve.open", "pd.read_pickle", "torch.jit.load"),
    *("torch.hub.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "eval", "exec", "os.system"),
}


def calls() -> Iterator[tuple[Path, str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path, ast.unparse(node.func), node


def test_what_can_read_objects_is_told_not_to() -> None:
    seen = set()
    for path, name, call in calls():
        if name in SAFE:
            key, value = SAFE[name]
            given = {
                k.arg: ast.literal_eval(k.value) for k in call.keywords if isinstance(k.value, ast.Constant)
            }
            assert given.get(key) is value, f"{path}, line {call.lineno}: {name} without {key}={value}"
            seen.add(name)
    assert seen == set(SAFE)  # else this test looks for names that nobody writes any more


def test_nothing_that_runs_what_it_reads_is_called() -> None:
    for path, name, call in calls():
        assert name not in NEVER, f"{path}, line {call.lineno}: {name}"
        if name == "yaml.load":
            assert path.name == "yaml_text.py" and ast.unparse(call.args[1]) == "_Loader"
        assert not any(k.arg == "shell" for k in call.keywords), f"{path}, line {call.lineno}: a shell"


def test_rays_snapshots_are_written_empty_and_not_read() -> None:
    text = (PACKAGE / "execute/ray_adapters.py").read_text()
    assert text.count("def __getstate__(self) -> dict[str, Any]:\n        return {}\n") == 3
    for path, name, call in calls():
        assert not name.endswith("Tuner.restore"), f"{path}, line {call.lineno}"


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system [touch x]", "!!python/name:os.system"])
def test_yaml_makes_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    from tune_digits.errors import ConfigError
    from tune_digits.yaml_text import parse_yaml

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        parse_yaml(text, "a.yaml")
    assert not list(tmp_path.iterdir())
