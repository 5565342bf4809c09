"""How far reading has come, told to whoever asked for it.

Readers call `tell` between pieces of work; it does nothing unless the caller of `load_task` listens. The
listener stands in a context variable, so that no reader has to hand it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Each = Callable[[str, float], None]
_listener: ContextVar[Each | None] = ContextVar("listener", default=None)


@contextmanager
def telling(each: Each | None) -> Iterator[None]:
    """Within the block, `each(name of the file, part done 0..1)` hears what readers of this thread tell."""
    token = _listener.set(each)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(name: str, part: float) -> None:
    """Say that `part` (0..1) of the file `name` is read."""
    if (each := _listener.get()) is not None:
        each(name, part)
