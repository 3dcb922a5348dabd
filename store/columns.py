"""A store's columns, for reading: one value per sample each, through zarr, checked chunk by chunk.

A column's chunk is held against the digest in the store's description every time it is read. What was read whole is
kept, and so are the chunks that single values were taken from: a whole column takes seconds at ten million rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from store.errors import StoreCorruptError, StoreIncompleteError
from store.format import RESTORE, Description, chunk_path, file_sha256


class Columns:
    """The arrays of a store that are read through zarr: its columns, the checksums and the names of the heads.

    Args:
        root: where the store lies.
        array: gives the array of a name.
        description: holds the digests of the chunks.
        require_same_store: raises when another store has come to lie at `root`.
    """

    def __init__(
        self,
        root: Path,
        array: Callable[[str], zarr.Array[Any]],
        description: Description,
        require_same_store: Callable[[], None],
    ) -> None:
        self._root = root
        self._array = array
        self._description = description
        self._require_same_store = require_same_store
        self._whole: dict[str, NDArray[Any]] = {}
        self._chunks: dict[tuple[str, int], NDArray[Any]] = {}

    def whole(self, name: str) -> NDArray[Any]:
        """All values of a column; not to be written to.

        Raises:
            StoreIncompleteError, StoreCorruptError: its bytes are missing or damaged.
        """
        if name not in self._whole:
            self._whole[name] = self.read(name, 0, self._array(name).shape[0])
        return self._whole[name]

    def value(self, name: str, index: int) -> Any:
        """One value of a column; its chunk is read once and kept.

        Raises:
            StoreIncompleteError, StoreCorruptError: the chunk's bytes are missing or damaged.
        """
        extent = self._array(name).chunks[0]
        number = index // extent
        if (name, number) not in self._chunks:
            self._chunks[name, number] = self.read(name, number * extent, (number + 1) * extent)
        return self._chunks[name, number][index - number * extent]

    def extents(self, name: str) -> list[tuple[int, int]]:
        """The (start, stop) of every chunk of a column."""
        array = self._array(name)
        count, extent = array.shape[0], array.chunks[0]
        return [(start, min(start + extent, count)) for start in range(0, count, extent)]

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """The values from `start`, which begins a chunk, to `stop` or the end; nothing of them is kept.

        Raises:
            StoreIncompleteError, StoreCorruptError: the bytes are missing or damaged.
        """
        array = self._array(name)
        stop = min(stop, array.shape[0])
        # Looked for first, too: zarr would read a missing file as empty strings or zeros.
        for number in range(start // array.chunks[0], -(-stop // array.chunks[0])):
            self._check(name, number)
        try:
            values = np.asarray(array[start:stop])
        except (ValueError, RuntimeError) as error:  # another store has come in between
            raise self._damaged(name, str(error).partition(".")[0]) from None
        self._require_same_store()
        return values

    def _check(self, name: str, number: int) -> None:
        """Hold a chunk's file against its digest."""
        file = chunk_path(self._root, name, number)
        array = self._array(name)
        first = number * array.chunks[0]
        stop = min(first + array.chunks[0], array.shape[0])
        rows = f"{'heads' if name == 'head' else 'samples'} {first}-{stop - 1}"
        try:
            found = file_sha256(self._root, file)
        except StoreIncompleteError as error:
            self._require_same_store()
            raise StoreIncompleteError(str(error).replace("\n", f" ({rows})\n", 1)) from None
        if [found] != self._description.columns_sha256[name][number : number + 1]:
            raise self._damaged(name, f"{file.name}, {rows}")

    def _damaged(self, name: str, what: str) -> StoreCorruptError:
        self._require_same_store()
        return StoreCorruptError(f"{self._root}: column `{name}` is damaged ({what}).\n  {RESTORE}")
