"""Share a fixed part of the machine's memory between threads, in bytes.

The number of threads does not bound memory: one thread may decode a picture of 1 MB, another one of 1 GB. So each
reserves what it is going to need, and waits until that much is free.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MemoryBudget", "usable_memory"]

SHARE = 4
"""One part in this many of the memory may be reserved: the store's shard and the transformer need the rest."""
UNKNOWN = 4 * 2**30
"""Bytes that are assumed where the system does not say how much memory there is."""
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with the limit of a container, in bytes or the word `max`: versions 2 and 1 of control groups."""


class MemoryBudget:
    """Hold a number of bytes that threads reserve and release."""

    def __init__(self, size: int | None = None) -> None:
        """Take the number of bytes; None for the share of the memory that this process may use."""
        self._size = usable_memory() // SHARE if size is None else size
        self._reserved = 0
        self._released = threading.Condition()

    @classmethod
    def of_one(cls, processes: int) -> MemoryBudget:
        """Return the budget of one of several processes that share the machine's memory evenly."""
        return cls(usable_memory() // SHARE // processes)

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold a number of bytes during the block; wait until they are free.

        More than the whole budget is granted when nothing else is reserved, so every item gets its turn.
        """
        with self._released:
            self._released.wait_for(lambda: not self._reserved or self._reserved + size <= self._size)
            self._reserved += size
        try:
            yield
        finally:
            with self._released:
                self._reserved -= size
                self._released.notify_all()


def usable_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or fewer in a container."""
    try:
        known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):  # Windows
        known = []
    for file in LIMITS:
        try:
            known.append(int(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file, or no limit
            continue
    return min((size for size in known if size > 0), default=UNKNOWN)
