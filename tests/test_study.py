"""The study file: how YAML is read, what flags change, what is written back, and whom a mistake is blamed on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tune_digits.config import TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.study import find_space, load_study, make_study, parse_yaml

SPACES = Path(__file__).parent.parent / "search_spaces"
EXAMPLE = """
trial:
  augment: {rotate: {uniform: [0, 30]}}
  optimizer:
    one_of:
      - {name: sgd, lr: {loguniform: [0.01, 1.0]}, momentum: {uniform: [0.8, 0.99]}, nesterov: true}
      - {name: rmsprop, lr: {loguniform: [1e-4, 1e-2]}, alpha: 0.9}
baseline: {optimizer.name: rmsprop, augment.rotate: 5}
start: [{optimizer: {name: sgd, lr: 0.3}}]
"""


def study_of(text: str, overrides=None, origins=None):
    return make_study(parse_yaml(text, "my.yaml"), "my.yaml", "my", overrides, origins)


def refusal(text: str, overrides=None, origins=None) -> str:
    with pytest.raises(ConfigError) as error:
        study_of(text, overrides, origins)
    return str(error.value)


# ── YAML ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 0.0001), ("-2E+3", -2000.0), (".5e1", 5.0), ("1.e2", 100.0), ("1.5e3", 1500.0), ("7", 7), ("0.1", 0.1)],
)  # fmt: skip
def test_numbers_are_read_as_yaml_1_2_has_them(text: str, value: float) -> None:
    read = parse_yaml(f"a: {text}", "a.yaml")["a"]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("text", ["'1e-4'", "e4", "1e", "1e4x", "torchvision:resnet18", "1e-4.5"])
def test_what_is_no_number_stays_a_text(text: str) -> None:
    assert parse_yaml(f"a: {text}", "a.yaml")["a"] == text.strip("'")


def test_a_number_with_an_exponent_is_one_everywhere_in_a_study() -> None:
    study = study_of(
        "trial: {optimizer: {name: sgd, lr: 1e-2, momentum: {uniform: [1e-1, 9e-1]}, "
        "weight_decay: {choice: [1e-5, 1e-3]}}}\n"
        "baseline: {optimizer.momentum: 5e-1, optimizer.weight_decay: 0.00001}"
    )
    assert study.space.parameters()["optimizer.momentum"].ends() == (0.1, 0.9)
    assert study.space.point(study.space.baseline)[0] == {
        "optimizer.momentum": 0.5,
        "optimizer.weight_decay": 1e-5,
    }


def test_a_text_that_looks_like_a_number_is_written_back_as_a_text() -> None:
    study = study_of("{name: '1e-4', cv: {fold_column: '1e5'}}")
    again = study_of(study.to_yaml())
    assert again.raw == study.raw
    assert (again.name, again.cv.fold_column) == ("1e-4", "1e5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", ["my.yaml", "line 2", "'a' stands twice"]),
        ("trial: {augment: {rotate: 1, rotate: 2}}", ["'rotate' stands twice"]),
        ("trial: [", ["my.yaml", "line 1"]),
        ("{[1, 2]: 3}", ["my.yaml", "a key must be a text or a number"]),
        ("a: &a [*a]", ["my.yaml"]),
        ("trial: &t {model: *t}", ["my.yaml", "line 1", "recursive"]),
        ("- 1", ["must be a mapping", "list"]),
        ("trial: {train: {epochs: 2020-01-01}}", ["my.yaml", "only texts, numbers"]),
        ("trail: {}", ["my.yaml: trail", "did you mean 'trial'"]),
        ("start: {augment.rotate: 1}", ["my.yaml: start: must be a list of points"]),
        ("baseline: [1]", ["my.yaml: baseline: must be a mapping"]),
    ],
)
def test_what_is_no_study_is_refused_in_words(text: str, words: list[str]) -> None:
    message = refusal(text)
    assert all(word in message for word in words)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_study(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read"):
        load_study(tmp_path / "latin.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert load_study(tmp_path / "empty.yaml").name == "empty"


# ── what flags change ────────────────────────────────────────────────────────────────────────────────


def test_a_flag_wins_over_the_file() -> None:
    text = "{search: {trials: 7, fold: 2}, trial: {train: {epochs: 20}}}"
    study = study_of(text, {"search.trials": 3, "train.epochs": 5})
    assert (study.search.trials, study.search.fold, study.epochs) == (3, 2, 5)
    assert study.raw["search"]["trials"] == 3 and study.raw["trial"]["train"]["epochs"] == 5
    assert study_of(text).search.trials == 7


def test_set_reaches_into_every_branch_and_makes_a_constant() -> None:
    study = study_of(EXAMPLE, {"trial.optimizer.lr": 0.02, "augment.rotate": 0})
    assert not {"optimizer.lr", "augment.rotate"} & set(study.space.searched())
    for name in ("sgd", "rmsprop"):
        assert study.space.point({"optimizer.name": name})[1]["optimizer"]["lr"] == 0.02
    # what the points said of these keys is gone, the rest is not
    assert study.space.baseline == {"optimizer.name": "rmsprop"}
    assert study.space.start == ({"optimizer.name": "sgd"},)


def test_set_of_a_name_keeps_its_branches() -> None:
    study = study_of(EXAMPLE, {"optimizer.name": "sgd"})
    assert {config.optimizer.name for config in study.space.ends()} == {"sgd"}
    assert study.space.baseline == {"augment.rotate": 5}
    assert study.space.start == ({"optimizer.lr": 0.3},)
    assert study_of(EXAMPLE, {"optimizer.name": "rmsprop"}).space.start == ({},)
    message = refusal(EXAMPLE, {"optimizer.name": "sdg"})
    assert (
        message
        == "--set optimizer.name: no branch is named 'sdg'; did you mean 'sgd'? Branches: sgd, rmsprop"
    )


def test_set_of_a_whole_part_replaces_it() -> None:
    study = study_of(EXAMPLE, {"optimizer": {"name": "adamw", "lr": {"uniform": [0.001, 0.01]}}})
    assert set(study.space.searched()) == {"augment.rotate", "optimizer.lr"}
    assert study.space.baseline == {"augment.rotate": 5} and study.space.start == ({},)


def test_set_of_a_key_that_cannot_be_set_is_refused() -> None:
    assert "--set optimiser.lr: unknown key; did you mean 'optimizer'?" in refusal(
        EXAMPLE, {"optimiser.lr": 1}
    )
    assert "--set trial: unknown key" in refusal(EXAMPLE, {"trial": 1})
    assert "nothing below 'lr'" in refusal("trial: {optimizer: {one_of: [1]}}", {"optimizer.lr": 1})


# ── whom a mistake is blamed on ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "overrides", "origins", "begins"),
    [
        ("", {"search.trials": 0}, {"search.trials": "--trials"}, "--trials 0: input should be greater"),
        ("", {"search.trials": 0}, {}, "--set search.trials=0: input should be greater"),
        ("", {"optimizer.lr": "abc"}, {}, "--set optimizer.lr=abc: input should be a valid number"),
        ("", {"trial.optimizer.lr": "abc"}, {}, "--set trial.optimizer.lr=abc: input should be a valid"),
        ("", {"optimizer.lrr": 1}, {}, "--set optimizer.lrr=1: unknown key; did you mean 'lr'?"),
        ("", {"optimizer.name": "sgf"}, {}, "--set optimizer.name=sgf: unknown value 'sgf'; did you mean 'sgd'?"),
        ("", {"cv.score": "acc"}, {}, "--set cv.score=acc: unknown value 'acc'"),
        ("", {"augment.rotate": {"unifrom": [0, 1]}}, {}, "--set augment.rotate: unknown domain 'unifrom'"),
        ("", {"augment.rotate": {"uniform": [1, 0]}}, {}, "--set augment.rotate: uniform needs low < high"),
        ("", {"augment.rotate": {"uniform": [0, 999]}}, {}, "--set augment.rotate: input should be less"),
        ("", {"optimizer": {"name": "sgd", "lr": -1}}, {}, "--set optimizer: lr: input should be greater"),
        ("", {"model.dropout": None}, {}, "--set model.dropout=null: input should be a valid number"),
        ("", {"train.epochs": 2, "search.grace_period": 4}, {"train.epochs": "--epochs"}, "--epochs 2: search.grace"),
        ("{search: {grace_period: 4}, trial: {train: {epochs: 2}}}", {"search.fold": 1}, {}, "my.yaml: search.grace"),
        ("", {"search.grace_period": 9}, {}, "--set search.grace_period=9: search.grace_period is 9, more than"),
        # what a flag has not set is the file's
        ("search: {trials: 0}", {"search.fold": 1}, {}, "my.yaml: search.trials: input should be greater"),
        ("trial: {optimizer: {lr: -1}}", {"optimizer.momentum": 1}, {}, "my.yaml: trial.optimizer.lr: input"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_flag_names_the_flag(text, overrides, origins, begins) -> None:
    assert refusal(text or "{}", overrides, origins).startswith(begins)


@pytest.mark.parametrize(
    ("overrides", "origins", "ends"),
    [
        ({"search.fold": 7}, {"search.fold": "--fold"}, "the folds are 0..4 (with --fold 7)"),
        ({"optimizer": {"name": "sgd"}, "optimizer.momentum": 0}, {}, "(with --set optimizer.momentum=0)"),
        (
            {"mix.mixup_alpha": 1, "mix.off_last": 2, "train.epochs": 2, "augment.rotate": 1},
            {"train.epochs": "--epochs"},
            "to mix in (with --set mix.off_last=2, --epochs 2)",
        ),
    ],
)
def test_a_mistake_of_several_keys_names_the_flags_among_them(overrides, origins, ends) -> None:
    assert refusal("{}", overrides, origins).endswith(ends)


# ── what is written back ─────────────────────────────────────────────────────────────────────────────


def test_a_study_writes_the_file_from_which_it_loads_again(tmp_path: Path) -> None:
    study = study_of(EXAMPLE, {"cv.groups": {"rows_per_group": 4}, "optimizer.momentum": 0.9})
    path = tmp_path / "study.yaml"
    path.write_text(study.to_yaml())
    again = load_study(path)
    assert again == study
    assert again.raw == study.raw
    assert again.to_yaml() == study.to_yaml()
    assert again.name == "my"
    assert again.cv.groups.rows_per_group == 4
    assert again.space.baseline == {"optimizer.name": "rmsprop", "augment.rotate": 5}


def test_the_raw_tree_that_is_given_stays_as_it_is() -> None:
    raw = parse_yaml(EXAMPLE, "a.yaml")
    make_study(raw, "a.yaml", "a", {"optimizer.lr": 0.02, "search.trials": 3})
    assert raw == parse_yaml(EXAMPLE, "a.yaml")


def test_paths_are_absolute_wherever_they_stand(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("w.pt", "t.npz"):
        (tmp_path / name).touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "home/t.npz").touch()
    here = str(tmp_path.resolve())
    study = study_of("""
        data: {path: images, root: sets}
        trial:
          model: {name: lean_cnn, weights: {choice: [null, w.pt]}}
          loss:
            one_of:
              - {name: focal, teacher: t.npz, teacher_weight: 0.5}
              - {name: cross_entropy, teacher: {choice: [t.npz, ~/t.npz]}, teacher_weight: 0.5}
        baseline: {model.weights: w.pt}
        start: [{model: {weights: w.pt}}, {loss.name: cross_entropy, loss.teacher: t.npz}]
    """)
    assert (study.data.path, study.data.root) == (f"{here}/images", f"{here}/sets")
    parameters = study.space.parameters()
    assert parameters["model.weights"].values == (None, f"{here}/w.pt")
    assert parameters["loss.cross_entropy.teacher"].values == (f"{here}/t.npz", f"{here}/home/t.npz")
    assert study.space.point({"loss.name": "focal"})[1]["loss"]["teacher"] == f"{here}/t.npz"
    assert study.space.baseline == {"model.weights": f"{here}/w.pt"}
    assert study.space.start == (
        {"model.weights": f"{here}/w.pt"},
        {"loss.name": "cross_entropy", "loss.teacher": f"{here}/t.npz"},
    )
    # the run is taken up again from another folder
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert study_of(study.to_yaml()) == study


def test_a_set_of_torchvision_is_no_path() -> None:
    assert study_of("data: {path: 'torchvision:KMNIST', root: .}").data.path == "torchvision:KMNIST"


# ── where studies are found ──────────────────────────────────────────────────────────────────────────


def test_a_space_is_found_by_path_or_by_name(tmp_path: Path, monkeypatch) -> None:
    assert find_space(str(SPACES / "aug.yaml")) == SPACES / "aug.yaml"
    assert find_space("aug").resolve() == find_space("aug.yaml").resolve() == SPACES / "aug.yaml"
    (tmp_path / "aug.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find_space("aug") == Path("aug.yaml")  # what lies here comes first
    with pytest.raises(ConfigError, match=r"no search space 'agu'; did you mean 'aug'"):
        find_space("agu")
    recipe = SPACES / "recipes/kannada_3rd.yaml"
    assert (
        find_space("recipes/kannada_3rd").resolve()
        == find_space("recipes/kannada_3rd.yaml").resolve()
        == recipe
    )
    for short in ("kannada_3rd", "kannada_3rd.yaml"):
        with pytest.raises(ConfigError, match=r"did you mean 'recipes/kannada_3rd'\?"):
            find_space(short)


@pytest.mark.parametrize("file", sorted(SPACES.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_shipped_space_loads_and_says_what_it_asks(file: Path) -> None:
    study = load_study(file)
    assert study.name == file.stem
    assert study.space.parameters()
    assert file.read_text().startswith("# "), f"{file.name} does not say what question it asks"
    TrialConfig.model_validate(study.space.point(study.space.baseline)[1])
    assert study_of(study.to_yaml()).space == study.space


@pytest.mark.parametrize("file", sorted(SPACES.glob("recipes/*.yaml")), ids=lambda f: f.stem)
def test_every_recipe_loads_and_says_how_to_start_it_and_what_differs(file: Path) -> None:
    study = load_study(file)
    assert study.name == file.stem
    # nothing is searched but which network, and everything is trained once and to the end
    assert set(study.space.searched()) <= {"model.name"}
    assert (study.search.sampler, study.search.trials) == ("grid", study.space.size)
    assert study.search.grace_period == study.epochs
    again = study_of(study.to_yaml())
    assert again.space == study.space and again.raw == study.raw
    head = file.read_text().partition("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"#     python scripts/search.py --space recipes/{file.stem} --data FOLDER\n" in head
    assert "#     python scripts/ensemble.py\n" in head
    assert "# What is not the same: " in head


def test_reading_a_study_imports_neither_optuna_nor_torch() -> None:
    code = (
        f"import sys; from pathlib import Path; from tune_digits.study import load_study;"
        f"load_study(Path({str(SPACES / 'tricks.yaml')!r}));"
        "sys.exit(any(m in sys.modules for m in ('optuna', 'torch', 'pandas', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ── a grid ───────────────────────────────────────────────────────────────────────────────────────────

GRID = "{search: {sampler: grid}, trial: {augment: {rotate: {choice: [0, 5, 10]}, shift: {quniform: [0, 0.2, 0.1]}}}}"


def test_a_grid_has_as_many_trials_as_points_unless_somebody_says_how_many() -> None:
    study = study_of(GRID)
    assert study.search.trials == 9
    assert study.notes == ("grid: 9 points, each trained once",)
    assert study_of(study.to_yaml()).search.trials == 9
    assert (
        study_of(GRID.replace("grid,", "grid, trials: 4,").replace("grid}", "grid, trials: 4}")).search.trials
        == 4
    )
    fewer = study_of(GRID, {"search.trials": 4})
    assert (fewer.search.trials, fewer.notes) == (4, ("grid: the first 4 of 9 points",))
    assert study_of("{search: {sampler: tpe}}").notes == ()


def test_a_grid_over_a_continuous_key_is_refused_and_the_keys_are_named() -> None:
    endless = "{trial: {optimizer: {name: adamw, lr: {loguniform: [1e-3, 1e-2]}}, augment: {rotate: {choice: [0, 1]}}}}"
    message = refusal(endless, {"search.sampler": "grid"})
    assert message.startswith("--set search.sampler=grid: grid goes through every point")
    assert "optimizer.lr (loguniform 0.001 .. 0.01)" in message and "augment.rotate" not in message
    assert refusal(endless.replace("{trial", "{search: {sampler: grid}, trial")).startswith(
        "my.yaml: search.sampler: "
    )


def test_a_grid_too_large_to_be_gone_through_needs_a_number_of_trials() -> None:
    large = "{search: {sampler: grid}, trial: {train: {batch_size: {randint: [2, 60000]}}}}"
    assert "59,998 points; say with --trials" in refusal(large)
    study = study_of(large, {"search.trials": 7})
    assert study.search.trials == 7 and study.notes == ("grid: the first 7 of 59,998 points",)
