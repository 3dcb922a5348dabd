"""Read one sharded array of a remote store.

A shard that is kept in the cache is fetched whole, mapped, and read like a local one. Samples of other shards are
fetched by the range of their bytes, those of a batch at the same time, and forgotten afterwards.

The first few samples that are read are fetched singly too, so that looking at one sample of a large store downloads
one sample. Once more are read, or many at once, this counts as a pass over the store: all shards that will be kept are
fetched in advance, in their order, while those that are needed now come first.

`begin` sends the requests for a later batch, so that the link works while the batches before it are used.

Bytes that do not match their checksums are fetched once again. Then they are an error.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
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
Reading = Callable[[NDArray[np.int64], Checksums], T]

FEW = 64
"""Samples of an array that are read before its shards are fetched, but not more than an eighth of the store."""

MANY = 16
"""Samples of one reading that are no look at the store any more."""

AHEAD = 64 * MIB
"""Bytes of single samples of an array that are under way at the same time."""

STALE = 16
"""Calls of `begin` after which samples that were begun and not read are given up."""

ATTEMPTS = 8
"""Number of times that shards are fetched again: those of a full cache may be removed before they are mapped."""

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
        self._shards = -(-self._samples // self._per_shard)
        self._asked = 0
        self._in_advance = False
        self._begun: dict[tuple[int, int, int], tuple[int, Future[Answer]]] = {}
        self._times_begun = 0
        self._sizes: dict[int, Future[Answer]] = {}
        self._awaited: set[int] = set()
        self._process = os.getpid()
        self._indexes: OrderedDict[int, NDArray[np.uint64]] = OrderedDict()

    def begin(self, indices: NDArray[np.int64]) -> None:
        """Send the requests for samples that are read later."""
        absent = [number for number in self._absent(indices) if 0 <= number < self._shards]
        if not absent or self._packing is None or self._dtype is None or self._remote.cache.offline:
            return
        self._forget_after_fork()
        single = self._single(absent, len(indices))
        for number in absent:
            if number not in single and number not in self._awaited:
                self._awaited.add(number)
                self._remote.begin_to_fetch(self.path(number))
        if not single:
            return
        self._times_begun += 1
        for key, (time, _) in list(self._begun.items()):
            if self._times_begun - time > STALE:
                del self._begun[key]
        under_way = sum(stop - start for _, start, stop in list(self._begun))
        wanted = np.unique(indices[(indices >= 0) & (indices < self._samples)])
        samples = wanted[np.isin(wanted // self._per_shard, list(single))]
        if any(self._needs_index(number) for number in single):
            self._ask_for_sizes(single)
            return
        for number, one in self._ranges(samples):
            key, size = (number, one.start, one.stop), one.stop - one.start
            if key not in self._begun and under_way + size <= AHEAD:
                under_way += size
                self._begun[key] = self._times_begun, self._remote.read(self.path(number), one.start, one.stop)

    def read(self, indices: NDArray[np.int64], checksums: Checksums) -> NDArray[Any]:
        """Read samples; see `ShardedArray.read`.

        Raises:
            StoreUnreachableError: they cannot be fetched.
        """
        single = self._fetched_singly(indices)
        if single is None:
            return self._with_second_try(super().read, indices, checksums)
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
            out[~single] = self._with_second_try(super().read, indices[~single], checksums)
        return out

    def check(self, indices: NDArray[np.int64], checksums: Checksums) -> None:
        """Check the stored bytes of samples; see `ShardedArray.check`."""
        single, kept = self._fetched_singly(indices), indices
        if single is not None:
            kept = indices[~single]
            for _ in self._payloads(np.unique(indices[single]), checksums):
                pass
        self._with_second_try(super().check, kept, checksums)

    def shard(self, number: int) -> MappedShard:
        """Return a shard that is kept, fetched and mapped now or earlier."""
        if number not in self._mapped:
            self._remote.fetch(self.path(number))
            self._awaited.discard(number)
        return super().shard(number)

    def _forget_after_fork(self) -> None:
        """Forget the requests of this process's parent: nobody answers them here."""
        if self._process != os.getpid():
            self._process, self._begun, self._sizes, self._awaited = os.getpid(), {}, {}, set()

    def _fetched_singly(self, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Return (n,) True for samples that are fetched by themselves; fetch the shards of the others.

        None if there are no such samples: all are read from mapped shards, as in a local store.
        """
        absent = self._absent(indices)
        if not absent:
            return None
        self._forget_after_fork()
        single = self._single(absent, len(indices))
        if not self._is_look(len(indices)) and not self._in_advance:
            self._in_advance = True
            for number in range(self._kept()):
                self._remote.fetch_in_advance(self.path(number), order=number)
        self._asked += len(indices)
        self._remote.fetch(*(self.path(number) for number in absent if number not in single))
        return np.isin(indices // self._per_shard, list(single)) if single else None

    def _absent(self, indices: NDArray[np.int64]) -> list[int]:
        """Return the numbers of the shards of samples that are not mapped, in order.

        Every read asks this. It costs nothing once all shards are mapped.
        """
        if len(self._mapped) == self._shards:
            return []
        numbers = set((indices // self._per_shard).tolist())
        return sorted(number for number in numbers if number not in self._mapped)

    def _single(self, absent: list[int], count: int) -> set[int]:
        """Return the shards that are not fetched as a whole for a reading of `count` samples."""
        kept, is_look = self._kept(), self._is_look(count)
        return {number for number in absent if number >= kept or (is_look and not self.path(number).exists())}

    def _is_look(self, count: int) -> bool:
        return count < MANY and self._asked + count <= min(FEW, self._samples // 8)

    def _kept(self) -> int:
        return self._remote.kept_shards(self._name)

    def _with_second_try(self, read: Reading[T], indices: NDArray[np.int64], checksums: Checksums) -> T:
        """Return what `read` returns. If bytes are damaged, fetch the damaged shards again and read once more.

        Shards that another process has removed from the cache just now are fetched up to `ATTEMPTS` times.
        """
        for _ in range(ATTEMPTS):
            try:
                return read(indices, checksums)
            except (StoreCorruptError, StoreIncompleteError):
                numbers = np.unique(indices // self._per_shard).tolist()
                again = [number for number in numbers if self._is_gone(number)]
                again = again or [number for number in self.damaged_shards(indices, checksums) if self._drop(number)]
                if not again:
                    raise
                self._remote.fetch(*(self.path(number) for number in again))
        return read(indices, checksums)

    def _is_gone(self, number: int) -> bool:
        return number not in self._mapped and not self.path(number).exists()

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
                chunk: bytes | memoryview = memoryview(content)[start - wanted.start : stop - wanted.start]
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
            under_way.append((number, wanted, self._answer(number, wanted)))
            waiting += wanted.stop - wanted.start
            while waiting > AHEAD:
                first = under_way.popleft()
                waiting -= first[1].stop - first[1].start
                yield first[1], self._remote.result_of(self.path(first[0]), first[2]).content
        for number, wanted, answer in under_way:
            yield wanted, self._remote.result_of(self.path(number), answer).content

    def _answer(self, number: int, wanted: FileRange) -> Future[Answer]:
        """Return the answer to come with the bytes of a range, which may have been begun."""
        _, answer = self._begun.pop((number, wanted.start, wanted.stop), (0, None))
        return answer or self._remote.read(self.path(number), wanted.start, wanted.stop)

    def _ranges(self, samples: NDArray[np.int64]) -> Iterator[tuple[int, FileRange]]:
        """Yield (number of the shard, range) for samples, shard by shard."""
        numbers = samples // self._per_shard
        self._fetch_indexes(np.unique(numbers).tolist())
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

    def _needs_index(self, number: int) -> bool:
        """Return True if the places of a shard's chunks are not known."""
        follows_from_size = self._packing == "raw" and self._dtype is not None and not self._index_at_start
        return not follows_from_size and number not in self._indexes

    def _ask_for_sizes(self, numbers: Iterable[int]) -> None:
        """Ask for the sizes of shards whose indexes are not known, of all at the same time."""
        for number in numbers:
            if self._needs_index(number) and number not in self._sizes:
                self._sizes[number] = self._remote.begin_size(self.path(number))

    def _fetch_indexes(self, numbers: list[int]) -> None:
        """Fetch the indexes of shards, of `MOST_INDEXES` at the same time."""
        missing = [number for number in numbers if self._needs_index(number)][:MOST_INDEXES]
        self._ask_for_sizes(missing)
        places = {}
        for number in missing:
            file = self.path(number)
            end = self._remote.result_of(file, self._sizes.pop(number)).size
            start, stop = index_place(self._per_shard, end, at_start=self._index_at_start)
            places[number] = end, self._remote.read(file, start, stop) if start >= 0 else None
        for number, (end, answer) in places.items():
            file = self.path(number)
            table = b"" if answer is None else self._remote.result_of(file, answer).content
            self._keep_index(number, table, end)

    def _index(self, number: int) -> NDArray[np.uint64]:
        """Return the (offset, length) of the chunks of a shard, fetched now or earlier."""
        if number not in self._indexes:
            self._fetch_indexes([number])
        return self._indexes[number]

    def _keep_index(self, number: int, table: bytes, end: int) -> None:
        written = min(self._per_shard, self._samples - number * self._per_shard)
        try:
            index = parse_index(table, self._per_shard, written, end=end, at_start=self._index_at_start)
        except ValueError as error:
            raise StoreCorruptError(
                f"`{self._name}` in {self._remote.shown(self.path(number))}: {error}.\n"
                "  Copy the store to its address again."
            ) from None
        self._indexes[number] = index
        while len(self._indexes) > MOST_INDEXES:
            self._indexes.popitem(last=False)


def _is_sound(chunk: bytes | memoryview, recorded: int) -> bool:
    """Return True if a chunk has the checksum at its end, and this is the recorded one."""
    found: int = google_crc32c.value(bytes(chunk[:-CRC_BYTES]))  # takes no views
    return int.from_bytes(chunk[-CRC_BYTES:], "little") == recorded == found
