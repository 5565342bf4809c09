"""Workers that import beforehand: so many and no more, one after the other where cores are few."""

from __future__ import annotations

import gc
from pathlib import Path
from threading import Event, Thread

from tune_digits.patches.ray_warm import place_in, quick_imports, turn


def test_every_place_is_taken_once(tmp_path: Path) -> None:
    assert [place_in(tmp_path, 2) for _ in range(3)] == [0, 1, None]
    assert place_in(tmp_path, 0) is None


def test_two_cores_have_one_turn_and_three_have_two(tmp_path: Path) -> None:
    def second(cores: int, entered: Event) -> Thread:
        def enter() -> None:
            with turn(tmp_path, 1, cores):
                entered.set()

        thread = Thread(target=enter)
        thread.start()
        return thread

    with turn(tmp_path, 0, cores=2):
        waits = Event()
        waiting = second(2, waits)
        assert not waits.wait(0.2)
        free = Event()
        second(3, free).join(10)
        assert free.is_set()
    waiting.join(10)
    assert waits.is_set()


def test_the_garbage_collector_rests_while_much_is_imported() -> None:
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    try:
        with quick_imports():
            raise ImportError
    except ImportError:
        assert gc.isenabled()
    gc.unfreeze()
