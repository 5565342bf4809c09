"""The `data` part of a study: the readers' options as one union on `format`, and how the format is found."""

import subprocess
import sys
from pathlib import Path

import pytest

from tune_digits.config import Cv
from tune_digits.data.formats import Auto, detect, resolve
from tune_digits.data.load import load_task
from tune_digits.data.options import DataOptions
from tune_digits.data.readers import READERS, bengali, idx, kaggle_csv
from tune_digits.errors import ConfigError
from tune_digits.study import load_study, make_study

OWN = {(name, option) for name, reader in READERS.items() for option in reader.Options.own()}


def data_of(**data):
    return make_study({"data": data}, "my.yaml", "my", {}).data


# ── what every reader's options keep to ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", READERS)
def test_options_are_named_as_in_the_table_and_say_what_files_look_like(name):
    options = READERS[name].Options
    assert options.model_fields["format"].default == name
    assert options.__doc__ and options.model_fields["path"].description
    for option in options.own():
        assert not options.model_fields[option].is_required()
        assert options.model_fields[option].description
    assert set(options.own()) >= options.PLACES


def test_an_option_of_one_name_is_the_same_in_every_format():
    for name, option in OWN:
        for other in READERS.values():
            if option in other.Options.own():
                assert repr(other.Options.model_fields[option]) == repr(
                    READERS[name].Options.model_fields[option]
                )


def test_auto_has_the_options_of_all():
    assert set(Auto.own()) == {option for _, option in OWN}
    for name, option in OWN:
        assert repr(Auto.model_fields[option]) == repr(READERS[name].Options.model_fields[option])
    assert {"root"} == Auto.PLACES


def test_every_format_has_its_row_in_the_readme():
    lines = (Path(__file__).parents[2] / "README.md").read_text().splitlines()
    rows = [
        line.rstrip().removesuffix("|").rpartition("|")[2].strip() for line in lines if line.startswith("|")
    ]
    for name in READERS:
        assert rows.count(f"`{name}`") == 1


# ── in the study file ────────────────────────────────────────────────────────────────────────────────


def test_without_a_format_it_is_auto_and_takes_any_option():
    data = data_of(path="x", size=32, crop=True, transpose=True, root="y", channels=1, subset=20)
    assert isinstance(data, Auto) and data.size == (32, 32) and data.crop and data.subset == 20
    assert data_of() == Auto()
    assert data_of(format="auto", path="x") == Auto(path=str(Path("x").resolve()))


@pytest.mark.parametrize("name", READERS)
def test_a_named_format_has_its_own_options_only(name):
    path = {} if name == "digits" else {"path": "x"}
    assert type(data_of(format=name, **path)) is READERS[name].Options
    for _, option in OWN - {(name, o) for o in READERS[name].Options.own()}:
        if option not in READERS[name].Options.own():
            with pytest.raises(
                ConfigError, match=rf"my.yaml: data.{option}: unknown key.*extra, format, path"
            ):
                data_of(format=name, **path, **{option: 1})


@pytest.mark.parametrize("name", [n for n in READERS if n != "digits"])
def test_a_named_format_needs_a_path(name):
    with pytest.raises(ConfigError, match=r"^my.yaml: data.path: missing: \S"):
        data_of(format=name)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"format": "kagle_csv"},
            r"data.format: unknown value 'kagle_csv'; did you mean 'kaggle_csv'\?.*auto, dig",
        ),
        (
            {"format": "digits", "path": "x"},
            "data.path: the format digits is scikit-learn's bundled set, and takes no",
        ),
        ({"sise": 3}, "data.sise: unknown key; did you mean 'size'"),
        ({"size": 3}, "data.size: .*greater than or equal to 4"),
        ({"format": "bengali", "path": "x", "size": [8]}, "data.size.1: "),
        ({"format": "bengali", "path": "x", "crop": True}, "my.yaml: data: crop cuts images.*give size too"),
        ({"channels": 2}, "data.channels: unknown value '2'"),
        ({"subset": 3}, "data.subset: .*greater than or equal to 20"),
        ({"extra": [{"path": ""}]}, "data.extra.0.path: "),
        (
            {"extra": [{"path": "a", "role": "test"}]},
            "data.extra.0.role: unknown value 'test'.*holdout, train",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(data, words):
    with pytest.raises(ConfigError, match=words):
        data_of(**data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"path": "x", "size": 8, "extra": "more.csv", "subset": 50},
        {"path": "torchvision:EMNIST/letters", "root": "/data", "transpose": True},
        {"format": "kaggle_csv", "path": "x", "extra": []},
        {"format": "bengali", "path": "x", "size": [8, 6], "crop": True},
        {"format": "digits"},
    ],
)
def test_a_study_writes_the_data_part_from_which_it_loads_again(data, tmp_path):
    study = make_study({"data": data}, "my.yaml", "my", {})
    (tmp_path / "study.yaml").write_text(study.to_yaml())
    assert load_study(tmp_path / "study.yaml").data == study.data


# ── finding the format ───────────────────────────────────────────────────────────────────────────────


def test_options_that_the_found_format_lacks_are_refused(kannada, refuses):
    refuses(
        lambda: load_task(Auto(path=str(kannada), crop=True, size=8), Cv()),
        "data.size: is no option of format kaggle_csv, which",
        "was found to be; its options: path, format, extra, subset; size belongs to: bengali, image_folder, ",
    )
    refuses(
        lambda: load_task(Auto(channels=1), Cv()),
        "data.channels: is no option of format digits, which no data.path",
    )
    refuses(lambda: resolve(Auto(path=str(kannada), root="x")), "data.root", "belongs to: torchvision")
    with pytest.raises(ConfigError, match=r"^data: crop cuts images to different sizes"):
        (kannada / "train_image_data_0.parquet").touch()
        resolve(Auto(path=str(kannada), crop=True))


def test_options_at_their_defaults_were_not_given(kannada):
    """As in a study file that a run has written, where all of them stand."""
    found = resolve(
        Auto(path=str(kannada), size=None, channels="auto", crop=False, transpose=False, root=None)
    )
    assert found == kaggle_csv.Options(path=str(kannada))


def test_what_is_found_keeps_what_was_given(tmp_path):
    (tmp_path / "train_image_data_0.parquet").touch()
    given = {"size": 8, "channels": 3, "crop": True, "extra": "more", "subset": 30}
    assert resolve(Auto(path=str(tmp_path), **given)) == bengali.Options(path=str(tmp_path), **given)
    named = kaggle_csv.Options(path="nowhere")
    assert resolve(named) is named


def test_what_further_images_are_read_with():
    assert idx.Options(path="x", transpose=True, subset=20, extra="y").reading() == {"transpose": True}
    assert Auto(path="torchvision:KMNIST", root="/data").reading() == {}
    assert Auto(path="torchvision:KMNIST", root="/data").given() == {"root": "/data"}
    assert bengali.Options(path="x", size=8, crop=True).reading() == {"size": (8, 8), "crop": True}


def test_a_tilde_is_the_home_folder(kannada, monkeypatch):
    monkeypatch.setenv("HOME", str(kannada.parent))
    assert detect("~/kannada") == "kaggle_csv"
    assert load_task(Auto(path="~/kannada"), Cv()).name == "kannada"


def test_what_is_of_no_format(tmp_path, refuses):
    (tmp_path / "notes.txt").write_text("hello")
    refuses(
        lambda: detect(tmp_path),
        f"Cannot tell how to read the folder {tmp_path}, which has: notes.txt. Known formats are: ",
        *(f"{name}: {reader.Options.__doc__}" for name, reader in READERS.items()),
    )
    refuses(lambda: detect(tmp_path / "notes.txt"), "Cannot tell how to read the file", "notes.txt")
    refuses(lambda: detect(tmp_path / "nowhere"), "no file or folder", "nowhere")
    (tmp_path / "train.csv").write_text("id,kind\n1,2\n")
    for path in (tmp_path, tmp_path / "train.csv"):
        refuses(lambda path=path: detect(path), "train.csv has the columns id, kind (2 columns)")


# ── a format of one's own ────────────────────────────────────────────────────────────────────────────

TOY = """
from types import SimpleNamespace
from typing import Literal
import sys
import numpy as np
from pathlib import Path
from tune_digits.data.dataset import Labelled, Target, Task
from tune_digits.data.options import DataOptions
from tune_digits.data.readers import READERS

class Options(DataOptions):
    '''a file that ends with .toy'''
    format: Literal["toy"] = "toy"
    path: str
    dark: bool = False

def read(options, cache_dir):
    images = np.full((4, 1, 2, 2), 0 if options.dark else 255, np.uint8)
    return Task("toy", Labelled(images, np.array([[0], [1]] * 2), np.arange(4), (Target("label", ("a", "b")),)))

READERS["toy"] = SimpleNamespace(Options=Options, sniff=lambda path: path.suffix == ".toy", read=read,
                                 read_unlabelled=lambda path, shape, targets, options, cache_dir: (options.dark, path))

# the line in READERS stands before anything else is imported, as it does in the file
from tune_digits.config import Cv
from tune_digits.data.load import load_task, load_unlabelled
from tune_digits.study import load_study, make_study

folder = Path(sys.argv[1])
for text in ("path: a.toy, dark: true", "path: a.toy, dark: true, format: toy"):
    (folder / "my.yaml").write_text("data: {" + text + "}")
    study = load_study(folder / "my.yaml")
    assert load_task(study.data, Cv()).train.images.max() == 0
    assert make_study(study.raw, "again.yaml", "again", {}).data == study.data
    assert load_unlabelled("b.toy", (1, 2, 2), data=study.data) == (True, Path("b.toy"))
assert type(study.data) is Options
"""


def test_a_format_is_one_reader_and_its_line_in_the_table(tmp_path):
    """In a process of its own: the union of the options is made once, from READERS, as the modules are imported."""
    (tmp_path / "a.toy").touch()
    subprocess.run([sys.executable, "-c", TOY, str(tmp_path)], check=True, cwd=tmp_path, timeout=60)
    assert "toy" not in READERS and issubclass(Auto, DataOptions)
