"""Read a store: one sample, or a batch of any samples in any order.

Shards are memory-mapped on first use; those of a store at an address are fetched into a cache before. So opening reads
only a few small files, and reading a random sample takes about as long as copying its bytes. A sample's chunk is
checked against its checksums the first time it is read. Missing or damaged data is an error that names array, shard and
samples, never zeros.

Several processes and machines may read one store at the same time; nothing is ever written. A store that is sent to
another process (pickled) is opened again there, unless another store is at the path by then. If another store replaces
the one at the path, shards that were mapped before can still be read. Reading anything else raises an error, so a batch
never mixes the two stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from store.arrays import Arrays, read_arrays
from store.columns import Columns, RecordedChecksums
from store.description import Description
from store.errors import (
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
    StoreUnreachableError,
    UsageError,
)
from store.facts import StoreFacts
from store.files import StoreFiles, files_of
from store.format import OPTIONAL_COLUMNS
from store.records import Batch, Sample
from store.remote.address import RemoteAddress, place_of
from store.reopening import opened_again
from store.root import describe, is_store
from store.sharded_array import Checksums, ShardedArray

if TYPE_CHECKING:
    import dask.array
    import xarray
    import zarr

__all__ = ["AttentionStore", "is_store"]

OPENING_ATTEMPTS = 3
"""The number of times that opening is tried when the store is being replaced."""

Indices = Sequence[int] | NDArray[np.integer[Any]]


class AttentionStore(StoreFacts):
    """Read an attention store on a local path or at an address. Open one with `AttentionStore.open`."""

    def __init__(self, files: StoreFiles, description: Description, arrays: Arrays, root: bytes) -> None:
        self.path = files.place
        """The path of the store, or its address."""
        self.files = files
        self.description = description
        self.arrays = arrays
        """The metadata of every array that the description lists, by name."""
        self._root = root
        self.columns = Columns(files, arrays, description, self._require_same_store)
        files.prepare(description, [file for name in description.columns_sha256 for file in self.columns.files(name)])
        self.columns.require_rows("checksum")
        self._sharded = {name: files.open_array(arrays[name], name, description) for name in description.sharded}
        self._require_same_store()

    @classmethod
    def open(cls, path: str | Path | RemoteAddress) -> AttentionStore:
        """Open a store and check its description and its arrays' metadata; no sample is read.

        Args:
            path: a path on this machine, or an address such as `s3://bucket/isic.zarr`.

        Raises:
            UsageError: the address cannot be used, or the extra `remote` is not installed.
            StoreError: there is no store, it is damaged or of another version, or its server cannot be reached.
        """
        place = place_of(path)
        files = files_of(place)
        for _ in range(OPENING_ATTEMPTS - 1):
            root = files.root_bytes()
            try:
                return cls._open_once(files, root)
            except StoreUnreachableError:
                raise
            except StoreError:
                if files.root_bytes() == root and not files.fetch_again(files.folder / "zarr.json"):
                    raise  # the error has another cause than a replacement
        return cls._open_once(files, files.root_bytes())

    @classmethod
    def _open_once(cls, files: StoreFiles, root: bytes) -> AttentionStore:
        description = describe(files.place, root)
        return cls(files, description, read_arrays(files, description), root)

    def __reduce__(self) -> tuple[Any, ...]:
        return (opened_again, (self.path, self.description.contents_sha256))

    def __repr__(self) -> str:
        return f"AttentionStore({str(self.path)!r}, samples={len(self)}, heads={len(self.heads)})"

    def __len__(self) -> int:
        return self.description.samples

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; see `sample`."""
        return self.sample(index)

    def sample(self, index: int, *, maps: bool = True) -> Sample:
        """Read one sample.

        Args:
            index: its position; negative positions count from the end.
            maps: read the maps too; without them `attention` has no heads, (0, grid_row, grid_column).

        Raises:
            IndexError: there is no such sample.
            StoreIncompleteError, StoreCorruptError: its bytes are missing or damaged.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: no sample {index}; the store holds {len(self)}")
        index %= len(self)
        batch = self.read([index], maps=maps)
        further: dict[str, Any] = {
            name: {"str": str, "int32": int}[kind](self.columns.value(name, index))
            for name, kind in OPTIONAL_COLUMNS.items()
            if self.has(name)
        }
        return Sample(
            id=str(self.columns.value("sample", index)),
            image=batch.image[0],
            mask=batch.mask[0],
            attention=batch.attention[0],
            digest=str(self.columns.value("digest", index)),
            height=int(self.columns.value("height", index)),
            width=int(self.columns.value("width", index)),
            group=str(self.columns.value("group", index)),
            labelled=bool(self.columns.value("labelled", index)),
            instances=self.instances([index])[0] if self.has("instances") else None,
            **further,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def read(self, indices: Indices, *, maps: bool = True) -> Batch:
        """Read several samples, stacked in the order of `indices`.

        Args:
            indices: positions in the store, from 0; any order, repeats allowed.
            maps: read the maps too; without them `attention` has no heads, (sample, 0, grid_row, grid_column).

        Raises:
            IndexError: a position is outside the store.
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        self.begin(wanted, maps=maps)
        return Batch(
            indices=wanted,
            image=self.read_array("image", wanted),
            mask=self.read_array("mask", wanted),
            attention=self.read_array("attention", wanted) if maps else self._no_maps(len(wanted)),
        )

    def _no_maps(self, count: int) -> NDArray[np.float16]:
        """Return maps of no heads for so many samples."""
        return np.empty((count, 0, *self.arrays["attention"].shape[2:]), dtype=np.float16)

    def begin(self, indices: Indices, *, maps: bool = True) -> None:
        """Begin to fetch what a later `read` of these samples needs, if the store is at an address. Nothing is checked.

        Reading a store that is larger than its cache is faster if the batches after the next one are begun too.

        Args:
            indices: positions in the store, from 0; those outside it are ignored.
            maps: the maps will be read too.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        for name in ("image", "mask", "attention") if maps else ("image", "mask"):
            self._sharded[name].begin(wanted)

    def instances(self, indices: Indices) -> NDArray[np.uint16 | np.uint32]:
        """Read the objects of several samples.

        Args:
            indices: positions in the store, from 0; any order, repeats allowed.

        Returns:
            (sample, row, column) number of the object of each pixel, from 1; 0 where there is none.

        Raises:
            IndexError: a position is outside the store.
            StoreVersionError: they are stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: the store has no instances, or bytes are missing or damaged.
        """
        return self.read_array("instances", indices)

    def read_array(self, name: str, indices: Indices) -> NDArray[Any]:
        """Read several samples of one sharded array: `image`, `mask`, `attention` or a further one of the store.

        Args:
            name: of the array.
            indices: positions in the store, from 0; any order, repeats allowed.

        Returns:
            (sample, …) values of the array's own type.

        Raises:
            IndexError: a position is outside the store.
            StoreVersionError: a further array is stored in a way that this program does not know.
            StoreIncompleteError, StoreCorruptError: the store has no such array, or bytes are missing or damaged.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        array, checksums = self._sharded_array(name, wanted)
        mapped = array.times_mapped
        try:
            values = array.read(wanted, checksums)
        except StoreUnreachableError:
            raise
        except StoreError:
            self._require_same_store(failed=True)
            raise
        if array.times_mapped != mapped:
            self._require_same_store()
        return values

    def stored_run(self, name: str, start: int, stop: int) -> tuple[memoryview, list[int]]:
        """Return the stored bytes of samples of one sharded array of a local store, after comparing their checksums.

        Args:
            name: of the array.
            start: position of the first sample.
            stop: position after the last one, in the same shard.

        Returns:
            The chunks of the samples, each with its checksum, and the length of every chunk.

        Raises:
            StoreIncompleteError, StoreCorruptError: the store has no such array, or bytes are missing or damaged.
        """
        array, _ = self._sharded_array(name, np.asarray([start, stop - 1], dtype=np.int64))
        column = self.description.sharded.index(name)
        run = array.run(start, stop, self.columns.run("checksum", start, stop)[:, column])
        self._require_same_store()
        return run

    def check_array(self, name: str, indices: Indices) -> None:
        """Check the stored bytes of several samples of one sharded array, whatever their type and codecs.

        Raises:
            IndexError: a position is outside the store.
            StoreIncompleteError, StoreCorruptError: the store has no such array, or bytes are missing or damaged.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        array, checksums = self._sharded_array(name, wanted)
        array.check(wanted, checksums)

    def payload(self, name: str, sample: int) -> memoryview:
        """Return the stored bytes of one sample of a sharded array, packed as they are and without their checksum.

        Raises:
            StoreIncompleteError, StoreCorruptError: the shard is missing or damaged. The bytes are not checked.
        """
        return self._sharded[name].shard(sample // self.description.samples_per_shard).payload(sample)

    def _sharded_array(self, name: str, wanted: NDArray[np.int64]) -> tuple[ShardedArray, Checksums]:
        """Return an array and a function that returns the checksum recorded for one of its samples."""
        array = self._sharded.get(name)
        if array is None:
            raise StoreIncompleteError(
                f"{self.path}: the store has no array `{name}` of samples; it has {', '.join(self._sharded)}."
            )
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"{self.path}: positions {wanted.min()} to {wanted.max()}; the store holds {len(self)}")
        return array, RecordedChecksums(self.columns, self.description.sharded.index(name))

    def _require_same_store(self, *, failed: bool = False) -> None:
        """Make sure that the bytes that were just read came from the store that was opened.

        Called after reading. An unchanged `zarr.json` proves it, because it holds the digest of all contents.

        Args:
            failed: the reading has failed.

        Raises:
            StoreCorruptError: another store is at the path by now, or none.
        """
        if self.files.may_be_replaced(failed=failed) and self.files.root_bytes() != self._root:
            raise StoreCorruptError(
                f"{self.path}: the store was replaced or changed while it was being read.\n"
                "  Open it again, or start the command again."
            )

    def array(self, name: str) -> zarr.Array[Any]:
        """Open one of the store's arrays with zarr, for use that needs its interface. Nothing is checked by it.

        Raises:
            StoreIncompleteError: the store has no such array.
        """
        if name not in self.arrays:
            raise StoreIncompleteError(
                f"{self.path}: the store has no array `{name}`; it has {', '.join(self.arrays)}."
            )
        if isinstance(self.path, RemoteAddress):
            raise UsageError(
                f"{self.path}: only local stores are opened with zarr. Use `read_array`, or copy the store."
            )
        import zarr  # half a second, and reading does not need it

        return zarr.open_array(self.path / name, mode="r", zarr_format=3)

    def dask(self) -> dict[str, dask.array.Array]:
        """Return the arrays of samples as lazy dask arrays, by name; see `store.lazy_arrays`."""
        from store.lazy_arrays import dask_arrays

        return dask_arrays(self)

    def to_xarray(self, *, probabilities: bool = True) -> xarray.Dataset:
        """Return the store as a lazy data set with named dimensions; see `store.named_arrays`.

        Args:
            probabilities: attention is multiplied by `scale_factor`, float32. False: as stored, float16, in units of
                uniform attention, with `scale_factor` as an attribute.

        Raises:
            UsageError: xarray is not installed.
            StoreIncompleteError, StoreCorruptError: the ids or the names of the heads are missing or damaged.
        """
        from store.named_arrays import xarray_dataset

        return xarray_dataset(self, probabilities=probabilities)
