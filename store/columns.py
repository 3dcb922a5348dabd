"""Read a store's columns: one value per sample each, checked chunk by chunk.

A column's chunk is compared with the digest in the store's description every time it is read, and decoded from the same
bytes (`store.column_chunks`). A column that was read whole stays in memory. For a single value only its chunk is read:
reading a whole column takes seconds at ten million rows. The chunks of columns with several chunks are mapped, so that
processes share their memory, and texts are kept as bytes (`store.texts`).
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from store.arrays import Arrays
from store.column_chunks import MOST_BYTES, Values, chunk_size, decode_chunk, is_decodable, read_chunk
from store.description import Description
from store.disk.regular import MIB, open_regular
from store.errors import StoreCorruptError, StoreIncompleteError, StoreVersionError
from store.files import StoreFiles
from store.format import COLUMN_CHUNK, RESTORE, chunk_path, read_file
from store.metadata import ArrayMetadata
from store.sharded_array import most_mapped
from store.texts import Texts

T = TypeVar("T")


class Columns:
    """Read the arrays of a store that are not sharded: its columns, the checksums and the names of the heads.

    Args:
        files: of the store.
        arrays: the metadata of the store's arrays.
        description: holds the digests of the chunks.
        require_same_store: raises when another store has replaced the one that was opened.
    """

    def __init__(
        self,
        files: StoreFiles,
        arrays: Arrays,
        description: Description,
        require_same_store: Callable[[], None],
    ) -> None:
        self._files = files
        self._root = files.place
        self._arrays = arrays
        self._digests = description.columns_sha256
        self._require_same_store = require_same_store
        self._whole: dict[str, NDArray[Any]] = {}
        self._chunks: OrderedDict[tuple[str, int], Values] = OrderedDict()
        self._most_chunks = most_mapped()

    def whole(self, name: str) -> NDArray[Any]:
        """Return all values of a column. The array is cached: do not write to it.

        Raises:
            StoreVersionError: a further column is stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: the store has no such column, or its bytes are missing or damaged.
        """
        if name not in self._whole:
            self._whole[name] = self.read(name, 0, self._shape(name)[0])
        return self._whole[name]

    def value(self, name: str, index: int) -> Any:
        """Return one value of a column. Its chunk is read once and kept, as long as there are not too many.

        Raises:
            StoreVersionError: a further column is stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: the chunk's bytes are missing or damaged.
        """
        if name in self._whole:
            return self._whole[name][index]
        number, row = divmod(index, self._extent(name))
        return self._chunk(name, number)[row]

    def run(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return the values of a column of numbers from `start` to before `stop`. Their chunks are kept, as by `value`.

        Raises:
            StoreVersionError, StoreIncompleteError, StoreCorruptError: as `value`.
        """
        if name in self._whole:
            return self._whole[name][start:stop]
        extent = self._extent(name)
        numbers = range(start // extent, -(-stop // extent))
        chunks = [np.asarray(self._chunk(name, number)) for number in numbers]
        values = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        return values[start - numbers.start * extent : stop - numbers.start * extent]

    def rows(self, name: str, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the numbers of several rows of a column, (row, …). Only their chunks are read, as by `value`.

        Raises:
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        extent, metadata = self._extent(name), self._arrays[name]
        found = np.empty((len(indices), *metadata.shape[1:]), metadata.dtype)
        numbers = indices // extent
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            found[chosen] = self._chunk(name, number)[indices[chosen] - number * extent]
        return found

    def texts_of(self, name: str, indices: NDArray[np.int64]) -> Iterator[str]:
        """Yield the texts of several rows in rising order. Only their chunks are read, as by `value`.

        Raises:
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged, or the column has no texts.
        """
        numbers = indices // self._extent(name)
        for number in np.unique(numbers).tolist():
            texts = self._chunk(name, number)
            if not isinstance(texts, Texts):
                raise self._no_texts(name)
            for text in texts.chosen(indices[numbers == number] - number * self._extent(name)):
                yield text.decode()

    def chunk(self, name: str, number: int) -> Values:
        """Return the values of a chunk: numbers, or texts as bytes. Nothing is cached.

        Raises:
            StoreVersionError: a further column is stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: the bytes are missing or damaged.
        """
        start, stop = self.extents(name)[number]
        values = self._read_chunk(name, number)
        return values.first(stop - start) if isinstance(values, Texts) else values[: stop - start]

    def texts(self, name: str, *, keep: bool = False) -> Iterator[Texts]:
        """Yield the texts of a column chunk by chunk, in order. No text is made a Python object.

        Args:
            name: of the column.
            keep: chunks stay mapped for `value`, as long as there are not too many.

        Raises:
            StoreVersionError: a further column is stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: the bytes are missing or damaged, or the column has no texts.
        """
        for number, (start, stop) in enumerate(self.extents(name)):
            values = self._chunks.get((name, number))
            if values is None:
                values = self._read_chunk(name, number)
                if keep and len(self._chunks) < self._most_chunks:
                    self._chunks[name, number] = values
            if not isinstance(values, Texts):
                raise self._no_texts(name)
            yield values.first(stop - start)

    def extents(self, name: str) -> list[tuple[int, int]]:
        """Return the (start, stop) of every chunk of a column."""
        count, extent = self._shape(name)[0], self._extent(name)
        return [(start, min(start + extent, count)) for start in range(0, count, extent)]

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Read the values from `start`, the first row of a chunk, to `stop` or the end. Nothing is cached.

        Raises:
            StoreVersionError: a further column is stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: the bytes are missing or damaged.
        """
        stop, extent = min(stop, self._shape(name)[0]), self._extent(name)
        metadata = self._decodable(name)
        numbers = range(start // extent, -(-stop // extent))
        self._files.fetch(*(self._file(name, number) for number in numbers))  # several at the same time
        empty = metadata.known_dtype or np.dtypes.StringDType()
        chunks: list[NDArray[Any]] = [np.empty((0, *metadata.shape[1:]), empty)]
        for number in numbers:
            content = self.check(name, number)
            try:
                chunks.append(decode_chunk(content, metadata))
            except ValueError as error:
                raise self._damaged(name, f"{self._where(name, number)}: {error}") from None
        self._require_same_store()
        values = chunks[1] if len(chunks) == 2 else np.concatenate(chunks)  # noqa: PLR2004 - one chunk needs no copy
        return values[: stop - start]

    def check(self, name: str, number: int) -> bytes:
        """Compare the file of a column's chunk with its digest.

        Returns:
            The bytes of the file.

        Raises:
            StoreIncompleteError, StoreCorruptError: it is missing or damaged.
        """
        file = self._file(name, number)
        return self._retried(file, lambda: self._check_once(name, number, file))

    def _retried(self, file: Path, read: Callable[[], T]) -> T:
        """Return what `read` returns. If the bytes of a file are wrong, fetch it again where that is possible."""
        try:
            return read()
        except (StoreCorruptError, StoreIncompleteError):
            if not self._files.fetch_again(file):
                raise
        return read()

    def _check_once(self, name: str, number: int, file: Path) -> bytes:
        size = self._require_size(name, number, file)
        try:
            content = read_file(self._files, file, limit=size or 0)
        except StoreIncompleteError as error:
            raise self._missing(name, number, error) from None
        if hashlib.sha256(content).hexdigest() != self._digests[name][number]:
            raise self._damaged(name, self._where(name, number))
        return content

    def require_rows(self, name: str) -> None:
        """Make sure that the files of a column can hold as many rows as its metadata say. No file is read.

        The number of samples is a number that a foreign store may claim, and memory is allocated for it.

        Raises:
            StoreIncompleteError, StoreCorruptError: a file is missing, or has another size.
        """
        self._files.fetch(*self.files(name))
        for number, file in enumerate(self.files(name)):
            if self._retried(file, partial(self._require_size, name, number, file)) is None:
                self.check(name, number)
        if chunk_size(self._arrays[name]) is None and self._extent(name) > COLUMN_CHUNK:
            raise self._damaged(name, f"packed chunks of {self._extent(name)} rows; the format has {COLUMN_CHUNK}")

    def _chunk(self, name: str, number: int) -> Values:
        """Return a chunk's values, read now or earlier."""
        values = self._chunks.get((name, number))
        if values is None:
            values = self._chunks[name, number] = self._read_chunk(name, number)
            if len(self._chunks) > self._most_chunks:
                self._chunks.popitem(last=False)
        return values

    def _read_chunk(self, name: str, number: int) -> Values:
        """Return a chunk's values. They refer to the mapped file if the column has several chunks."""
        metadata = self._decodable(name)
        content = self._mapped(name, number) if len(self._digests[name]) > 1 else self.check(name, number)
        try:
            values = read_chunk(content, metadata)
        except ValueError as error:
            raise self._damaged(name, f"{self._where(name, number)}: {error}") from None
        self._require_same_store()
        return values

    def _mapped(self, name: str, number: int) -> bytes | memoryview:
        """Map the file of a chunk and compare it with its digest. A file that cannot be mapped is read."""
        file = self._file(name, number)
        if self._retried(file, partial(self._require_size, name, number, file)):
            with contextlib.suppress(OSError, ValueError), open_regular(file) as opened:
                mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
                if hashlib.sha256(mapped).hexdigest() == self._digests[name][number]:
                    return memoryview(mapped)
        return self.check(name, number)  # raises the error of a missing or damaged file

    def _decodable(self, name: str) -> ArrayMetadata:
        """Return a column's metadata.

        Raises:
            StoreVersionError: the column is stored in a way that this program does not know.
        """
        self._shape(name)
        if not is_decodable(self._arrays[name]):
            raise StoreVersionError(
                f"{self._root}: `{name}` is stored in a way that this program does not know.\n  Update this program."
            )
        return self._arrays[name]

    def _require_size(self, name: str, number: int, file: Path) -> int | None:
        """Return the size of a chunk's file, which is the promised one; None if there is no such regular file."""
        promised = chunk_size(self._arrays[name])
        self._files.fetch(file)
        try:
            status = file.stat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        if promised is not None and status.st_size != promised:
            raise self._damaged(name, self._where(name, number))
        if status.st_size > MOST_BYTES:
            raise self._damaged(name, f"{file.name} is larger than {MOST_BYTES // MIB} MiB")
        return status.st_size

    def _where(self, name: str, number: int) -> str:
        """Return the name of a chunk's file and its rows, such as `c.0, samples 0-11`."""
        first = number * self._extent(name)
        stop = min(first + self._extent(name), self._shape(name)[0])
        kind = {"sample": "samples", "head": "heads"}.get(self._arrays[name].dimension_names[0], "values")
        return f"{self._file(name, number).name}, {kind} {first}-{stop - 1}"

    def files(self, name: str) -> list[Path]:
        """Return the files of a column."""
        return [self._file(name, number) for number in range(len(self._digests[name]))]

    def _file(self, name: str, number: int) -> Path:
        return chunk_path(self._files.folder, name, number, len(self._shape(name)))

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._digests:
            raise StoreIncompleteError(
                f"{self._root}: the store has no column `{name}`; it has {', '.join(sorted(self._digests))}."
            )
        return self._arrays[name].shape

    def _extent(self, name: str) -> int:
        return self._arrays[name].chunk_shape[0]

    def _no_texts(self, name: str) -> StoreCorruptError:
        return StoreCorruptError(f"{self._root}: `{name}` has no texts.\n  Extract the store again.")

    def _missing(self, name: str, number: int, error: StoreIncompleteError) -> StoreIncompleteError:
        self._require_same_store()
        rows = self._where(name, number).partition(", ")[2]
        return StoreIncompleteError(str(error).replace(".\n", f" ({rows}).\n", 1))

    def _damaged(self, name: str, what: str) -> StoreCorruptError:
        self._require_same_store()
        return StoreCorruptError(f"{self._root}: column `{name}` is damaged ({what}).\n  {RESTORE}")


class RecordedChecksums:
    """Return the CRC-32C that a store records for the samples of one array.

    Args:
        columns: of the store.
        array: position of the array in the rows of the column `checksum`.
    """

    def __init__(self, columns: Columns, array: int) -> None:
        self._columns = columns
        self._array = array

    def __call__(self, sample: int) -> int:
        """Return that of one sample."""
        return int(self._columns.value("checksum", sample)[self._array])

    def together(self, samples: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return those of several samples, (sample,)."""
        found: NDArray[np.uint32] = self._columns.rows("checksum", samples)[:, self._array]
        return found
