"""tune-digits tricks: what can be tried, knob by knob."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tune_digits.cli.common import Help, add_common, command, run_command
from tune_digits.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from tune_digits.cli.catalogue import Knob, Section

WIDTH = 100  # where there is no terminal to ask


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("tricks"),
        formatter_class=Help,
        description="List what a trial can be made of: each name with its source and its knobs, their ranges and\n"
        "defaults.",
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="a part (loss), a name in it (focal) or a knob (loss.gamma)")
    add("--markdown", action="store_true", help="as a Markdown page")
    add_common(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(tricks, make_parser().parse_args(argv))


def tricks(args: argparse.Namespace) -> int:
    from tune_digits.cli.catalogue import catalogue

    sections = catalogue()
    if args.name is not None:
        sections = select(sections, args.name)
    if args.markdown:
        print(markdown(sections))
    else:
        from rich.console import Console

        if sys.stdout.isatty():
            show(sections, Console(highlight=False))
        else:
            console = Console(highlight=False, width=WIDTH)
            with console.capture() as captured:
                show(sections, console)
            # rich fills every line with blanks
            print("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))
    return 0


def select(sections: list[Section], name: str) -> list[Section]:
    """What `name` means: a part, by key or title; an entry; or a knob, wherever there is one. Raises ConfigError."""
    from dataclasses import replace

    from tune_digits.validate import did_you_mean

    wanted = name.lower().removeprefix("trial.")
    known: dict[str, None] = {}
    found = []
    for section in sections:
        here = [wanted, wanted.removeprefix(f"{section.key}.")]
        if wanted in (section.key, section.title.lower()):
            return [section]
        entries = [e for e in section.entries if e.name.lower() in here]
        knobs = tuple(k for k in section.knobs if k.name.lower() in here)
        parts = [
            replace(e, knobs=tuple(k for k in e.knobs if k.name.lower() in here)) for e in section.entries
        ]
        if entries:
            found.append(replace(section, entries=tuple(entries)))
        elif knobs or any(e.knobs for e in parts):
            found.append(replace(section, knobs=knobs, entries=tuple(e for e in parts if e.knobs)))
        names = [k.name for k in [*section.knobs, *(k for e in section.entries for k in e.knobs)]]
        names += [e.name for e in section.entries]
        known |= dict.fromkeys([section.key, *names, *(f"{section.key}.{n}" for n in names)])
    if not found:
        raise ConfigError(f"no trick '{name}'{did_you_mean(wanted, known)} All of them: tune-digits tricks")
    return found


def _heading(section: Section) -> str:
    return section.key if section.key in ("search", "ensemble") else f"trial.{section.key}"


def _shared_by(section: Section) -> str:
    return f"every {section.key}" if section.entries else ""


# ── on a terminal, or piped ──────────────────────────────────────────────────────────────────────────


def show(sections: list[Section], console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    def table(knobs: tuple[Knob, ...], widths: tuple[int, int, int]) -> None:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for width in widths:
            grid.add_column(width=width, overflow="fold")
        grid.add_column(ratio=1)
        for knob in knobs:
            cells = (knob.name, knob.allowed, knob.default, knob.text())
            grid.add_row(
                *(Text(cell, style="dim" if i else "cyan") for i, cell in enumerate(cells[:3])),
                Text(cells[3]),
            )
        console.print(Padding(grid, (0, 0, 0, 4)))

    for section in sections:
        widths = _widths(section)
        console.print(Text(f"{section.title} · {_heading(section)}", style="bold underline"))
        if section.what:
            console.print(Padding(Text(section.what), (0, 0, 0, 2)))
        for entry in section.entries:
            console.print(Padding(Text.assemble((entry.name, "bold"), f"  {entry.what}"), (1, 0, 0, 2)))
            if entry.source:
                console.print(Padding(Text(entry.source, style="italic"), (0, 0, 0, 4)))
            if entry.knobs:
                table(entry.knobs, widths)
        if section.knobs:
            if section.entries:
                console.print(Padding(Text(_shared_by(section), style="bold"), (1, 0, 0, 2)))
            table(section.knobs, widths)
        console.print()


def _widths(section: Section) -> tuple[int, int, int]:
    """Of name, range and default, the same in a whole section; long lists of words are wrapped."""
    knobs = [*section.knobs, *(k for e in section.entries for k in e.knobs)]
    columns = [[k.name for k in knobs], [k.allowed for k in knobs], [k.default for k in knobs]]
    most = (24, 20, 14)
    return tuple(min(max(map(len, c), default=0), m) for c, m in zip(columns, most, strict=True))  # type: ignore[return-value]


# ── as Markdown ──────────────────────────────────────────────────────────────────────────────────────


def markdown(sections: list[Section]) -> str:
    """A page with a table of knobs under each name."""
    lines = ["# Tricks", "", "Made by `tune-digits tricks --markdown` from the code; do not edit.", ""]
    for section in sections:
        lines += [f"## {section.title}: `{_heading(section)}`", ""]
        if section.what:
            lines += [_plain(section.what), ""]
        for entry in section.entries:
            source = f" *{_plain(entry.source)}*" if entry.source else ""
            lines += [f"### `{entry.name}`", "", f"{_plain(entry.what)}.{source}", "", *_table(entry.knobs)]
        if section.knobs:
            lines += [f"### {_shared_by(section)}", ""] if section.entries else []
            lines += _table(section.knobs)
    return "\n".join(lines).rstrip()


def _table(knobs: tuple[Knob, ...]) -> list[str]:
    if not knobs:
        return []
    rows = [f"| `{k.name}` | {_plain(k.allowed)} | {_plain(k.default)} | {_plain(k.text())} |" for k in knobs]
    return ["| knob | range | default | |", "|---|---|---|---|", *rows, ""]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, `names` as code."""
    for character in "\\*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return text
