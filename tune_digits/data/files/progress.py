"""How much of a file is read, reported to the caller of `load_task` if it asks for it.

Readers call `tell` between pieces of work. The listener stands in a context variable, so that no reader has to pass it
on; without a listener `tell` does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[
    [str, float], None
]  # called with the name of a file and the fraction of it that is read, 0..1
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def telling(listener: Listener | None) -> Iterator[None]:
    """Within the block, and in this thread, every `tell` of a reader calls `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(name: str, fraction: float) -> None:
    """Report that the fraction 0..1 of the file `name` is read."""
    if (listener := _listener.get()) is not None:
        listener(name, fraction)
