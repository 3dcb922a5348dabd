"""Read one of a store's sharded arrays: shards are mapped when they are needed, samples are checked once."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from store.arrays import packing_of
from store.description import Description
from store.disk.regular import MIB
from store.errors import StoreCorruptError, StoreIncompleteError, StoreVersionError
from store.files import StoreFiles
from store.format import chunk_path
from store.metadata import ArrayMetadata
from store.packing import Packing, require_unpacked_size, unpack
from store.shards import MappedShard

if sys.platform != "win32":
    import resource


class Checksums(Protocol):
    """Return the CRC-32C that a store records for the samples of one array."""

    def __call__(self, sample: int) -> int:
        """Return that of one sample."""

    def together(self, samples: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return those of several samples, (sample,)."""


MANY = 64
"""Number of samples from which they are checked and unpacked together."""

MAX_MAPPED = 4096
"""Largest number of shards of one array that stay mapped. Linux allows a process 65,530 mappings."""

FREELY_ALLOCATED = 64 * MIB
"""Largest result that is allocated before the sizes of the samples' chunks are compared with the promised one."""

SHARE_OF_FILES = 8
"""An array maps at most 1 / `SHARE_OF_FILES` of the files that the process may have open at once.

A mapped file counts as open.
"""


class ShardedArray:
    """Map the shards of one array when they are needed, and check its samples once.

    Args:
        files: of the store.
        metadata: of the array, checked by `store.arrays`.
        name: of the array.
        description: of the store.
    """

    def __init__(self, files: StoreFiles, metadata: ArrayMetadata, name: str, description: Description) -> None:
        self._files = files
        self._root = files.place
        self._name = name
        self._shape = metadata.shape[1:]
        self._samples = description.samples
        self._per_shard = description.samples_per_shard
        self._index_at_start = description.version == 1
        self._packing = packing_of(metadata)
        self._dtype = metadata.known_dtype
        self._checked = np.zeros(self._samples, dtype=np.bool_)
        self._mapped: OrderedDict[int, MappedShard] = OrderedDict()
        self._most_mapped = most_mapped()
        self.times_mapped = 0
        """The number of times a shard's file was opened."""

    def begin(self, indices: NDArray[np.int64]) -> None:
        """Begin to fetch what a later `read` of these samples needs. Here: nothing, the files are on this machine."""

    def read(self, indices: NDArray[np.int64], checksums: Checksums) -> NDArray[Any]:
        """Read samples, checking those that were not checked yet.

        Args:
            indices: (n,) positions in the store, all within it.
            checksums: returns the CRC-32C that the store records for samples of this array.

        Returns:
            (n, …) values of the array's own type.

        Raises:
            StoreVersionError: the values are stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        packing, dtype = self._packing, self._dtype
        if packing is None or dtype is None:
            raise StoreVersionError(
                f"{self._root}: `{self._name}` is stored in a way that this program does not know.\n"
                "  Update this program."
            )
        size = math.prod(self._shape) * dtype.itemsize
        if size * len(indices) > FREELY_ALLOCATED:
            self._require_size(indices, size, packing)
        out = np.empty((len(indices), *self._shape), dtype=dtype)
        rows = out.view(np.uint8).reshape(len(indices), size)
        self._check_mapped(indices, checksums)
        if self._unpack_together(indices, rows, packing):
            return out
        mapped = self.times_mapped
        for row, sample in zip(rows, indices.tolist(), strict=True):
            shard = self._mapped.get(sample // self._per_shard)
            if shard is None or self.times_mapped != mapped:  # a shard made room for another one: check it again
                shard = self._checked_shard(sample, checksums)
            try:
                unpack(shard.payload(sample), row, packing)
            except ValueError as error:
                raise self._damaged(sample, error) from None
        return out

    def run(self, start: int, stop: int, checksums: NDArray[np.uint32]) -> tuple[memoryview, list[int]]:
        """Return the stored bytes of samples that follow each other, after comparing them with their checksums.

        The file stays mapped only as long as the bytes are used.

        Args:
            start: position of the first sample.
            stop: position after the last one, in the same shard.
            checksums: (sample,) the CRC-32C that the store records for each.

        Returns:
            The chunks of the samples, each with its checksum, and the length of every chunk.

        Raises:
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        shard = self._map(start // self._per_shard)
        shard.check_together(np.arange(start, stop, dtype=np.int64), checksums)
        return shard.run(start, stop)

    def check(self, indices: NDArray[np.int64], checksums: Checksums) -> None:
        """Compare the stored bytes of samples with their checksums; a sample that passed is not checked again.

        Args:
            indices: (n,) positions in the store, all within it.
            checksums: returns the CRC-32C that the store records for samples of this array.

        Raises:
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        self._check_mapped(indices, checksums)

    def damaged_shards(self, indices: NDArray[np.int64], checksums: Checksums) -> list[int]:
        """Return the numbers of the shards of samples that are missing or damaged, in order.

        Args:
            indices: (n,) positions in the store, all within it.
            checksums: returns the CRC-32C that the store records for samples of this array.

        Raises:
            StoreError: the recorded checksums cannot be read, so it is not known.
        """
        damaged = []
        wanted = np.unique(indices)
        numbers = wanted // self._per_shard
        for number in np.unique(numbers).tolist():
            samples = wanted[numbers == number]
            recorded = checksums.together(samples)
            try:
                self.shard(number).check_together(samples, recorded)
            except (StoreCorruptError, StoreIncompleteError):
                damaged.append(number)
        return damaged

    def _check_mapped(self, indices: NDArray[np.int64], checksums: Checksums) -> None:
        unchecked = indices[~self._checked[indices]]
        if len(unchecked) < MANY:
            for sample in unchecked.tolist():
                self._checked_shard(sample, checksums)
            return
        numbers = unchecked // self._per_shard
        for number in np.unique(numbers).tolist():
            samples = unchecked[numbers == number]
            self.shard(number).check_together(samples, checksums.together(samples))
            self._checked[samples] = True

    def _unpack_together(self, indices: NDArray[np.int64], rows: NDArray[np.uint8], packing: Packing) -> bool:
        """Unpack many samples of one mapped shard. Return False if they have to be unpacked one by one."""
        if len(indices) < MANY or int(indices[0]) // self._per_shard != int(indices[-1]) // self._per_shard:
            return False
        in_order = (indices == int(indices[0]) + np.arange(len(indices))).all()
        shard = self._mapped.get(int(indices[0]) // self._per_shard)
        return bool(in_order) and shard is not None and shard.unpack_together(indices, rows, packing)

    def _checked_shard(self, sample: int, checksums: Checksums) -> MappedShard:
        """Return the shard of a sample whose bytes were compared with their checksums, now or since it was mapped."""
        shard = self.shard(sample // self._per_shard)
        if not self._checked[sample]:
            shard.check(sample, checksums(sample))
            self._checked[sample] = True
        return shard

    def _require_size(self, indices: NDArray[np.int64], size: int, packing: Packing) -> None:
        """Compare the sizes that the chunks of samples have or claim with the promised one. Memory depends on it."""
        for sample in indices.tolist():
            try:
                require_unpacked_size(self.shard(sample // self._per_shard).payload(sample), size, packing)
            except ValueError as error:
                raise self._damaged(sample, error) from None

    def _damaged(self, sample: int, error: ValueError) -> StoreCorruptError:
        where = f"{self._root}: `{self._name}` of sample {sample}"
        return StoreCorruptError(f"{where}: {error}.\n  Extract the store again.")

    def shard(self, number: int) -> MappedShard:
        """Return a shard, mapped now or earlier.

        Raises:
            StoreIncompleteError, StoreCorruptError: it is missing, or its index is damaged.
        """
        shard = self._mapped.get(number)
        if shard is not None:
            return shard
        shard = self._map(number)
        self._mapped[number] = shard
        self.times_mapped += 1
        while len(self._mapped) > self._most_mapped:
            given_back, _ = self._mapped.popitem(last=False)
            start = given_back * self._per_shard
            self._checked[start : start + self._per_shard] = False  # it may be another file when it is mapped again
        return shard

    def _map(self, number: int) -> MappedShard:
        """Map a shard."""
        first = number * self._per_shard
        return MappedShard(
            path := self.path(number),
            shown=self._files.shown(path),
            capacity=self._per_shard,
            name=self._name,
            first=first,
            last=min(first + self._per_shard, self._samples) - 1,
            index_at_start=self._index_at_start,
        )

    def path(self, number: int) -> Path:
        """Return the path of a shard."""
        return chunk_path(self._files.folder, self._name, number, 1 + len(self._shape))


def most_mapped() -> int:
    """Return the number of shards that an array may keep mapped in this process."""
    if sys.platform == "win32":
        return MAX_MAPPED
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MAX_MAPPED
    return max(1, min(MAX_MAPPED, allowed // SHARE_OF_FILES))
