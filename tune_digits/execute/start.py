"""Which executor the trainings of a study run on."""

from __future__ import annotations

from collections.abc import Callable

from tune_digits.config import Resources
from tune_digits.errors import ConfigError
from tune_digits.execute.executor import Executor


def start_executor(
    resources: Resources, address: str | None = None, meanwhile: Callable[[], None] = lambda: None
) -> Executor:
    """Start what the trainings run on: Ray, or this process.

    address: of a Ray cluster to join, None = a Ray of its own on this machine. meanwhile: called before what takes
    seconds, to set other work going beside it. Raises ConfigError where the wanted resources are not there.
    """
    if resources.executor == "inline":
        if address is not None:
            raise ConfigError(
                f"--address {address} is a Ray cluster to join, but resources.executor is inline, which uses no Ray: "
                "leave one of the two out"
            )
        from tune_digits.execute.inline import start_inline

        meanwhile()
        return start_inline(resources)
    from tune_digits.execute.on_ray import start_ray

    return start_ray(resources, address, meanwhile)
