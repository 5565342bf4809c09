"""The catalogue has every name and every knob, each with one line, and a source where there is one to give."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from tune_digits.cli import tricks
from tune_digits.cli.catalogue import catalogue, knobs_of, summary
from tune_digits.config import Ensemble, Part, Search, TrialConfig, variants
from tune_digits.config.part import cite
from tune_digits.errors import ConfigError
from tune_digits.learn.losses import LOSSES
from tune_digits.learn.models import MODELS
from tune_digits.learn.optim import OPTIMIZERS
from tune_digits.learn.schedule import SCHEDULES

SECTIONS = {section.key: section for section in catalogue()}
UNIONS = {
    key: variants(field.annotation) for key, field in TrialConfig.model_fields.items() if field.discriminator
}
TABLES = {"model": MODELS, "loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
# a paper by number, an author or a competition with a year, or a class of PyTorch
REFERENCE = re.compile(r"arXiv:\d{4}\.\d{4,5}|[A-Z]\w+.* (19|20)\d\d\b|PyTorch's [A-Z]\w+")


def entries():
    return [(key, entry) for key, section in SECTIONS.items() for entry in section.entries]


def all_knobs(section):
    return [*section.knobs, *(k for e in section.entries for k in e.knobs)]


def run(capsys, *args):
    assert tricks.main(list(args)) == 0
    return capsys.readouterr().out


def test_every_part_every_variant_and_every_function_has_its_place():
    assert list(SECTIONS) == [*TrialConfig.model_fields, "search", "ensemble"]
    assert set(UNIONS) == set(TABLES)
    for key, models in UNIONS.items():
        names = [entry.name for entry in SECTIONS[key].entries]
        assert names == list(models)
        assert sorted(names) == sorted(TABLES[key])


def test_every_field_of_every_part_is_a_knob_of_it():
    for key, field in TrialConfig.model_fields.items():
        if key not in UNIONS:
            assert {k.name for k in SECTIONS[key].knobs} == set(type(field.default).model_fields)
    assert {k.name for k in SECTIONS["search"].knobs} == set(Search.model_fields)
    assert {k.name for k in SECTIONS["ensemble"].knobs} == set(Ensemble.model_fields)
    for key, models in UNIONS.items():
        shared = {k.name for k in SECTIONS[key].knobs}
        for name, cls in models.items():
            (entry,) = [e for e in SECTIONS[key].entries if e.name == name]
            assert {k.name for k in entry.knobs} | shared == set(cls.model_fields) - (
                {"name"} - {k.name for k in entry.knobs}
            )


@pytest.mark.parametrize("key", SECTIONS)
def test_every_section_that_is_one_thing_says_what(key):
    what = SECTIONS[key].what
    assert (what == "") == (key in UNIONS)
    assert what == "" or (len(what) > 20 and what.endswith(".") and not what.endswith(".."))


@pytest.mark.parametrize(("key", "entry"), entries(), ids=lambda x: getattr(x, "name", x))
def test_every_name_has_one_line_and_says_where_it_comes_from(key, entry):
    cls = UNIONS[key][entry.name]
    assert entry.what == summary(cls) and len(entry.what) > 15
    assert "->" not in entry.what and not entry.what.endswith(".")
    # its own words, and a source that somebody has thought of: '' is an answer
    assert "source" in cls.__annotations__ or "source" in cls.__base__.__annotations__
    assert entry.source == cls.source
    assert entry.source == "" or REFERENCE.search(entry.source)


def test_sources_of_names_and_knobs_are_shown():
    assert {e.name: e.source for _, e in entries()}["focal"] == "Lin et al. 2017, arXiv:1708.02002"
    (cutout,) = [k for k in SECTIONS["augment"].knobs if k.name == "cutout"]
    assert cutout.source == "arXiv:1708.04552"
    assert cutout.text() == f"{cutout.what} (arXiv:1708.04552)"
    (strength,) = [k for k in SECTIONS["augment"].knobs if k.name == "strength"]
    assert strength.source == "" and strength.text() == strength.what


@pytest.mark.parametrize("key", SECTIONS)
def test_every_knob_says_what_it_may_be_and_what_it_means(key):
    for knob in all_knobs(SECTIONS[key]):
        assert knob.allowed not in ("", "any"), f"{key}.{knob.name} has no range"
        assert knob.what, f"{key}.{knob.name} has no description"
        assert knob.default


@pytest.mark.parametrize("key", SECTIONS)
def test_a_reference_stands_in_the_source_and_not_in_the_text(key):
    for knob in all_knobs(SECTIONS[key]):
        assert "arXiv" not in knob.what and "et al" not in knob.what
        assert knob.source == "" or REFERENCE.search(knob.source)
    assert not any("arXiv" in entry.what for entry in SECTIONS[key].entries)


def test_a_knob_that_differs_in_one_variant_stands_there():
    (adamw,) = [e for e in SECTIONS["optimizer"].entries if e.name == "adamw"]
    assert {k.name: k.default for k in adamw.knobs}["weight_decay"] == "0.01"
    assert "label_smoothing" not in {k.name for e in SECTIONS["loss"].entries for k in e.knobs}
    # most networks share it, those of other libraries may start it at 0 as well
    (shared,) = [k for k in SECTIONS["model"].knobs if k.name == "bn_gamma_init"]
    own = {e.name: [k for k in e.knobs if k.name == "bn_gamma_init"] for e in SECTIONS["model"].entries}
    assert own["lean_cnn"] == []
    assert "zero_last" in own["timm:NAME"][0].allowed and "zero_last" not in shared.allowed


def test_ranges_and_defaults_are_those_of_the_model():
    class Inner(Part):
        a: float | None = Field(None, ge=0, le=1)
        b: float | None = Field(0.5, ge=0, le=1)

    class Some(Part):
        name: Literal["some"] = "some"
        closed: float = Field(0.5, ge=0, le=1, description="d")
        half: Annotated[float, Field(ge=0, lt=1)] = 0.0
        positive: float = Field(1e-8, gt=0)
        under: float = Field(-1, lt=0)
        free: float = 3.0
        whole: int = Field(ge=1)
        either: Literal["a", "b"] = "a"
        flag: bool = False
        text: str | None = None
        many: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 2.0)
        inner: Inner = Inner()
        paper: float = Field(0.0, description="e", json_schema_extra=cite("arXiv:1234.56789"))

    knobs = knobs_of(Some)
    assert {k.name: (k.allowed, k.default) for k in knobs.values()} == {
        "closed": ("[0, 1]", "0.5"),
        "half": ("[0, 1)", "0.0"),
        "positive": ("> 0", "1e-08"),
        "under": ("< 0", "-1"),
        "free": ("number", "3.0"),
        "whole": ("int >= 1", "required"),
        "either": ("a | b", "a"),
        "flag": ("true | false", "false"),
        "text": ("text | null", "null"),
        "many": ("list of > 0", "[1.0, 2.0]"),
        "inner": ("mapping of [0, 1] | null", '{"b": 0.5}'),
        "paper": ("number", "0.0"),
    }
    assert (knobs["closed"].what, knobs["closed"].source) == ("d", "")
    assert (knobs["paper"].what, knobs["paper"].source) == ("e", "arXiv:1234.56789")


def test_a_summary_is_the_first_paragraph_of_a_class_of_its_own():
    class Base(Part):
        """Somebody else's words."""

    class Own(Base):
        """One thing,
        on two lines.

        And more.
        """

        source: ClassVar[str] = "arXiv:1234.56789"

    class Silent(Base):
        pass

    assert summary(Own) == "One thing, on two lines"
    assert summary(Silent) == ""


def test_piped_it_fits_100_columns_without_blanks_or_escapes(capsys):
    out = run(capsys)
    assert max(map(len, out.splitlines())) <= 100
    assert all(line == line.rstrip() for line in out.splitlines())
    assert "\x1b" not in out and "…" not in out
    for _, entry in entries():
        assert f"\n  {entry.name}  " in out


def test_one_part_one_name_or_one_knob_is_shown(capsys):
    out = run(capsys, "focal")
    assert "Lin et al." in out and "label_smoothing" in out and "symmetric" not in out
    assert run(capsys, "Losses") == run(capsys, "loss") == run(capsys, "trial.loss")
    out = run(capsys, "gamma")
    assert "trial.augment" in out and "trial.loss" in out and "rotate" not in out
    assert "trial.augment" not in run(capsys, "loss.gamma")


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no trick 'loss\.gama'; did you mean 'loss\.gamma'\?"):
        tricks.select(list(SECTIONS.values()), "loss.gama")


def test_markdown_has_a_row_for_every_knob(capsys):
    out = run(capsys, "--markdown")
    rows = [line for line in out.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(all_knobs(section)) for section in SECTIONS.values())
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    for _, entry in entries():
        assert f"### `{entry.name}`\n" in out


def test_the_list_needs_no_torch():
    code = (
        "import sys, tune_digits.cli.tricks as t; t.main(['focal']);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'optuna', 'ray', 'tune_digits.learn')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False, capture_output=True)
    assert done.returncode == 0 and b"Lin et al. 2017" in done.stdout


def test_help_needs_nothing_heavy():
    code = (
        "import sys, tune_digits.cli.tricks as t; t.make_parser().format_help();"
        "sys.exit(any(m in sys.modules for m in ('torch', 'pydantic', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
