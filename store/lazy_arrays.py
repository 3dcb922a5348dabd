"""Give a store's arrays of samples as lazy dask arrays, one chunk per shard.

Nothing is read until a result is computed. All bytes are then read through the store, so that missing or damaged bytes
raise its errors. Zarr's own reader, which `dask.array.from_zarr` uses, gives zeros in place of a missing shard. A
selection of samples is passed on to the store: `arrays["image"][7]` reads one sample and not its shard.

Arrays that this program cannot decode are left out (`AttentionStore.read_array` says of each why).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from store.arrays import packing_of

if TYPE_CHECKING:
    import dask.array

    from store.reader import AttentionStore

__all__ = ["ArrayOfSamples", "dask_arrays", "lazily", "readable_arrays", "selected"]


class ArrayOfSamples:
    """Read one array of a store by slices, as dask and other libraries ask for them.

    Args:
        store: the store.
        name: of an array with one chunk per sample.
    """

    def __init__(self, store: AttentionStore, name: str) -> None:
        self._store = store
        self._name = name
        self.shape = store.arrays[name].shape
        self.dtype = store.arrays[name].dtype
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read the samples that the first index selects, and apply the other indices to them.

        Args:
            key: an integer, a slice, a list of integers, or a tuple of them, one for each of the first dimensions.

        Raises:
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        first, *others = key if isinstance(key, tuple) else (key,)
        samples = selected(self.shape[0], first)
        read = self._store.read_array(self._name, np.atleast_1d(samples))
        return read[(slice(None) if samples.ndim else 0, *others)]

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        """Return what names the values: dask gives equal arrays of equal stores equal names."""
        return (type(self).__name__, self._store.description.contents_sha256, self._name)


def dask_arrays(store: AttentionStore) -> dict[str, dask.array.Array]:
    """Return the arrays of samples by name: `image`, `mask`, `attention` and further ones.

    Args:
        store: the store. If dask computes in other processes, they open it again under the same path.

    Returns:
        Arrays of (sample, …) with the types that the store has. `attention` is in units of uniform attention: multiply
        it by `store.scale_factor` for probabilities.
    """
    per_shard = store.description.samples_per_shard
    return {
        name: lazily(ArrayOfSamples(store, name), chunks=(per_shard, *store.arrays[name].shape[1:]))
        for name in readable_arrays(store)
    }


def selected(count: int, key: Any) -> NDArray[np.int64]:
    """Return the positions that an index selects.

    Args:
        count: number of positions.
        key: an integer, which gives an array without dimensions; or a slice, or integers.
    """
    if isinstance(key, slice):  # not by way of all positions: they may be ten million
        chosen = range(count)[key]
        return np.arange(chosen.start, chosen.stop, chosen.step, dtype=np.int64)
    return np.asarray(range(count)[key] if isinstance(key, int) else np.arange(count)[key], np.int64)


def lazily(source: Any, *, chunks: tuple[int, ...]) -> dask.array.Array:
    """Return a dask array that reads from a source.

    Args:
        source: has `shape`, `dtype`, `ndim`, and values by slices.
        chunks: shape of a chunk.
    """
    import dask.array as da

    nothing = np.empty((0,) * source.ndim, source.dtype)  # without it, dask reads from the source to see its type
    array: dask.array.Array = da.from_array(source, chunks=chunks, meta=nothing)
    return array


def readable_arrays(store: AttentionStore) -> list[str]:
    """Return the names of the arrays of samples that this program can decode."""
    return [
        name
        for name in store.description.sharded
        if packing_of(store.arrays[name]) is not None and store.arrays[name].known_dtype is not None
    ]
