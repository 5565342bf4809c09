"""What is shown while something runs: figures, times, and where."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from tune_digits.screen import PLAIN_EVERY, Progress, Screen, clock


class Clock:
    """In place of time.monotonic: a time that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clocked = Clock()
    monkeypatch.setattr(time, "monotonic", clocked)
    return clocked


def progress(clocked: Clock, **more: object) -> Progress:
    return Progress("search", total=10, started=clocked.now, **more)  # type: ignore[arg-type]  # of several kinds


def plain() -> tuple[Screen, io.StringIO]:
    text = io.StringIO()
    return Screen(Console(file=text, width=80)), text


def test_times_are_read_as_on_a_clock() -> None:
    assert [clock(s) for s in (0, 9.6, 71, 3599, 4000)] == ["0:00", "0:10", "1:11", "59:59", "1:06:40"]


def test_the_time_left_is_that_of_the_rest_at_the_pace_so_far(clocked: Clock) -> None:
    p = progress(clocked)
    clocked.now += 8
    assert p.left is None
    p.done = 4
    assert p.left == pytest.approx(12)
    p.done = 10
    assert p.left == 0


def test_what_an_earlier_run_has_done_says_nothing_of_the_pace(clocked: Clock) -> None:
    p = progress(clocked, done=6)
    clocked.now += 8
    assert p.left is None
    p.done = 8
    assert p.left == pytest.approx(8)  # two more, at four seconds each
    assert "search: 8/10 done" in p.line()


def test_nothing_lasts_longer_than_its_deadline(clocked: Clock) -> None:
    p = progress(clocked, deadline=20.0)
    clocked.now += 8
    assert p.left == pytest.approx(12)
    p.done = 2
    assert p.left == pytest.approx(12)  # 32 at the pace so far
    p.done = 8
    assert p.left == pytest.approx(2)
    clocked.now += 30
    p.done = 1
    assert p.left == 0


def test_each_file_is_timed_from_its_own_start(clocked: Clock) -> None:
    p = Progress("reading", total=100)
    p.of_file("a.csv", 0.1)
    clocked.now += 5
    p.of_file("a.csv", 0.5)
    assert (p.done, p.elapsed, p.facts) == (50, 5, {"file": "a.csv"})
    p.of_file("b.csv", 0.25)
    assert (p.done, p.elapsed, p.facts) == (25, 0, {"file": "b.csv"})


def test_without_a_terminal_a_line_comes_now_and_then_and_one_at_the_end(clocked: Clock) -> None:
    screen, text = plain()
    p = progress(clocked, facts={"best": "0.9"})
    with screen.watch(p):
        screen.tick(p)
        clocked.now += PLAIN_EVERY / 2
        screen.tick(p)
        assert text.getvalue() == ""
        clocked.now += PLAIN_EVERY / 2
        p.done = 5
        screen.tick(p)
        screen.tick(p)
        assert text.getvalue() == "search: 5/10 done · best 0.9 · 0:10 elapsed, 0:10 left\n"
        p.done = 10
    assert text.getvalue().splitlines()[1:] == ["search: 10/10 done · best 0.9 · 0:10 elapsed, 0:00 left"]


def test_on_a_terminal_it_is_shown_live_with_a_line_for_all_that_runs(clocked: Clock) -> None:
    text = io.StringIO()
    screen = Screen(Console(file=text, width=80, force_terminal=True))
    p = progress(clocked, running={"trial 3": "epoch 2/9"}, facts={"best": "0.9"})
    with screen.watch(p):
        screen.tick(p)
    shown = text.getvalue()
    assert "trial 3  epoch 2/9" in shown and "best 0.9" in shown and "0/10" in shown


def test_text_is_printed_as_it_is_and_warnings_are_marked() -> None:
    screen, text = plain()
    screen.say("[red]x[/red] [1, 2]")
    screen.warn("[bold]odd[/bold]")
    assert text.getvalue() == "[red]x[/red] [1, 2]\n! [bold]odd[/bold]\n"
