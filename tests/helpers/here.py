"""Stands in for what Ray has stored, in tests without Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Here:
    """As tune.store.Stored."""

    value: Any

    def get(self) -> Any:
        return self.value
