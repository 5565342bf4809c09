"""The documentation says what is so: its commands parse, its spaces load, and what it names exists."""

from __future__ import annotations

import argparse
import importlib
import re
import runpy
import shlex
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tune_digits.cli import ablate, blend, check, clean, ensemble, predict, report, search, tricks
from tune_digits.cli.main import COMMANDS
from tune_digits.config import Search, TrialConfig, variants
from tune_digits.data.formats import Auto
from tune_digits.space.domains import DOMAINS
from tune_digits.study import StudyParts, find_space, load_study, make_study, parse_yaml

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# the log speaks of the code as it was when an entry was written
NOW = [path for path in PAGES if path.name != "log.md"]
PARSERS = {
    "search": search.make_parser,
    "ensemble": ensemble.make_parser,
    "predict": predict.make_parser,
    "check": check.make_parser,
    "clean": clean.make_parser,
    "blend": blend.make_parser,
    "tricks": tricks.make_parser,
    "ablate": ablate.make_parser,
    "report": report.make_parser,
}
on_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
on_page_of_now = pytest.mark.parametrize("page", NOW, ids=lambda path: path.name)


# ── reading Markdown ─────────────────────────────────────────────────────────────────────────────────


def blocks(page: Path) -> Iterator[str]:
    """The indented code blocks, each without its indentation."""
    for paragraph in re.findall(r"(?:^|\n\n)((?: {4}.*(?:\n+|$))+)", page.read_text() + "\n"):
        yield textwrap.dedent(paragraph).strip("\n")


def spans(page: Path) -> list[str]:
    """What stands between backticks in the text, on one line each."""
    text = re.sub(r"(?m)^ {4}.*$", "", page.read_text())
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def test_blocks_and_spans_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# A\n\n    make x\n\n    make y\n\nSay `make\nz` or `b`.\n- `c`\n")
    assert list(blocks(page)) == ["make x\n\nmake y"]
    assert spans(page) == ["make z", "b", "c"]


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────


COMMAND = (
    r"(?:\.venv/bin/)?python |make |tune-digits |"
    r"(?:search|ablate|ensemble|predict|blend|report|check|clean|tricks)\.py"
)


def words_of(line: str) -> list[list[str]]:
    """The commands of a line, one or several with && between them, as words without the comment."""
    return [shlex.split(part) for part in re.sub(r"(^|\s+)#.*", "", line).split("&&")]


def commands(page: Path) -> list[list[str]]:
    """The commands of code blocks, and those between backticks that name their flags."""
    lines = [line for block in blocks(page) for line in block.splitlines() if re.match(COMMAND, line)]
    lines += [span for span in spans(page) if re.match(COMMAND, span)]
    return [words for line in lines for words in words_of(line)]


def test_the_documentation_has_commands() -> None:
    found = [" ".join(words) for words in commands(ROOT / "README.md")]
    assert "python scripts/search.py --space kannada.yaml --data FOLDER" in found
    assert "ensemble.py --top 2 --epochs 3 --no-pseudo" in found
    assert len(found) > 15


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@on_page_of_now
def test_commands_exist_and_have_their_flags(page: Path, benchmarks: None) -> None:
    for program, *rest in commands(page):
        if program == "make":
            targets = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text())
            assert set(rest) <= set(targets)
        elif program == "tune-digits":
            assert rest[0] in COMMANDS
            parse(rest[0], rest[1:])
        elif not program.endswith("python"):
            parse(program.removesuffix(".py"), rest)
        elif rest[:2] == ["-m", "pytest"]:
            assert [file for file in rest[2:] if not (ROOT / file).exists()] == []
        else:
            script = ROOT / rest[0]
            assert script.is_file(), rest
            if script.parent.name == "scripts":
                parse(script.stem, rest[1:])
            elif script.parent.name == "benchmarks":
                parse_as_benchmark(script.stem, rest[1:])


def parse(name: str, flags: list[str]) -> None:
    """Exit with code 2, as the command would, where it does not take these flags."""
    if name == "predict" and "--data" not in flags:
        flags = [*flags, "--data", "FOLDER"]  # it needs one, and a text may speak of another flag
    if name == "blend" and not flags[:1]:
        flags = ["FILE"]
    try:
        args = PARSERS[name]().parse_args(flags)
    except SystemExit as ended:
        if ended.code != 0:  # as after --help
            raise
        return
    if name == "search":
        named = ROOT / "search_spaces" / str(args.space)
        shipped = named if named.is_file() else named.with_suffix(".yaml")
        study = shipped if shipped.is_file() else find_space("aug.yaml")
        load_study(study, search.parse_set(args.set))


class Parsed(Exception):
    """The arguments were understood."""


def parse_as_benchmark(name: str, flags: list[str]) -> None:
    if name == "table":
        assert flags == []
        return
    script = importlib.import_module(name)

    def parse_only(parser: argparse.ArgumentParser) -> None:
        parser.parse_args(flags)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(script, "read_arguments", parse_only)
        script.main()


@cache
def all_flags() -> set[str]:
    own = {flag for make in PARSERS.values() for action in make()._actions for flag in action.option_strings}
    scripts = "".join(
        path.read_text() for path in [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("tests/mutants/*.py")]
    )
    return own | set(re.findall(r'"(--[a-z-]+)"', scripts)) | {"--help"}


@on_page_of_now
def test_flags_named_in_the_text_exist(page: Path) -> None:
    named = {span.split()[0].partition("=")[0] for span in spans(page) if span.startswith("--")}
    assert named - all_flags() == set()


# ── spaces and keys ──────────────────────────────────────────────────────────────────────────────────


@on_page_of_now
def test_spaces_in_code_blocks_load(page: Path) -> None:
    for block in blocks(page):
        if re.match(r"(trial|data|cv|search|confirm|ensemble|resources):", block):
            make_study(parse_yaml(block, page.name), page.name, "doc")


def test_the_readme_shows_a_space() -> None:
    assert any(block.startswith("trial:") for block in blocks(ROOT / "README.md"))


@on_page_of_now
def test_parts_of_studies_in_the_text_load(page: Path) -> None:
    for span in spans(page):
        if re.match(rf"({'|'.join(StudyParts.model_fields)}): ?{{", span):
            make_study(yaml.safe_load(span), page.name, "doc")


PARTS = {**StudyParts.model_fields, **TrialConfig.model_fields}


def fields_of(part: str) -> set[str]:
    """The keys of a part, in any of its variants."""
    annotation = PARTS[part].annotation
    if part in TrialConfig.model_fields and PARTS[part].discriminator:
        return {key for cls in variants(annotation).values() for key in cls.model_fields}
    if part == "data":
        return set(Auto.model_fields)
    return set(annotation.model_fields)


@on_page_of_now
def test_keys_named_in_the_text_exist(page: Path) -> None:
    for span in spans(page):
        found = re.fullmatch(r"(\w+)\.(\w+)(?:(?::\s|=)(.+))?", span)
        if (
            found
            and found[1] in PARTS
            and not span.endswith((".py", ".md", ".csv", ".json", ".journal", ".toml"))
        ):
            assert found[2] in fields_of(found[1]), f"{page.name}: {span}"


@pytest.mark.parametrize(
    "span", [s for s in spans(ROOT / "docs/keras-parity.md") if re.match(r"\w+\.\w+: ", s)]
)
def test_settings_of_the_parity_page_are_valid(span: str) -> None:
    key, _, value = span.partition(": ")
    beside: dict[str, Any] = {"model.name": "keras8"} if key.startswith("model.") else {}
    if key.startswith("optimizer.") and "arithmetic" not in key:
        beside = {"optimizer.name": "nadam" if "momentum_decay" in key else "rmsprop"}
    make_study({}, "doc.yaml", "doc", {**beside, key: yaml.safe_load(value)})


def test_the_readme_names_every_sampler_and_every_scheduler() -> None:
    text = (ROOT / "README.md").read_text()
    for key in ("sampler", "scheduler"):
        table = re.search(rf"\| `search\.{key}` \|.*?\n\n", text, re.S)
        assert table is not None
        names = [
            name for row in table[0].split("\n")[2:-2] for name in re.findall(r"`(\w+)`", row.split("|")[1])
        ]
        assert sorted(names) == sorted(get_args(Search.model_fields[key].annotation))


def test_the_readme_names_every_domain_and_every_shipped_space() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in DOMAINS if f"`{name}" not in text] == []
    assert [path.stem for path in ROOT.glob("search_spaces/*.yaml") if f"`{path.stem}`" not in text] == []


@pytest.mark.parametrize("file", sorted(ROOT.glob("search_spaces/recipes/*.yaml")), ids=lambda f: f.stem)
def test_the_page_of_recipes_says_how_each_is_started_and_what_differs(file: Path) -> None:
    page = ROOT / "docs/recipes.md"
    text = page.read_text()
    assert f"| `recipes/{file.stem}` |" in text
    section = text.partition(f"\n## {file.stem}\n")[2].partition("\n## ")[0]
    # as in the file's own head
    for line in re.findall(r"(?m)^#     (python .+)$", file.read_text()):
        assert f"    {line}\n" in section
        assert words_of(line)[0] in commands(page)
    assert "\n- " in section, "it does not say what is not the same"
    load_study(file)


# ── files, modules and links ─────────────────────────────────────────────────────────────────────────

FOLDERS = ("tune_digits", "scripts", "benchmarks", "tests")
NAMES = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
PLACEHOLDERS = re.compile(r"NAME|FOLDER|CLASS|TIME|DIR|\*|…")


@cache
def source() -> str:
    return "".join(path.read_text() for path in (ROOT / "tune_digits").rglob("*.py"))


def exists(path: str) -> bool:
    """A file or folder of the project, from its root or from the package; a bare name may be anywhere in it."""
    return (ROOT / path).exists() or (ROOT / "tune_digits" / path).exists() or path.rstrip("/") in NAMES


@on_page_of_now
def test_files_named_in_the_text_exist(page: Path) -> None:
    missing = []
    for span in spans(page):
        path = span.split()[0]
        if PLACEHOLDERS.search(path) or "://" in path or path.startswith(("runs/", ".venv", "../", "--")):
            continue
        if re.fullmatch(r"[\w./-]+\.(py|md|toml|yaml|json|csv|npz)", path) or re.fullmatch(
            r"[\w./-]+/", path
        ):
            # what a run writes is named in the code
            written = path.count("/") == 0 and not path.endswith((".py", ".md")) and path in source()
            written = written or (path.endswith("/") and f'"{path.rstrip("/")}"' in source())
            if not (exists(path) or written):
                missing.append(path)
    assert missing == []


@on_page_of_now
def test_modules_named_in_the_text_exist(page: Path) -> None:
    for span in spans(page):
        if found := re.match(r"tune_digits(?:\.\w+)+", span):
            *module, member = found[0].split(".")
            assert hasattr(importlib.import_module(".".join(module)), member), span


@on_page
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_architecture_lists_the_rooms_from_the_lowest() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = text[text.index("| room |") :].split("\n\n")[0]
    listed = [row.strip("`/").removesuffix(".py") for row in re.findall(r"(?m)^\| (`\S+`) \|", table)]
    package = ROOT / "tune_digits"
    lowest_first = runpy.run_path(str(ROOT / "tests/test_layers.py"))["ROOMS"]
    rooms = [name for name in lowest_first if (package / name).is_dir() or (package / f"{name}.py").is_file()]
    assert listed == [name for name in rooms if name != "__init__"]


# ── how it is rendered ───────────────────────────────────────────────────────────────────────────────


@on_page
def test_table_rows_have_as_many_cells_as_their_head(page: Path) -> None:
    cells = None
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if not line.startswith("|"):
            cells = None
            continue
        assert line.endswith("|"), f"{page.name}:{number}"
        count = re.sub(r"`[^`]*`|\\\|", "", line).count("|")
        assert "|" not in "".join(re.findall(r"`[^`]*`", line)), (
            f"{page.name}:{number}: | inside of backticks"
        )
        cells = cells or count
        assert count == cells, f"{page.name}:{number}"


@on_page
def test_no_line_inside_a_paragraph_begins_like_a_list_a_heading_or_a_table(page: Path) -> None:
    marker = r"\s{0,3}([-*+]|\d+[.)])\s"
    for paragraph in re.split(r"\n\s*\n", page.read_text()):
        first, *rest = paragraph.strip("\n").splitlines()
        if first.startswith(("    ", "|", "#", "<!--")):
            continue
        for line in rest:
            if re.match(marker, first):
                assert line.startswith(" ") or re.match(marker, line), f"{page.name}: {line}"
            else:
                assert not re.match(rf"{marker}|\s{{0,3}}(#|>|\||=+$|-+$)", line), f"{page.name}: {line}"
        assert paragraph.count("`") % 2 == 0, f"{page.name}: a backtick has no partner: {first}"
