"""What many trainings share, stored once: in Ray's object store, where every process of a machine reads the same pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Stored(Generic[Value]):
    """A handle of something stored, small enough to be sent anywhere. ref: a ray.ObjectRef, which keeps it there."""

    ref: Any

    def get(self) -> Value:
        """The value; its arrays are read-only views of the store, not copies."""
        import ray

        return ray.get(self.ref)


def store(value: Value) -> Stored[Value]:
    import ray

    return Stored(ray.put(value))
