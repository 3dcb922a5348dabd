"""Keep a picture on the disk, row by row, compressed. It can be read as often as needed, from the first row on.

The file has no name: it vanishes when it is closed, and when the process ends.
"""

from __future__ import annotations

import tempfile
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from store.disk.publish import explain_disk_failures

__all__ = ["RowFile"]

PIXELS = 2**23
"""Most pixels of one block."""
LEVEL = 1
"""Of zlib: the fastest. Labels have long runs of equal values."""


class RowFile:
    """Hold the rows of one picture of a fixed width."""

    def __init__(self, folder: Path) -> None:
        """Open an empty file in a folder, whose disk must have room for it."""
        self._folder = folder
        with explain_disk_failures(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`, or with this object
        weakref.finalize(self, self._file.close)
        self._blocks: list[tuple[int, int, tuple[int, ...], np.dtype[Any]]] = []
        self.rows = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add rows, (row, column[, channel]).

        Raises:
            PipelineError: the disk is full.
        """
        step = max(1, PIXELS // max(1, values[0].size)) if len(values) else 1
        for first in range(0, len(values), step):
            block = np.ascontiguousarray(values[first : first + step])
            packed = zlib.compress(block.data.cast("B"), LEVEL)
            with explain_disk_failures(self._folder):
                at = self._file.seek(0, 2)
                self._file.write(packed)
            self._blocks.append((at, len(packed), block.shape, block.dtype))
        self.rows += len(values)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the rows in blocks of at most `PIXELS` pixels, from the first row on."""
        for at, size, shape, dtype in self._blocks:
            with explain_disk_failures(self._folder):
                self._file.seek(at)
                packed = self._file.read(size)
            yield np.frombuffer(zlib.decompress(packed), dtype).reshape(shape)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
