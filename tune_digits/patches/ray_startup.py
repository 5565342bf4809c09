"""Ray started in 3 s instead of 6 s, and without taking the command's signals.

What is patched, and why:

- `keep_sigterm_handler`: Ray's native handler of SIGTERM prints a stack trace over the screen; the command has a
  handler of its own, which says how to go on.
- `without_servers`: a local Ray starts three processes that take two seconds of a core and are not used here.
- `take_waiting_workers`: Ray Tune asks for an environment of its own for its actors, so that the workers that Ray has
  started meanwhile are not used and new ones are started.
- `raylet_settings`: Ray's workers import PyTorch as they start (`ray_warm.py`), and are not ended while they wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

from tune_digits.machine import available_cores
from tune_digits.patches import enabled
from tune_digits.patches.ray_warm import MOST_WARM, WARM


@contextlib.contextmanager
def keep_sigterm_handler() -> Iterator[None]:
    """Within the block, Ray sets no handler of SIGTERM; the caller's is there again at its end."""
    handler = signal.getsignal(signal.SIGTERM)
    utils = _sigterm_utils() if enabled() else None
    if utils is None:
        yield
        return
    setter = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = setter
        signal.signal(signal.SIGTERM, handler)


def _sigterm_utils() -> Any:
    """The module with Ray's `set_sigterm_handler`, None where this Ray has none."""
    with contextlib.suppress(ImportError):
        from ray._private import utils

        return utils if hasattr(utils, "set_sigterm_handler") else None
    return None


@contextlib.contextmanager
def without_servers() -> Iterator[None]:
    """Within the block, `ray.init` starts no autoscaler's monitor, log monitor or dashboard server.

    One machine has nothing to scale, forwarding of logs is switched off, and `include_dashboard=False` starts the
    dashboard's server all the same.
    """
    node = _node_class() if enabled() else None
    if node is None:
        yield
        return

    def no_api_server(node: Any, **_: Any) -> None:
        node._webui_url = ""

    without = {
        "start_monitor": lambda node: None,
        "start_log_monitor": lambda node: None,
        "start_api_server": no_api_server,
    }
    kept = {name: getattr(node, name) for name in without if hasattr(node, name)}
    for name in kept:
        setattr(node, name, without[name])
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(node, name, method)


def _node_class() -> Any:
    """Ray's class of a node's processes, None where this Ray has it elsewhere."""
    with contextlib.suppress(ImportError):
        from ray._private.node import Node

        return Node
    return None


def take_waiting_workers() -> None:
    """Let Tune's actors take the workers that Ray has started while the driver was reading the data.

    Tune gives its actors a variable for PyTorch Lightning and cloud credentials, which no waiting worker has; nothing
    here reads either.
    """
    if not enabled():
        return
    with contextlib.suppress(ImportError):
        from ray.tune.execution import class_cache

        for name in ("DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE"):
            if hasattr(class_cache, name):
                getattr(class_cache, name).clear()


# a raylet refuses to start with a setting that it does not know, so only releases on which these were tried get them
SETTINGS_TRIED_ON = ("2.60.",)


def raylet_settings(workers: int) -> dict[str, Any]:
    """`_system_config` of `ray.init` for a search with so many workers; also sets the variable that they read."""
    import ray

    if not enabled() or not ray.__version__.startswith(SETTINGS_TRIED_ON):
        return {}
    os.environ[WARM] = str(min(workers, available_cores(), MOST_WARM))
    return {
        "preload_python_modules": ["tune_digits.patches.ray_warm"],
        # Ray starts one worker too many now and then, and ends one that waits in its place: after 1 s, unless told
        "idle_worker_killing_time_threshold_ms": 600_000,
    }
