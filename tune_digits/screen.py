"""What the user sees while something runs: a live view, or a line every few seconds where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune_digits.errors import printable

PLAIN_EVERY = 10.0  # seconds between plain lines


def clock(seconds: float) -> str:
    """71 -> '1:11', 4000 -> '1:06:40'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(slots=True)
class Progress:
    """What is known of a phase: how many of `total` are done, and a few lines about them.

    running: name -> state in a few words, one line each. facts: label -> value, all on one line. deadline: seconds from
    the start after which the phase ends in any case.
    """

    title: str
    total: int
    done: int = 0
    running: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    deadline: float | None = None
    started: float = field(default_factory=time.monotonic)
    _before: int = field(init=False)

    def __post_init__(self) -> None:
        self._before = self.done

    def of_file(self, name: str, fraction: float) -> None:
        """The fraction 0..1 of the file `name` is done; time is counted from the start of each file."""
        if self.facts.get("file") != name:
            self.facts["file"], self.started = name, time.monotonic()
        self.done = round(self.total * fraction)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds for the rest at the pace so far, and no more than up to the deadline; None while nothing is done."""
        now = self.done - self._before
        rest = self.elapsed / now * (self.total - self.done) if now else None
        if self.deadline is None:
            return rest
        allowed = max(0.0, self.deadline - self.elapsed)
        return allowed if rest is None else min(rest, allowed)

    def line(self) -> str:
        left = "" if self.left is None else f", {clock(self.left)} left"
        facts = "".join(f" · {k} {v}" for k, v in self.facts.items())
        return f"{self.title}: {self.done}/{self.total} done{facts} · {clock(self.elapsed)} elapsed{left}"

    def __rich__(self) -> Group:
        head = Table.grid(padding=(0, 1))
        left = "" if self.left is None else f"{clock(self.left)} left"
        head.add_row(
            Text(self.title, style="bold"),
            ProgressBar(total=max(1, self.total), completed=self.done, width=28),
            f"{self.done}/{self.total}",
            Text(f"{clock(self.elapsed)} elapsed  {left}", style="dim"),
        )
        parts: list[Table | Text] = [head]
        if self.facts:
            parts.append(Text("  " + "   ".join(f"{k} {v}" for k, v in self.facts.items())))
        parts += [Text(f"  {name}  {state}", style="dim") for name, state in self.running.items()]
        return Group(*parts)


class Screen:
    """Prints lines, and shows a Progress: live on a terminal, elsewhere as a line every `PLAIN_EVERY` seconds."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._last = 0.0

    def say(self, text: str = "") -> None:
        self.console.print(printable(text), markup=False)

    def warn(self, text: str) -> None:
        self.console.print(Text(f"! {printable(text)}", style="yellow"))

    @contextmanager
    def watch(self, progress: Progress) -> Iterator[None]:
        """Show `progress` while the block runs; call `tick` when it changed."""
        if self.console.is_terminal:
            with Live(progress, console=self.console, refresh_per_second=4, transient=True):
                yield
        else:
            self._last = time.monotonic()
            yield
        self.say(progress.line())

    def tick(self, progress: Progress) -> None:
        if not self.console.is_terminal and time.monotonic() - self._last >= PLAIN_EVERY:
            self._last = time.monotonic()
            self.say(progress.line())

    def table(self, table: Table) -> None:
        self.console.print(table)
