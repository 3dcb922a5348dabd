"""A shard's bytes: Zarr v3 `sharding_indexed` with one chunk per sample, written and mapped here.

A shard is an index followed by chunks. The index has (offset, length) as two little-endian uint64
per chunk, and a CRC-32C; a chunk that was never written has 2⁶⁴−1 twice. A chunk is the array's
bytes, packed or not (`store.packing`), followed by its own CRC-32C. (Zarr v3 core specification,
codecs `sharding_indexed`, `bytes` and `crc32c`.)

Any Zarr v3 reader reads these files. We read them ourselves because a mapped shard costs a random
sample about one memcpy, a hundred times less than the general reader, which parses the index anew
for every access.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from store.errors import StoreCorruptError, StoreIncompleteError
from store.packing import Packing, pack

CRC_BYTES = 4
NEVER_WRITTEN = np.uint64(2**64 - 1)


def encode_chunk(values: NDArray[np.generic], packing: Packing) -> tuple[bytes, int]:
    """One sample's chunk and its CRC-32C.

    Args:
        values: of any shape, little-endian.
        packing: how its bytes are stored.

    Returns:
        The chunk, checksum included, and the checksum.
    """
    payload = pack(np.ascontiguousarray(values).tobytes(), packing)
    checksum = google_crc32c.value(payload)
    return payload + checksum.to_bytes(CRC_BYTES, "little"), checksum


def encode_shard(chunks: Sequence[bytes], capacity: int) -> bytes:
    """A whole shard: its index and its chunks. Fewer chunks than `capacity` leave the rest unwritten."""
    index = np.full((capacity, 2), NEVER_WRITTEN, dtype="<u8")
    lengths = np.array([len(chunk) for chunk in chunks], dtype="<u8")
    index[: len(chunks), 0] = index.nbytes + CRC_BYTES + np.cumsum(lengths) - lengths
    index[: len(chunks), 1] = lengths
    head = index.tobytes()
    return b"".join([head, google_crc32c.value(head).to_bytes(CRC_BYTES, "little"), *chunks])


class MappedShard:
    """A shard's file in memory, its index parsed and checked once.

    Raises:
        StoreIncompleteError: the file is missing.
        StoreCorruptError: the index does not match its checksum, or points outside the file.
    """

    def __init__(self, path: Path, *, capacity: int, name: str, first: int, last: int) -> None:
        self._where = f"`{name}` in {path} (samples {first}-{last})"
        self._first = first
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise StoreIncompleteError(
                f"{self._where}: the shard is missing.\n"
                "  Fetch it again (`dvc checkout` or `dvc pull`), or run `pipeline extract` again: "
                "what the memo holds is not recomputed."
            ) from None
        except OSError as error:
            raise StoreIncompleteError(
                f"{self._where}: the shard cannot be read ({error.strerror}).\n"
                "  Allow reading it, or fetch the store again (`dvc checkout` or `dvc pull`)."
            ) from None
        except ValueError:  # an empty file cannot be mapped
            raise self._corrupt("the shard is empty") from None
        self._view = memoryview(self._bytes)
        self._index = self._read_index(capacity, last - first + 1)

    def _read_index(self, capacity: int, written: int) -> NDArray[np.uint64]:
        size = capacity * 16
        if len(self._bytes) < size + CRC_BYTES:
            raise self._corrupt("the shard is cut short")
        head = self._bytes[:size]
        if google_crc32c.value(head) != int.from_bytes(self._bytes[size : size + CRC_BYTES], "little"):
            raise self._corrupt("the shard's index does not match its checksum")
        index = np.frombuffer(head, dtype="<u8").reshape(capacity, 2)[:written]
        if (index == NEVER_WRITTEN).any():
            raise self._corrupt("the shard lacks samples")
        ends = index[:, 0] + index[:, 1]
        if (ends > len(self._bytes)).any() or (index[:, 1] < CRC_BYTES).any():
            raise self._corrupt("the shard is cut short")
        if ends.max() != len(self._bytes):
            raise self._corrupt("the shard holds more than its samples")
        return index

    def payload(self, sample: int) -> memoryview:
        """A sample's stored bytes without their checksum, as a view into the file."""
        start, length = self._index[sample - self._first].tolist()
        return self._view[start : start + length - CRC_BYTES]

    def checksum(self, sample: int) -> int:
        """The checksum that the file gives for a sample's stored bytes."""
        start, length = self._index[sample - self._first].tolist()
        return int.from_bytes(self._bytes[start + length - CRC_BYTES : start + length], "little")

    def check(self, sample: int, recorded: int) -> None:
        """Hold a sample's bytes against their checksum, and that against the one recorded for the sample.

        Raises:
            StoreCorruptError: either differs, or the file was cut short since it was mapped.
        """
        if self._bytes.size() != len(self._bytes):  # reading beyond a file's end would end the process
            raise self._corrupt("the shard was cut short or added to while it was open")
        stored = bytes(self.payload(sample))  # google_crc32c takes nothing but bytes
        if google_crc32c.value(stored) != self.checksum(sample):
            raise self._corrupt(f"sample {sample} does not match its checksum")
        if self.checksum(sample) != recorded:
            raise self._corrupt(f"sample {sample} holds another sample's bytes")

    def _corrupt(self, what: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"{self._where}: {what}.\n  `pipeline verify` lists all damage; fetch the store again, or extract it again."
        )
