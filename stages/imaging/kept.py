"""Keep the last values that were read from files, within a number of bytes.

The tiles of one picture are read one after the other, and by several threads. The picture is decoded once: the first
thread decodes it, the others wait. A file that cannot be used is kept as its error, so that it is not decoded again for
every tile.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from stages.errors import InputProblemsError
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse

__all__ = ["Kept", "file_version"]

Value = TypeVar("Value")


@dataclass
class _Entry(Generic[Value]):
    """Hold one value, or why there is none."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    outcome: Value | InputProblemsError | None = None
    size: int = 0


class Kept(Generic[Value]):
    """Keep values by their keys. The value that was used least recently is dropped first."""

    def __init__(self, limit: int, size_of: Callable[[Value], int]) -> None:
        """Take the bytes for all values together, and the function that returns the bytes of one.

        A single value that is larger is kept too, alone.
        """
        self._limit = limit
        self._size_of = size_of
        self._entries: OrderedDict[Hashable, _Entry[Value]] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key. It is shared with other threads and must not be changed.

        Args:
            key: Names the value, with the version of its file.
            make: Called for a key without a value; one such call runs at a time, because each needs much memory.

        Raises:
            InputProblemsError: `make` raised it, now or before.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
        with entry.lock:
            outcome = entry.outcome
            if outcome is None:
                with self._turn:
                    outcome = self._make(entry, make)
            if isinstance(outcome, InputProblemsError):
                raise InputProblemsError(outcome.problems)  # a new one: several threads must not share a traceback
            return outcome

    def __contains__(self, key: Hashable) -> bool:
        """Return True if the value of a key, or its error, is kept now."""
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and entry.outcome is not None

    def _make(self, entry: _Entry[Value], make: Callable[[], Value]) -> Value | InputProblemsError:
        """Make the value of an entry, and drop others if there are too many bytes."""
        try:
            value = make()
        except InputProblemsError as error:
            # Without its traceback, which would keep the bytes of the file in memory.
            entry.outcome = InputProblemsError(error.problems)
            return entry.outcome
        with self._lock:
            entry.outcome, entry.size = value, self._size_of(value)
            while len(self._entries) > 1 and sum(one.size for one in self._entries.values()) > self._limit:
                key = next(iter(self._entries))
                if self._entries[key] is entry:
                    break
                del self._entries[key]  # a thread that still reads from it keeps it alive
        return value


def file_version(path: Path) -> tuple[str, int, int]:
    """Return the path of a file with its size and its time of change.

    Raises:
        InputProblemsError: the file cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        refuse(path, explain_unreadable(error))
    return str(path), status.st_size, status.st_mtime_ns
