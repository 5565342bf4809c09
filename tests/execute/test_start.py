"""The executor that a study names is the one that is started."""

from __future__ import annotations

import pytest

from tune_digits.config import Resources
from tune_digits.errors import ConfigError
from tune_digits.execute.inline import InlineExecutor
from tune_digits.execute.start import start_executor


def test_ray_gets_resources_address_and_what_to_do_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("tune_digits.execute.on_ray.start_ray", lambda *args: asked.append(args))
    resources, meanwhile = Resources(max_concurrent=3), (lambda: None)
    start_executor(resources, "head:6379", meanwhile)
    assert asked == [(resources, "head:6379", meanwhile)]


def test_inline_calls_meanwhile_and_joins_no_cluster() -> None:
    called = []
    resources = Resources(executor="inline", cpus_per_trial=1)
    executor = start_executor(resources, None, lambda: called.append(True))
    assert isinstance(executor, InlineExecutor) and called == [True]
    with pytest.raises(ConfigError, match="head:6379"):
        start_executor(resources, "head:6379")
