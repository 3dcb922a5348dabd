"""Keep the values of compressed files in memory, within a number of bytes.

A compressed file cannot be read in part, and all of its planes are read one after the other. So it is unpacked once.
The values that were used least recently are released first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stages.runtime.memory_budget import usable_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Unpacked"]

LEAST = 4
"""Files whose values stay in memory whatever their size: image and labels of two scans, because threads read ahead."""
MOST_BYTES = usable_memory() // 8
"""Bytes of all values together, where more files than `LEAST` are kept: a scan can have one file for each class."""


class Unpacked:
    """Unpack the values of one file when they are first needed."""

    def __init__(self, unpack: Callable[[], NDArray[Any]]) -> None:
        """Take the function that reads the values; it is called again after they were released."""
        self._unpack = unpack
        self._lock = threading.Lock()
        self._values: NDArray[Any] | None = None

    def get(self) -> NDArray[Any]:
        """Return the values. They are shared with other threads and must not be changed.

        Raises:
            InputProblemsError: the file cannot be read, or is cut off or damaged.
        """
        with self._lock:
            values = self._values
            if values is None:
                self._values = values = self._unpack()
        _keep(self, values.nbytes)
        return values

    def drop(self) -> None:
        """Release the values. A thread that still reads from them keeps them alive."""
        self._values = None


_KEPT: OrderedDict[Unpacked, int] = OrderedDict()
_KEPT_LOCK = threading.Lock()


def _keep(used: Unpacked, size: int) -> None:
    """Note that values were used now, and release those that were used least recently if there are too many."""
    with _KEPT_LOCK:
        _KEPT[used] = size
        _KEPT.move_to_end(used)
        while len(_KEPT) > LEAST and sum(_KEPT.values()) > MOST_BYTES:
            oldest, _ = _KEPT.popitem(last=False)
            oldest.drop()
