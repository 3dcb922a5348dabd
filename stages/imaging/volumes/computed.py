"""Keep what was computed from an opened file, such as its percentiles, for as long as the file stays open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["Computed"]

Value = TypeVar("Value")


class Computed:
    """Hold small values by their keys. Each is computed once; other threads that need it wait."""

    def __init__(self) -> None:
        """Start without values."""
        self._values: dict[Hashable, Any] = {}
        self._lock = threading.RLock()

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of a key; `compute` is called if there is none yet, and its errors are not kept."""
        if key not in self._values:
            with self._lock:
                if key not in self._values:
                    self._values[key] = compute()
        found: Value = self._values[key]
        return found
