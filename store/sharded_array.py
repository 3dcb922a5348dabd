"""One of a store's sharded arrays, for reading: shards are mapped as they are needed, samples checked once."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from store.errors import StoreCorruptError
from store.format import Description, chunk_path
from store.packing import Packing, unpack
from store.shards import MappedShard

PACKINGS: dict[tuple[str, ...], Packing] = {
    ("bytes", "crc32c"): "raw",
    ("bytes", "zstd", "crc32c"): "zstd",
    ("bytes", "blosc", "crc32c"): "lz4",
}
"""What a chunk passes through, by its codecs in the metadata."""

if sys.platform != "win32":
    import resource

MAX_MAPPED = 4096
"""Shards of one array kept mapped at most; Linux allows a process 65,530 mappings."""

SHARE_OF_FILES = 8
"""One array keeps at most this part of the files that the process may have open: a mapped file counts as one."""


class ShardedArray:
    """One of a store's sharded arrays: maps shards as they are needed and checks samples once."""

    def __init__(self, root: Path, array: zarr.Array[Any], name: str, description: Description) -> None:
        self._root = root
        self._name = name
        self._shape = array.shape[1:]
        self._dtype = array.dtype.newbyteorder("<")
        self._samples = description.samples
        self._per_shard = description.samples_per_shard
        self._packing = self._packing_of(array)
        self._checked = np.zeros(self._samples, dtype=np.bool_)
        self._mapped: OrderedDict[int, MappedShard] = OrderedDict()
        self._most_mapped = most_mapped()
        self.times_mapped = 0
        """How many times a shard's file was opened."""

    def read(self, indices: NDArray[np.int64], checksums: NDArray[np.uint32]) -> NDArray[Any]:
        """(len(indices), …) samples; `checksums` is the store's column for this array."""
        out = np.empty((len(indices), *self._shape), dtype=self._dtype)
        rows = out.view(np.uint8).reshape(len(indices), math.prod(self._shape) * self._dtype.itemsize)
        if not self._checked[indices].all():
            self._check(indices, checksums)
        for row, sample in zip(rows, indices.tolist(), strict=True):
            try:
                unpack(self.shard(sample // self._per_shard).payload(sample), row, self._packing)
            except ValueError as error:
                where = f"{self._root}: `{self._name}` of sample {sample}"
                raise StoreCorruptError(f"{where}: {error}.\n  Extract the store again.") from None
        return out

    def _check(self, indices: NDArray[np.int64], checksums: NDArray[np.uint32]) -> None:
        """Check the samples that have not been checked yet."""
        for sample in np.unique(indices[~self._checked[indices]]).tolist():
            self.shard(sample // self._per_shard).check(sample, int(checksums[sample]))
            self._checked[sample] = True

    def shard(self, number: int) -> MappedShard:
        """A shard, mapped.

        Raises:
            StoreIncompleteError, StoreCorruptError: it is missing, or its index is damaged.
        """
        shard = self._mapped.get(number)
        if shard is not None:
            return shard
        first = number * self._per_shard
        shard = MappedShard(
            chunk_path(self._root, self._name, number),
            capacity=self._per_shard,
            name=self._name,
            first=first,
            last=min(first + self._per_shard, self._samples) - 1,
        )
        self._mapped[number] = shard
        self.times_mapped += 1
        while len(self._mapped) > self._most_mapped:
            given_back, _ = self._mapped.popitem(last=False)
            start = given_back * self._per_shard
            self._checked[start : start + self._per_shard] = False  # it may be another file when it is mapped again
        return shard

    def _packing_of(self, array: zarr.Array[Any]) -> Packing:
        """How chunks are packed; refuses what `store.shards` cannot read."""
        metadata: dict[str, Any] = array.metadata.to_dict()
        sharding = metadata["codecs"][0]
        inner = [codec["name"] for codec in sharding.get("configuration", {}).get("codecs", [])]
        chunks = (array.chunks, getattr(array, "shards", None))
        expected = ((1, *self._shape), (self._per_shard, *self._shape))
        packing = PACKINGS.get(tuple(inner))
        if packing is None or chunks != expected:
            raise StoreCorruptError(
                f"{self._root}: `{self._name}` is laid out in a way that version 1 does not know "
                f"(codecs {inner}, chunks {chunks[0]}, shards {chunks[1]}).\n  Extract the store again."
            )
        return packing


def most_mapped() -> int:
    """How many shards an array may keep mapped in this process."""
    if sys.platform == "win32":
        return MAX_MAPPED
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MAX_MAPPED
    return max(1, min(MAX_MAPPED, allowed // SHARE_OF_FILES))
