"""Encode shards and memory-map them: Zarr v3 `sharding_indexed` with one chunk per sample.

A shard is its chunks, one after the other, and an index at the end (at the start in version 1). The index has
(offset, length) as two little-endian uint64 per chunk, and a CRC-32C; a chunk that was never written has 2⁶⁴−1
twice. A chunk is the array's bytes, packed or not (`store.packing`), followed by its own CRC-32C. (Zarr v3 core
specification, codecs `sharding_indexed`, `bytes` and `crc32c`.)

Any Zarr v3 reader reads these files. They are read here and not through zarr because a random sample of a mapped
shard costs about one memcpy, a hundred times less than the general reader, which parses the index anew for every
access.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from store.disk.regular import IrregularFileError, open_regular
from store.errors import StoreCorruptError, StoreIncompleteError
from store.many_chunks import CRC_BYTES, checksums_at, computed_checksums, unpack_together
from store.packing import Packing, pack

__all__ = [
    "CRC_BYTES",
    "MappedShard",
    "checksum_of",
    "checksummed",
    "encode_chunk",
    "encode_index",
    "encode_shard",
    "index_place",
    "parse_index",
]

NEVER_WRITTEN = np.uint64(2**64 - 1)


def encode_chunk(values: NDArray[np.generic], packing: Packing) -> tuple[bytes, int]:
    """Encode one sample's chunk.

    Args:
        values: of any shape, little-endian.
        packing: of the chunk's bytes.

    Returns:
        The chunk, CRC-32C included, and the CRC-32C.
    """
    chunk = checksummed(pack(np.ascontiguousarray(values).tobytes(), packing))
    return chunk, checksum_of(chunk)


def checksum_of(chunk: bytes) -> int:
    """Return the CRC-32C at the end of a chunk."""
    return int.from_bytes(chunk[-CRC_BYTES:], "little")


def checksummed(payload: bytes) -> bytes:
    """Return some bytes followed by their CRC-32C, little-endian: Zarr v3's codec `crc32c`."""
    checksum: int = google_crc32c.value(payload)
    return payload + checksum.to_bytes(CRC_BYTES, "little")


def encode_shard(chunks: Sequence[bytes], capacity: int) -> bytes:
    """Encode a whole shard: its chunks and its index. Fewer chunks than `capacity` leave the rest unwritten."""
    return b"".join([*chunks, encode_index([len(chunk) for chunk in chunks], capacity)])


def encode_index(lengths: Sequence[int], capacity: int) -> bytes:
    """Encode the index of a shard whose chunks have these lengths and follow each other from byte 0."""
    index = np.full((capacity, 2), NEVER_WRITTEN, dtype="<u8")
    written = np.array(lengths, dtype="<u8")
    index[: len(lengths), 0] = np.cumsum(written) - written
    index[: len(lengths), 1] = written
    return checksummed(index.tobytes())


def index_place(capacity: int, end: int, *, at_start: bool) -> tuple[int, int]:
    """Return the (start, stop) of a shard's index, its checksum included; a start below 0 if the file is too short.

    Args:
        capacity: chunks that the index has room for.
        end: size of the file in bytes.
        at_start: the index is before the chunks, as in version 1.
    """
    size = capacity * 16 + CRC_BYTES
    return (0, size) if at_start else (end - size, end)


def parse_index(
    table: bytes | memoryview, capacity: int, written: int, *, end: int, at_start: bool
) -> NDArray[np.uint64]:
    """Check a shard's index and return the (offset, length) of its samples' chunks, (written, 2).

    Args:
        table: the bytes of the index, its checksum included. The result is a view of them: in a large store all indices
            together would take gigabytes of memory as copies.
        capacity: chunks that the index has room for.
        written: chunks that the shard holds.
        end: size of the shard in bytes.
        at_start: the index is before the chunks, as in version 1.

    Raises:
        ValueError: it does not match its checksum, or its chunks do not fill the shard exactly.
    """
    size = capacity * 16
    if len(table) < size + CRC_BYTES:
        raise ValueError("the shard is cut short")
    if checksummed(bytes(table[:size])) != table:
        raise ValueError("the shard's index does not match its checksum: the shard is damaged or cut short")
    index = np.frombuffer(table[:size], dtype="<u8").reshape(capacity, 2)
    if (index[:written] == NEVER_WRITTEN).any():
        raise ValueError("the shard lacks samples")
    offsets, lengths = index[:written].T
    chunks_begin, chunks_end = (size + CRC_BYTES, end) if at_start else (0, end - size - CRC_BYTES)
    if (lengths < CRC_BYTES).any() or (lengths > end).any():
        raise ValueError("the shard is cut short")
    if (index[written:] != NEVER_WRITTEN).any() or chunks_begin + int(lengths.sum()) != chunks_end:
        raise ValueError("the shard is cut short, or holds more than its samples")
    if (offsets != chunks_begin + np.cumsum(lengths) - lengths).any():
        raise ValueError("the shard's chunks are not one after the other")
    return index[:written]


class MappedShard:
    """Map a shard's file into memory. The index is parsed and checked once, when the file is mapped.

    Args:
        path: of the file.
        capacity: chunks that the index has room for.
        name: of the array, for messages.
        first: position in the store of the shard's first sample.
        last: position of its last sample.
        index_at_start: the index is before the chunks, as in version 1.
        shown: the file's name in messages; by default its path.

    Raises:
        StoreIncompleteError: the file is missing.
        StoreCorruptError: the index does not match its checksum, or its chunks do not fill the file exactly.
    """

    def __init__(
        self,
        path: Path,
        *,
        capacity: int,
        name: str,
        first: int,
        last: int,
        index_at_start: bool = False,
        shown: str | None = None,
    ) -> None:
        self._where = f"`{name}` in {shown or path} (samples {first}-{last})"
        self._first = first
        try:
            with open_regular(path) as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise StoreIncompleteError(
                f"{self._where}: the shard is missing.\n"
                "  Fetch it again (`dvc checkout` or `dvc pull`), or run `pipeline extract` again: "
                "what the memo holds is not recomputed."
            ) from None
        except IrregularFileError as error:
            raise self._corrupt(f"the shard {error.strerror}") from None
        except OSError as error:
            raise self._unreadable(error) from None
        except ValueError:  # an empty file cannot be mapped
            raise self._corrupt("the shard is empty") from None
        self._view = memoryview(self._bytes)
        self._index = self._read_index(capacity, last - first + 1, at_start=index_at_start)

    def _read_index(self, capacity: int, written: int, *, at_start: bool) -> NDArray[np.uint64]:
        """Return the (offset, length) of the samples' chunks, (written, 2)."""
        end = len(self._bytes)
        begin, stop = index_place(capacity, end, at_start=at_start)
        try:
            return parse_index(self._view[max(0, begin) : stop], capacity, written, end=end, at_start=at_start)
        except ValueError as error:
            raise self._corrupt(str(error)) from None

    def payload(self, sample: int) -> memoryview:
        """Return a sample's stored bytes without their checksum, as a view into the file."""
        start, length = self._index[sample - self._first].tolist()
        return self._view[start : start + length - CRC_BYTES]

    def run(self, start: int, stop: int) -> tuple[memoryview, list[int]]:
        """Return the stored bytes of samples from `start` to before `stop`, as a view, and the length of each."""
        rows = self._index[start - self._first : stop - self._first]
        begin, end = int(rows[0, 0]), int(rows[-1].sum())
        return self._view[begin:end], rows[:, 1].tolist()

    def checksum(self, sample: int) -> int:
        """Return the CRC-32C that follows a sample's stored bytes in the file."""
        start, length = self._index[sample - self._first].tolist()
        return int.from_bytes(self._bytes[start + length - CRC_BYTES : start + length], "little")

    def check(self, sample: int, recorded: int) -> None:
        """Compare a sample's bytes with their checksum, and this checksum with `recorded`, the store's own record.

        Raises:
            StoreIncompleteError: the file can no longer be looked at.
            StoreCorruptError: either differs, or the file's size has changed since it was mapped.
        """
        self._require_size()
        stored = bytes(self.payload(sample))  # google_crc32c takes only bytes
        if google_crc32c.value(stored) != self.checksum(sample):
            raise self._corrupt(f"sample {sample} does not match its checksum")
        if self.checksum(sample) != recorded:
            raise self._corrupt(f"sample {sample} holds another sample's bytes")

    def check_together(self, samples: NDArray[np.int64], recorded: NDArray[np.uint32]) -> None:
        """Check several samples as `check` does, in less time.

        Args:
            samples: (sample,) positions in the store.
            recorded: (sample,) the store's own record of their checksums.

        Raises:
            StoreIncompleteError, StoreCorruptError: as `check`, for the first sample that has a fault.
        """
        self._require_size()
        starts, stops = self._places(samples)
        stored = checksums_at(self._content, stops)
        wrong = (computed_checksums(self._bytes, starts, stops) != stored) | (stored != recorded)
        for at in np.flatnonzero(wrong).tolist():
            self.check(int(samples[at]), int(recorded[at]))

    def unpack_together(self, samples: NDArray[np.int64], rows: NDArray[np.uint8], packing: Packing) -> bool:
        """Unpack samples that were checked; see `store.many_chunks.unpack_together`.

        Args:
            samples: (sample,) positions in the store.
            rows: (sample, size) is filled.
            packing: of the chunks.
        """
        return unpack_together(self._content, *self._places(samples), rows, packing)

    @property
    def _content(self) -> NDArray[np.uint8]:
        return np.frombuffer(self._view, np.uint8)

    def _places(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the (start, stop) of the samples' stored bytes, without their checksums."""
        offsets, lengths = self._index[samples - self._first].astype(np.int64).T
        return offsets, offsets + lengths - CRC_BYTES

    def _require_size(self) -> None:
        """Make sure that the file has its size still: reading beyond a file's end would end the process."""
        try:
            size = self._bytes.size()
        except OSError as error:
            raise self._unreadable(error) from None
        if size != len(self._bytes):
            raise self._corrupt("the shard was cut short or added to while it was open")

    def _unreadable(self, error: OSError) -> StoreIncompleteError:
        return StoreIncompleteError(
            f"{self._where}: the shard cannot be read ({error.strerror}).\n"
            "  Allow reading it, or fetch the store again (`dvc checkout` or `dvc pull`)."
        )

    def _corrupt(self, what: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"{self._where}: {what}.\n  `pipeline verify` lists all damage; fetch the store again, or extract it again."
        )
