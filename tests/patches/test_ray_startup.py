"""A canary for each patch of Ray: that the place it changes is still there, and that it still does what it is for.

Each script runs in a process of its own, since Ray can be started once in a process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tune_digits.patches.ray_startup import keep_sigterm_handler, raylet_settings

START = """
import json, os, sys
import psutil
from tune_digits.config import Resources
from tune_digits.execute.on_ray import start_ray
executor = start_ray(Resources(max_concurrent=2))
"""

SERVERS = """
names = ("dashboard.py", "log_monitor.py", "monitor.py")
below = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
print(json.dumps(sorted({name for name in names for line in below if f"/{name}" in line})))
"""

WARM = """
import time, ray
sys.path.insert(0, os.getcwd())
os.environ["PYTHONPATH"] = os.getcwd()
import look
task = ray.remote(num_cpus=1)(look.look)
warm, deadline = set(), time.monotonic() + 60
while len(warm) < 2 and time.monotonic() < deadline:
    warm |= {pid for pid, has_torch in ray.get([task.remote() for _ in range(2)]) if has_torch}
print(json.dumps(len(warm)))
"""
LOOK = """
import os, sys, time
def look():
    time.sleep(0.3)
    return os.getpid(), "torch" in sys.modules

def train(number, config, shared):
    yield {"epoch": 1, "score": 0.5, "has_torch": "torch" in sys.modules}
"""

TRIALS = """
import time
import look
from pathlib import Path
from tune_digits.config import Search, TrialConfig
from tune_digits.execute.executor import Proposal, TrialRun
from tune_digits.tune.scheduler import make_scheduler

class Trials:
    count, seen = 0, []
    def propose(self, key):
        self.count += 1
        return Proposal(self.count, TrialConfig(), "search")
    def started(self, key): pass
    def reported(self, key, report): self.seen.append(report["has_torch"])
    def ended(self, key): pass
    def failed(self, key, error): raise SystemExit(error)

time.sleep(10)  # as long as reading data may take: workers have come up by then
trials = Trials()
executor.run_trials(TrialRun(look.train, None, trials, make_scheduler(Search(), 1), 1, None, Path.cwd()))
print(json.dumps(trials.seen))
"""


def printed(script: str, folder: Path, patches: str = "on") -> Any:
    """What a script prints last, as JSON. Its folder is where Ray's workers look for modules too."""
    (folder / "look.py").write_text(LOOK)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", START + script],
        cwd=folder,
        env={**os.environ, "TUNE_DIGITS_PATCHES": patches, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_local_ray_starts_without_the_servers_that_it_starts_unpatched(tmp_path: Path) -> None:
    assert printed(SERVERS, tmp_path) == []
    assert "log_monitor.py" in printed(SERVERS, tmp_path, patches="off")


def test_all_workers_have_imported_torch_before_they_are_asked(tmp_path: Path) -> None:
    assert printed(WARM, tmp_path) == min(2, os.cpu_count() or 1)


def test_a_trials_actor_takes_a_worker_that_has_waited(tmp_path: Path) -> None:
    assert printed(TRIALS, tmp_path) == [True]


def test_the_patches_know_the_ray_that_is_installed() -> None:
    from ray._private import utils
    from ray._private.node import Node
    from ray.tune.execution import class_cache

    assert callable(utils.set_sigterm_handler)
    assert all(callable(getattr(Node, n)) for n in ("start_monitor", "start_log_monitor", "start_api_server"))
    # cleared by an earlier search of this process, perhaps
    assert isinstance(class_cache.DEFAULT_ENV_VARS, dict)
    assert len(class_cache.ENV_VARS_TO_PROPAGATE) >= 0


def test_only_releases_on_which_they_were_tried_get_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.delenv("TUNE_DIGITS_WARM", raising=False)
    assert raylet_settings(2)["preload_python_modules"] == ["tune_digits.patches.ray_warm"]
    assert os.environ["TUNE_DIGITS_WARM"] == str(min(2, len(os.sched_getaffinity(0))))
    monkeypatch.setattr(ray, "__version__", "3.0.0")
    assert raylet_settings(2) == {}


def test_the_switch_turns_all_of_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import utils
    from ray._private.node import Node
    from ray.tune.execution import class_cache

    from tune_digits.patches import ray_startup

    monkeypatch.setenv("TUNE_DIGITS_PATCHES", "off")
    monkeypatch.setattr(class_cache, "DEFAULT_ENV_VARS", {"A": "1"})
    setter, start = utils.set_sigterm_handler, Node.start_log_monitor
    assert raylet_settings(2) == {}
    with keep_sigterm_handler(), ray_startup.without_servers():
        assert utils.set_sigterm_handler is setter
        assert Node.start_log_monitor is start
    ray_startup.take_waiting_workers()
    assert class_cache.DEFAULT_ENV_VARS == {"A": "1"}


def test_ray_does_not_take_sigterm() -> None:
    from ray._private import utils

    setter, handler = utils.set_sigterm_handler, signal.getsignal(signal.SIGTERM)
    with keep_sigterm_handler():
        utils.set_sigterm_handler(lambda number, frame: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as its native part does
    assert signal.getsignal(signal.SIGTERM) == handler
    assert utils.set_sigterm_handler is setter
