"""Read one sharded array of a remote store.

A shard that is kept in the cache is fetched whole, mapped, and read like a local one. Samples of other shards are
fetched by the range of their bytes, those of a batch at the same time, and forgotten afterwards.

The first few samples that are read are fetched singly too, so that looking at one sample of a large store downloads
one sample. Once more are read, this counts as a pass over the store: all shards that will be kept are fetched in
advance, in their order, while those that are needed now come first.

Bytes that do not match their checksums are fetched once again. Then they are an error.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from store.disk.regular import MIB
from store.errors import StoreCorruptError, StoreIncompleteError
from store.packing import require_unpacked_size, unpack
from store.remote.connection import Answer
from store.remote.ranges import FileRange, joined_ranges
from store.sharded_array import Checksums, ShardedArray
from store.shards import CRC_BYTES, MappedShard, index_place, parse_index

if TYPE_CHECKING:
    from store.description import Description
    from store.metadata import ArrayMetadata
    from store.remote.files import RemoteFiles

__all__ = ["RemoteShardedArray"]

T = TypeVar("T")

FEW = 64
"""Samples of an array that are read before its shards are fetched, but not more than an eighth of the store."""

AHEAD = 64 * MIB
"""Bytes of single samples that are under way at the same time."""

MOST_INDEXES = 1024
"""Indexes of shards that are kept in memory."""


class RemoteShardedArray(ShardedArray):
    """Fetch shards or samples of one array when they are needed, and check them.

    Args:
        files: of the store.
        metadata: of the array, checked by `store.arrays`.
        name: of the array.
        description: of the store.
    """

    def __init__(self, files: RemoteFiles, metadata: ArrayMetadata, name: str, description: Description) -> None:
        super().__init__(files, metadata, name, description)
        self._remote = files
        self._asked = 0
        self._indexes: OrderedDict[int, NDArray[np.uint64]] = OrderedDict()

    def read(self, indices: NDArray[np.int64], checksums: Checksums) -> NDArray[Any]:
        """Read samples; see `ShardedArray.read`.

        Raises:
            StoreUnreachableError: they cannot be fetched.
        """
        single = self._fetched_singly(indices)
        if not single.any():
            return self._with_second_try(indices, lambda: super(RemoteShardedArray, self).read(indices, checksums))
        packing, dtype = self._packing, self._dtype
        if packing is None or dtype is None:
            return super().read(indices[:0], checksums)  # raises
        size = math.prod(self._shape) * dtype.itemsize
        out: NDArray[Any] | None = None
        rows_of: dict[int, list[int]] = {}
        for row, sample in enumerate(indices.tolist()):
            rows_of.setdefault(sample, []).append(row)
        for sample, payload in self._payloads(np.unique(indices[single]), checksums):
            try:
                require_unpacked_size(memoryview(payload), size, packing)  # before memory is reserved
                out = np.empty((len(indices), *self._shape), dtype=dtype) if out is None else out
                rows = out.view(np.uint8).reshape(len(indices), size)
                first, *others = rows_of[sample]
                unpack(memoryview(payload), rows[first], packing)
            except ValueError as error:
                raise self._damaged(sample, error) from None
            for other in others:
                rows[other] = rows[first]
        assert out is not None  # noqa: S101 - for the type checker: some sample was fetched singly
        if not single.all():
            kept = indices[~single]
            out[~single] = self._with_second_try(kept, lambda: super(RemoteShardedArray, self).read(kept, checksums))
        return out

    def check(self, indices: NDArray[np.int64], checksums: Checksums) -> None:
        """Check the stored bytes of samples; see `ShardedArray.check`."""
        single = self._fetched_singly(indices)
        for _ in self._payloads(np.unique(indices[single]), checksums):
            pass
        kept = indices[~single]
        self._with_second_try(kept, lambda: super(RemoteShardedArray, self).check(kept, checksums))

    def shard(self, number: int) -> MappedShard:
        """Return a shard that is kept, fetched and mapped now or earlier."""
        if number not in self._mapped:
            self._remote.fetch(self.path(number))
        return super().shard(number)

    def _fetched_singly(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) True for samples that are fetched by themselves; fetch the shards of the others."""
        numbers = indices // self._per_shard
        needed = np.unique(numbers)
        absent = [number for number in needed.tolist() if number not in self._mapped]
        if not absent:
            return np.zeros(len(indices), np.bool_)
        kept = self._remote.kept_shards(self._remote.shard_bytes())
        few = self._asked + len(indices) <= min(FEW, self._samples // 8)
        if not few and self._asked <= min(FEW, self._samples // 8):
            for number in range(kept):
                self._remote.fetch_in_advance(self.path(number), order=number)
        self._asked += len(indices)
        single = [number for number in absent if number >= kept or (few and not self.path(number).exists())]
        self._remote.fetch(*(self.path(number) for number in absent if number not in set(single)))
        return np.isin(numbers, single)

    def _with_second_try(self, indices: NDArray[np.int64], read: Callable[[], T]) -> T:
        """Return what `read` returns. If bytes are damaged, fetch their shards again and read once more."""
        try:
            return read()
        except (StoreCorruptError, StoreIncompleteError):
            again = [number for number in np.unique(indices // self._per_shard).tolist() if self._drop(number)]
            if not again:
                raise
            self._remote.fetch(*(self.path(number) for number in again))
        return read()

    def _drop(self, number: int) -> bool:
        """Forget a shard and remove it from the cache. Return False if that was done before."""
        self._mapped.pop(number, None)
        self._checked[number * self._per_shard : (number + 1) * self._per_shard] = False
        return self._remote.fetch_again(self.path(number))

    def _payloads(self, samples: NDArray[np.int64], checksums: Checksums) -> Iterator[tuple[int, bytes | memoryview]]:
        """Yield every sample and its stored bytes without their checksum, after comparing them with it.

        Raises:
            StoreCorruptError: they are damaged, also when they are fetched again.
        """
        for wanted, content in self._fetched(samples):
            for sample, start, stop in wanted.chunks:
                chunk = content[start - wanted.start : stop - wanted.start]
                if not _is_sound(chunk, checksums(sample)):
                    self._indexes.pop(sample // self._per_shard, None)
                    chunk = self._fetched_alone(sample)
                    if not _is_sound(chunk, checksums(sample)):
                        raise StoreCorruptError(
                            f"`{self._name}` in {self._remote.shown(self.path(sample // self._per_shard))}: sample "
                            f"{sample} does not match its checksum.\n"
                            "  `pipeline verify` lists all damage; copy the store to its address again."
                        )
                yield sample, memoryview(chunk)[:-CRC_BYTES]

    def _fetched_alone(self, sample: int) -> bytes:
        file, (start, stop) = self.path(sample // self._per_shard), self._place(sample)
        return self._remote.result_of(file, self._remote.read(file, start, stop)).content

    def _fetched(self, samples: NDArray[np.int64]) -> Iterator[tuple[FileRange, bytes]]:
        """Yield ranges and their bytes, in order; later ranges are under way meanwhile."""
        under_way: deque[tuple[int, FileRange, Future[Answer]]] = deque()
        waiting = 0
        for number, wanted in self._ranges(samples):
            under_way.append((number, wanted, self._remote.read(self.path(number), wanted.start, wanted.stop)))
            waiting += wanted.stop - wanted.start
            while waiting > AHEAD:
                first = under_way.popleft()
                waiting -= first[1].stop - first[1].start
                yield first[1], self._remote.result_of(self.path(first[0]), first[2]).content
        for number, wanted, answer in under_way:
            yield wanted, self._remote.result_of(self.path(number), answer).content

    def _ranges(self, samples: NDArray[np.int64]) -> Iterator[tuple[int, FileRange]]:
        """Yield (number of the shard, range) for samples, shard by shard."""
        numbers = samples // self._per_shard
        for number in np.unique(numbers).tolist():
            places = [(sample, *self._place(sample)) for sample in samples[numbers == number].tolist()]
            for wanted in joined_ranges(places):
                yield number, wanted

    def _place(self, sample: int) -> tuple[int, int]:
        """Return (first byte, byte after the last one) of a sample's chunk in its shard.

        Chunks lie one after the other. So the places of chunks that are not packed follow from their size, and no index
        is fetched for them.
        """
        number, position = divmod(sample, self._per_shard)
        if self._packing == "raw" and self._dtype is not None and not self._index_at_start:
            size = math.prod(self._shape) * self._dtype.itemsize + CRC_BYTES
            return position * size, (position + 1) * size
        start, length = self._index(number)[position].tolist()
        return start, start + length

    def _index(self, number: int) -> NDArray[np.uint64]:
        """Return the (offset, length) of the chunks of a shard, fetched now or earlier."""
        if (index := self._indexes.get(number)) is not None:
            return index
        file = self.path(number)
        end = self._remote.size(file)
        start, stop = index_place(self._per_shard, end, at_start=self._index_at_start)
        written = min(self._per_shard, self._samples - number * self._per_shard)
        table = b""
        if start >= 0:
            table = self._remote.result_of(file, self._remote.read(file, start, stop)).content
        try:
            index = parse_index(table, self._per_shard, written, end=end, at_start=self._index_at_start)
        except ValueError as error:
            raise StoreCorruptError(
                f"`{self._name}` in {self._remote.shown(file)}: {error}.\n  Copy the store to its address again."
            ) from None
        self._indexes[number] = index
        if len(self._indexes) > MOST_INDEXES:
            self._indexes.popitem(last=False)
        return index


def _is_sound(chunk: bytes | memoryview, recorded: int) -> bool:
    """Return True if a chunk has the checksum at its end, and this is the recorded one."""
    payload = bytes(chunk[:-CRC_BYTES])
    found: int = google_crc32c.value(payload)
    return int.from_bytes(chunk[-CRC_BYTES:], "little") == recorded == found
