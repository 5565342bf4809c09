"""Workers that import beforehand: so many and no more, one after the other where cores are few."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

from tune_digits.patches.ray_warm import place_in, turn

LOOK = """
import sys
def look(wait):
    import time
    time.sleep(wait)
    return "torch" in sys.modules
"""

SCRIPT = """
from tune_digits.config import Resources
from tune_digits.execute.on_ray import start_ray
start_ray(Resources())
import look, ray
task = ray.remote(num_cpus=1)(look.look)
print(ray.get([task.remote(1.0) for _ in range(2)]))
"""


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


def test_rays_workers_have_torch_before_they_are_asked(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(LOOK)
    (tmp_path / "start.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "start.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert "True" in done.stdout
