"""Write a column: its chunks, one by one, and its metadata at the end.

A chunk goes through Zarr v3's codecs `bytes` or `vlen-utf8`, then `crc32c`. It is encoded here and not through zarr,
so that its bytes do not depend on zarr's version.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from store.disk.syncing import Syncing
from store.format import chunk_path
from store.metadata import ArrayMetadata, column_metadata
from store.shards import checksummed

_COUNT = struct.Struct("<I")


class ColumnWriter:
    """Gather a column's values and write a chunk whenever it is full.

    Args:
        root: folder of the store; the column's own folder is made in it.
        name: of the column.
        dtype: `str` or the name of a NumPy type.
        row: shape of one value; () for a scalar.
        chunk: values in a chunk. A column with fewer values has one chunk of exactly that many.
        syncing: secures the files on the disk.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        *,
        dtype: str,
        row: tuple[int, ...] = (),
        chunk: int,
        syncing: Syncing | None = None,
    ) -> None:
        self.digests: list[str] = []
        """SHA-256 of every chunk that was written."""
        self._root = root
        self._name = name
        self._dtype = dtype
        self._row = row
        self._chunk = chunk
        self._syncing = syncing or Syncing()
        self._values: list[Any] = []
        self._written = 0
        (root / name).mkdir()

    def append(self, value: Any) -> None:
        """Add one value."""
        self._values.append(value)
        if len(self._values) == self._chunk:
            self._write(self._chunk)

    def extend(self, values: Sequence[Any]) -> None:
        """Add several values."""
        done = 0
        while done < len(values):
            some = values[done : done + self._chunk - len(self._values)]
            self._values.extend(some)
            done += len(some)
            if len(self._values) == self._chunk:
                self._write(self._chunk)

    def adopt(self, digests: Sequence[str], values: int) -> None:
        """Begin with full chunks whose files are in the column's folder already.

        Args:
            digests: the SHA-256 of each of these chunks.
            values: the number of values in them.
        """
        self.digests.extend(digests)
        self._written += values

    def finish(self) -> ArrayMetadata:
        """Write the last chunk and return the column's metadata."""
        extent = self._chunk if self.digests else max(1, len(self._values))
        if self._values:
            self._write(extent)
        return column_metadata(self._name, shape=(self._written, *self._row), dtype=self._dtype, extent=extent)

    def _write(self, extent: int) -> None:
        content = encode_column_chunk(self._values, self._dtype, extent)
        self._syncing.write(chunk_path(self._root, self._name, len(self.digests), 1 + len(self._row)), content)
        self.digests.append(hashlib.sha256(content).hexdigest())
        self._written += len(self._values)
        self._values.clear()


def encode_column_chunk(values: Sequence[Any], dtype: str, extent: int) -> bytes:
    """Encode one chunk of a column.

    Args:
        values: 1 to `extent` of them, each a scalar or a sequence of fixed length.
        dtype: `str` or the name of a NumPy type.
        extent: rows in the chunk. Missing rows are filled with "" or 0, as Zarr requires.

    Raises:
        UnicodeEncodeError: a text has half a surrogate pair, which UTF-8 cannot express.
    """
    if dtype == "str":
        texts = [str(value).encode() for value in values] + [b""] * (extent - len(values))
        lengths_and_texts = [part for text in texts for part in (_COUNT.pack(len(text)), text)]
        return checksummed(b"".join([_COUNT.pack(extent), *lengths_and_texts]))
    rows = np.array(values, dtype=np.dtype(dtype).newbyteorder("<"))
    chunk = np.zeros((extent, *rows.shape[1:]), dtype=rows.dtype)
    chunk[: len(rows)] = rows
    return checksummed(chunk.tobytes())
