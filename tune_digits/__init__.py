"""tune_digits: trusted hyper-parameter search and ensembles for small-image classification.

>>> from tune_digits import load_study, make_ensemble, open_run, search

What these need is imported where they are first named, so that `import tune_digits` is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_digits.api.opened import open_run
    from tune_digits.api.searching import load_study, search
    from tune_digits.api.voting import make_ensemble

__version__ = "0.1.0"
__all__ = ["load_study", "make_ensemble", "open_run", "search"]

# name -> the file of api/ that has it. None is called like a room: the room `ensemble/` would hide an `ensemble`
_FROM = {
    "load_study": "searching",
    "make_ensemble": "voting",
    "open_run": "opened",
    "search": "searching",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tune_digits.api.{_FROM[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
