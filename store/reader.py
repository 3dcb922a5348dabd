"""Reading a store: one sample, or a batch of any samples in any order.

Shards are memory-mapped on first use, so opening costs a few small files and a random sample about
one copy of its bytes. What a sample's chunk holds is checked against its checksums the first time
it is read. Missing or damaged data is an error that names array, shard and samples, never zeros.

Several processes and machines may read one store at a time; nothing is ever written. A store that
is sent to another process (pickled) is opened anew there. When another store is put at its path, what
was mapped before is still read; the rest is an error, never a mixture of the two.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray

from store.columns import Columns
from store.disk.paths import require_local
from store.disk.publish import holds_only
from store.errors import NotAStoreError, StoreCorruptError, StoreError, StoreIncompleteError, StoreNotFoundError
from store.format import (
    ATTRIBUTE,
    COLUMNS,
    DIMENSIONS,
    RESTORE,
    SHARDED,
    Description,
    metadata_sha256,
)
from store.records import Batch, Sample
from store.sharded_array import ShardedArray

UNREADABLE = (
    zarr.errors.BaseZarrError,
    FileNotFoundError,
    NotADirectoryError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,  # JSON that is no object
    RecursionError,  # JSON nested thousands deep
)
"""What zarr raises for a path that holds no group of format 3."""

OPENING_ATTEMPTS = 3
"""How often a store is opened that is replaced while it is being opened."""


class AttentionStore:
    """An attention store on a local path, open for reading. Make one with `AttentionStore.open`."""

    def __init__(self, path: Path, group: zarr.Group, description: Description, root: bytes) -> None:
        self.path = path
        self.description = description
        self._group = group
        self._root = root
        self.columns = Columns(path, self.array, description, self._require_same_store)
        self._sharded = {name: ShardedArray(path, self.array(name), name, description) for name in SHARDED}
        self._require_same_store()

    @classmethod
    def open(cls, path: str | Path) -> AttentionStore:
        """Open a store and check its description and its arrays' metadata; no sample is read.

        Raises:
            UsageError: an address on the network in place of a path.
            StoreNotFoundError: nothing lies at the path.
            NotAStoreError: what lies there is not an attention store.
            StoreVersionError: another version of the format wrote it.
            StoreIncompleteError: an array is missing.
            StoreCorruptError: description and arrays contradict each other, or are not what was written.
        """
        path = Path(path)
        require_local(path)
        if not path.exists():
            raise StoreNotFoundError(
                f"{path}: there is no store here.\n"
                f"  Make one: `pipeline extract --images DIR --masks DIR --store {path}`."
            )
        for _ in range(OPENING_ATTEMPTS - 1):
            root = _root_of(path)
            with contextlib.suppress(StoreError):
                return cls._opened(path, root)
            if _root_of(path) == root:
                break  # not because it was replaced under our hands
        return cls._opened(path, _root_of(path))

    @classmethod
    def _opened(cls, path: Path, root: bytes) -> AttentionStore:
        try:
            group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
            attributes = group.attrs.asdict()
        except UNREADABLE:
            raise NotAStoreError(
                f"{path}: not an attention store, or its zarr.json is damaged (no readable Zarr v3 group).\n"
                "  Give the path that `pipeline extract --store` wrote; if it is that, extract it again."
            ) from None
        description = Description.from_attributes(attributes, path)
        if metadata_sha256(path) != description.metadata_sha256:
            raise StoreCorruptError(
                f"{path}: an array's metadata was changed after the store was written.\n  {RESTORE}"
            )
        return cls(path, group, description, root)

    def __reduce__(self) -> tuple[Any, ...]:
        return (AttentionStore.open, (self.path,))

    def __repr__(self) -> str:
        return f"AttentionStore({str(self.path)!r}, samples={len(self)}, heads={len(self.heads)})"

    def __len__(self) -> int:
        return self.description.samples

    def __getitem__(self, index: int) -> Sample:
        """One sample; negative positions count from the end.

        Raises:
            IndexError: there is no such sample.
            StoreIncompleteError, StoreCorruptError: its bytes are missing or damaged.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: no sample {index}; the store holds {len(self)}")
        index %= len(self)
        batch = self.read([index])
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
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def read(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Batch:
        """Several samples, stacked in the order asked for.

        Args:
            indices: positions in the store, from 0; any order, repeats allowed.

        Raises:
            IndexError: a position is outside the store.
            StoreIncompleteError, StoreCorruptError: bytes are missing or damaged.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        return Batch(
            indices=wanted,
            image=self.read_array("image", wanted),
            mask=self.read_array("mask", wanted),
            attention=self.read_array("attention", wanted),
        )

    def read_array(self, name: str, indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """The same for one of `image`, `mask` and `attention`: (sample, …) of the array's own type."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"{self.path}: positions {wanted.min()} to {wanted.max()}; the store holds {len(self)}")
        array, checksums = self._sharded[name], self.columns.whole("checksum")[:, list(SHARDED).index(name)]
        mapped = array.times_mapped
        try:
            values = array.read(wanted, checksums)
        except StoreError:
            self._require_same_store()
            raise
        if array.times_mapped != mapped:
            self._require_same_store()
        return values

    def _require_same_store(self) -> None:
        """Make sure that what was just read from the path is of the store that was opened.

        The description holds the digest of all contents. It is looked at after the reading: if it is still the same,
        then so was the store before.

        Raises:
            StoreCorruptError: another store lies at the path by now, or none.
        """
        if _root_of(self.path) != self._root:
            raise StoreCorruptError(
                f"{self.path}: the store was replaced or changed while it was being read.\n"
                "  Open it again, or start the command again."
            )

    @property
    def recipe(self) -> dict[str, Any]:
        """All that determines the attention: model, weights' hash, layers, input size."""
        return self.description.recipe

    @property
    def classes(self) -> list[str]:
        """Names of the mask's class indices; the first is the background."""
        return self.description.classes

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of images and masks."""
        _, rows, columns, _ = self.array("image").shape
        return rows, columns

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the attention maps."""
        _, _, rows, columns = self.array("attention").shape
        return rows, columns

    @property
    def scale_factor(self) -> float:
        """Stored attention times this is probability.

        Raises:
            StoreCorruptError: the array does not say it, or says what cannot be.
        """
        try:
            factor = float(self.array("attention").attrs["scale_factor"])  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError):
            factor = math.nan
        if not 0 < factor <= 1:
            raise StoreCorruptError(
                f"{self.path}: `attention` has no sound `scale_factor`.\n  Extract the store again."
            )
        return factor

    @cached_property
    def heads(self) -> list[str]:
        """Names of the attention maps, such as `L11H0`."""
        return [str(name) for name in self.column("head")]

    @cached_property
    def ids(self) -> NDArray[Any]:
        """(sample,) ids, strings."""
        return self.column("sample")

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """(sample,) whether a mask was given."""
        return self.column("labelled")

    def column(self, name: str) -> NDArray[Any]:
        """One of the columns `sample digest height width group labelled`: (sample,); not to be written to.

        Raises:
            StoreIncompleteError, StoreCorruptError: its bytes are missing or damaged.
        """
        return self.columns.whole(name)

    def array(self, name: str) -> zarr.Array[Any]:
        """One of the store's arrays as zarr sees it: for shapes, types, and readers such as dask.

        Raises:
            StoreIncompleteError: it is missing.
            StoreCorruptError: it is not as the description says.
        """
        array = self._arrays.get(name)
        if array is None:
            raise StoreIncompleteError(f"{self.path}: array `{name}` is missing.\n  Extract the store again.")
        return array

    @cached_property
    def _arrays(self) -> dict[str, zarr.Array[Any]]:
        arrays = {}
        for name, dimensions in DIMENSIONS.items():
            try:
                array = self._group[name]
            except KeyError:
                continue
            except (ValueError, TypeError, AttributeError, RecursionError, zarr.errors.BaseZarrError) as error:
                raise StoreCorruptError(f"{self.path}: `{name}`: {error}.\n  Extract the store again.") from None
            if not isinstance(array, zarr.Array) or array.ndim != len(dimensions):
                raise StoreCorruptError(f"{self.path}: `{name}` is not an array of {len(dimensions)} dimensions.")
            if dimensions[0] == "sample" and array.shape[0] != len(self):
                raise StoreCorruptError(
                    f"{self.path}: `{name}` holds {array.shape[0]} samples, the description says {len(self)}.\n"
                    "  Extract the store again."
                )
            dtype = {**SHARDED, **COLUMNS}.get(name)
            if dtype not in (None, "str") and array.dtype != dtype:
                raise StoreCorruptError(f"{self.path}: `{name}` is {array.dtype}, not {dtype}.\n  Extract it again.")
            arrays[name] = array
        return arrays


def _root_of(path: Path) -> bytes:
    """The bytes of a store's `zarr.json`; none where there is no such file."""
    try:
        return (path / "zarr.json").read_bytes()
    except OSError:
        return b""


def is_store(path: Path) -> bool:
    """Whether an attention store lies at the path, of any version and in any state of repair, and nothing else."""
    if not holds_only(path, {*DIMENSIONS, "zarr.json"}):
        return False
    try:
        return ATTRIBUTE in zarr.open_group(path, mode="r", zarr_format=3).attrs
    except UNREADABLE:  # damaged, but with our arrays in it
        return all((path / name).is_dir() for name in SHARDED)
