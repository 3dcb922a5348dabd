"""Read a store's columns: one value per sample each, through zarr, checked chunk by chunk.

A column's chunk is compared with the digest in the store's description every time it is read. A column that was read
whole stays in memory. For a single value only its chunk is read, and stays in memory: reading a whole column takes
seconds at ten million rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray

from store.arrays import Arrays
from store.description import Description
from store.errors import StoreCorruptError, StoreIncompleteError
from store.format import RESTORE, chunk_path, read_file

UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
    OSError,
    zarr.errors.BaseZarrError,
)
"""The errors that zarr raises for metadata that it cannot read."""


class Columns:
    """Read the arrays of a store that are not sharded: its columns, the checksums and the names of the heads.

    Args:
        root: folder of the store.
        arrays: the metadata of the store's arrays.
        description: holds the digests of the chunks.
        require_same_store: raises when another store has replaced the one at `root`.
    """

    def __init__(
        self,
        root: Path,
        arrays: Arrays,
        description: Description,
        require_same_store: Callable[[], None],
    ) -> None:
        self._root = root
        self._arrays = arrays
        self._digests = description.columns_sha256
        self._require_same_store = require_same_store
        self._opened: dict[str, zarr.Array[Any]] = {}
        self._whole: dict[str, NDArray[Any]] = {}
        self._chunks: dict[tuple[str, int], NDArray[Any]] = {}

    def whole(self, name: str) -> NDArray[Any]:
        """Return all values of a column. The array is cached: do not write to it.

        Raises:
            StoreIncompleteError, StoreCorruptError: the store has no such column, or its bytes are missing or damaged.
        """
        if name not in self._whole:
            self._whole[name] = self.read(name, 0, self._shape(name)[0])
        return self._whole[name]

    def value(self, name: str, index: int) -> Any:
        """Return one value of a column. Its chunk is read once and stays in memory.

        Raises:
            StoreIncompleteError, StoreCorruptError: the chunk's bytes are missing or damaged.
        """
        extent = self._extent(name)
        number = index // extent
        if (name, number) not in self._chunks:
            self._chunks[name, number] = self.read(name, number * extent, (number + 1) * extent)
        return self._chunks[name, number][index - number * extent]

    def extents(self, name: str) -> list[tuple[int, int]]:
        """Return the (start, stop) of every chunk of a column."""
        count, extent = self._shape(name)[0], self._extent(name)
        return [(start, min(start + extent, count)) for start in range(0, count, extent)]

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Read the values from `start`, the first row of a chunk, to `stop` or the end. Nothing is cached.

        Raises:
            StoreIncompleteError, StoreCorruptError: the bytes are missing or damaged.
        """
        stop, extent = min(stop, self._shape(name)[0]), self._extent(name)
        # Check the files before zarr reads them: it would read a missing file as empty strings or zeros.
        for number in range(start // extent, -(-stop // extent)):
            self.check(name, number)
        try:
            values = np.asarray(self.array(name)[start:stop])
        except OSError as error:
            raise self._unreadable(name, error) from None
        except (ValueError, RuntimeError) as error:  # another store has replaced it in the meantime
            raise self._damaged(name, str(error).partition(".")[0]) from None
        self._require_same_store()
        return values

    def array(self, name: str) -> zarr.Array[Any]:
        """Open an array with zarr.

        Raises:
            StoreIncompleteError: it is missing.
            StoreCorruptError: zarr cannot read its metadata.
        """
        if name not in self._opened:
            try:
                self._opened[name] = zarr.open_array(self._root / name, mode="r", zarr_format=3)
            except FileNotFoundError:
                raise StoreIncompleteError(f"{self._root}: array `{name}` is missing.\n  {RESTORE}") from None
            except UNREADABLE as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise self._unreadable(name, error) from None
                self._require_same_store()
                what = str(error).partition("\n")[0]
                raise StoreCorruptError(f"{self._root}: `{name}`: {what}.\n  {RESTORE}") from None
        return self._opened[name]

    def check(self, name: str, number: int) -> None:
        """Compare the file of a column's chunk with its digest.

        Raises:
            StoreIncompleteError, StoreCorruptError: it is missing or damaged.
        """
        file = chunk_path(self._root, name, number, len(self._shape(name)))
        first = number * self._extent(name)
        stop = min(first + self._extent(name), self._shape(name)[0])
        kind = {"sample": "samples", "head": "heads"}.get(self._arrays[name].dimension_names[0], "values")
        rows = f"{kind} {first}-{stop - 1}"
        try:
            content = read_file(self._root, file)
        except StoreIncompleteError as error:
            self._require_same_store()
            raise StoreIncompleteError(str(error).replace(".\n", f" ({rows}).\n", 1)) from None
        if hashlib.sha256(content).hexdigest() != self._digests[name][number]:
            raise self._damaged(name, f"{file.name}, {rows}")

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._digests:
            raise StoreIncompleteError(
                f"{self._root}: the store has no column `{name}`; it has {', '.join(sorted(self._digests))}."
            )
        return self._arrays[name].shape

    def _extent(self, name: str) -> int:
        return self._arrays[name].chunk_shape[0]

    def _unreadable(self, name: str, error: OSError) -> StoreIncompleteError:
        return StoreIncompleteError(f"{self._root}: column `{name}` cannot be read ({error.strerror}).\n  {RESTORE}")

    def _damaged(self, name: str, what: str) -> StoreCorruptError:
        self._require_same_store()
        return StoreCorruptError(f"{self._root}: column `{name}` is damaged ({what}).\n  {RESTORE}")
