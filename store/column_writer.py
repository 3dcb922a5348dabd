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

from store.column_chunks import Values
from store.disk.syncing import Syncing
from store.format import chunk_path
from store.metadata import ArrayMetadata, column_metadata
from store.shards import checksummed
from store.texts import Texts

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
        self._begun = b""
        self._values: list[Any] = []
        """The values of the present chunk that follow those that are encoded in `_begun`."""
        self._count = 0
        """Number of values in the present chunk."""
        self._written = 0
        (root / name).mkdir()

    def append(self, value: Any) -> None:
        """Add one value."""
        self._values.append(value)
        self._count += 1
        if self._count == self._chunk:
            self._write(self._chunk)

    def extend(self, values: Sequence[Any]) -> None:
        """Add several values."""
        done = 0
        while done < len(values):
            some = values[done : done + self._chunk - self._count]
            self._values.extend(some)
            self._count += len(some)
            done += len(some)
            if self._count == self._chunk:
                self._write(self._chunk)

    def adopt(self, digests: Sequence[str], values: int) -> None:
        """Begin with full chunks whose files are in the column's folder already.

        Args:
            digests: the SHA-256 of each of these chunks.
            values: the number of values in them.
        """
        self.digests.extend(digests)
        self._written += values

    def begin(self, values: Values) -> None:
        """Begin the present chunk with values of another column of the same type. No Python object is made for a value.

        Args:
            values: at least one, and fewer than a chunk has.
        """
        self._begun = values.stored() if isinstance(values, Texts) else values.astype(_stored(self._dtype)).tobytes()
        self._count = len(values)

    def finish(self) -> ArrayMetadata:
        """Write the last chunk and return the column's metadata."""
        extent = self._chunk if self.digests else max(1, self._count)
        if self._count:
            self._write(extent)
        return column_metadata(self._name, shape=(self._written, *self._row), dtype=self._dtype, extent=extent)

    def _write(self, extent: int) -> None:
        count = self._count - len(self._values)
        content = encode_column_chunk(self._values, self._dtype, extent, begun=self._begun, count=count)
        self._syncing.write(chunk_path(self._root, self._name, len(self.digests), 1 + len(self._row)), content)
        self.digests.append(hashlib.sha256(content).hexdigest())
        self._written += self._count
        self._begun, self._count = b"", 0
        self._values.clear()


def encode_column_chunk(values: Sequence[Any], dtype: str, extent: int, *, begun: bytes = b"", count: int = 0) -> bytes:
    """Encode one chunk of a column.

    Args:
        values: 1 to `extent` of them, each a scalar or a sequence of fixed length; less those that are encoded.
        dtype: `str` or the name of a NumPy type.
        extent: rows in the chunk. Missing rows are filled with "" or 0, as Zarr requires.
        begun: values that come before these, encoded.
        count: the number of values in `begun`.

    Raises:
        UnicodeEncodeError: a text has half a surrogate pair, which UTF-8 cannot express.
    """
    missing = extent - count - len(values)
    if dtype == "str":
        texts = [str(value).encode() for value in values]
        lengths_and_texts = [part for text in texts for part in (_COUNT.pack(len(text)), text)]
        return checksummed(b"".join([_COUNT.pack(extent), begun, *lengths_and_texts, _COUNT.pack(0) * missing]))
    encoded = begun + np.array(values, dtype=_stored(dtype)).tobytes()
    row = len(encoded) // (extent - missing)
    return checksummed(encoded + bytes(row * missing))


def _stored(dtype: str) -> np.dtype[Any]:
    """Return the type of numbers as they are stored."""
    return np.dtype(dtype).newbyteorder("<")
