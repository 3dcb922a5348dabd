"""Writing a store: samples in, in any number, a whole store at the end.

Samples are gathered until they fill a shard, which is then written once and never touched again, so
memory holds one shard whatever the number of samples. The store lies under a temporary name until
`finish`, and is checked there before it appears at its path (`store.disk.publish`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ShardingCodecIndexLocation, ZstdCodec
from zarr.core.array import ShardsConfigParam

from store.check import verify_store
from store.disk.publish import published_folder, write_synced
from store.errors import StoreCorruptError
from store.format import (
    ATTRIBUTE,
    COLUMN_CHUNK,
    COLUMNS,
    DIMENSIONS,
    READ_AS_COLUMNS,
    SHARDED,
    VERSION,
    Description,
    chunk_path,
    contents_sha256,
    file_sha256,
    metadata_sha256,
    recipe_sha256,
)
from store.packing import ZSTD_LEVEL, Packing, codecs
from store.reader import is_store
from store.records import Sample
from store.shards import encode_chunk, encode_shard

SHARD_BYTES = 32 * 2**20
"""What a shard of images comes to at most: few files, and still a piece that is quick to fetch."""

MAX_SAMPLES_PER_SHARD = 1024


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What every sample of a store has in common."""

    size: tuple[int, int]
    """(rows, columns) of image and mask."""
    grid: tuple[int, int]
    """(rows, columns) of the attention maps."""
    heads: Sequence[str]
    """Names of the maps, such as `L11H0`."""
    keys: int
    """Number of keys the softmax ran over: probability = stored value / keys."""
    classes: Sequence[str]
    mask_values: dict[str, int | str] | None = None
    """What stood in the mask files for each class; None for black and white ones."""
    compress: bool = False
    """Compress images and attention. Masks always are: it makes them fifty times smaller."""

    @property
    def samples_per_shard(self) -> int:
        """The largest power of two whose images fit in `SHARD_BYTES`."""
        fitting = max(1, SHARD_BYTES // (self.size[0] * self.size[1] * 3))
        return min(MAX_SAMPLES_PER_SHARD, 1 << (fitting.bit_length() - 1))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one sample in one of the sharded arrays."""
        return {"image": (*self.size, 3), "mask": self.size, "attention": (len(self.heads), *self.grid)}[name]

    def packing(self, name: str) -> Packing:
        """How an array's chunks are packed."""
        if name == "mask":
            return "lz4"
        return "zstd" if self.compress else "raw"


@contextlib.contextmanager
def new_store(path: Path, *, layout: Layout, recipe: dict[str, Any]) -> Iterator[StoreWriter]:
    """A writer whose store replaces what is at `path` when the block ends well.

    Raises:
        UsageError: `path` holds something that is not an attention store.
        StoreCorruptError: what was written does not read back; nothing is published.
    """
    with published_folder(path, ours=is_store) as folder:
        writer = StoreWriter(folder, layout=layout, recipe=recipe)
        yield writer
        writer.finish()
        faults = verify_store(folder)
        if faults:
            raise StoreCorruptError("\n".join([f"{path}: what was written does not read back:", *faults]))


class StoreWriter:
    """Fills a folder with a store, sample by sample. Made by `new_store`."""

    def __init__(self, folder: Path, *, layout: Layout, recipe: dict[str, Any]) -> None:
        self.skipped: list[dict[str, str]] = []
        """Inputs left out on request, for the store's description: `{where, what}`."""
        self._folder = folder
        self._layout = layout
        self._recipe = recipe
        self._samples = 0
        self._shards = 0
        self._chunks: dict[str, list[bytes]] = {name: [] for name in SHARDED}
        self._columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, "checksum")}
        self._group = zarr.create_group(folder, zarr_format=3)
        # Kept, not looked up again: `write_empty_chunks` is a property of the object, not of what is on disk.
        self._arrays = {name: self._create_array(name) for name in DIMENSIONS}

    @property
    def samples_per_shard(self) -> int:
        """After how many samples a shard is written: the natural number to hand over at a time."""
        return self._layout.samples_per_shard

    def append(self, sample: Sample) -> None:
        """Add one sample.

        Raises:
            ValueError: an array of it has not the layout's shape or type.
        """
        checksums = []
        for name, dtype in SHARDED.items():
            values: NDArray[Any] = getattr(sample, name)
            if values.shape != self._layout.shape(name) or values.dtype != dtype:
                raise ValueError(
                    f"{sample.id}: `{name}` is {values.dtype}{values.shape}, not {dtype}{self._layout.shape(name)}"
                )
            stored = values.astype(np.dtype(dtype).newbyteorder("<"), copy=False)
            chunk, checksum = encode_chunk(stored, self._layout.packing(name))
            self._chunks[name].append(chunk)
            checksums.append(checksum)
        for name, column in zip(COLUMNS, self._values_of(sample), strict=True):
            self._columns[name].append(column)
        self._columns["checksum"].append(checksums)
        self._samples += 1
        if len(self._chunks["image"]) == self._layout.samples_per_shard:
            self._write_shards()
        if len(self._columns["sample"]) == COLUMN_CHUNK:
            self._write_columns()

    def finish(self) -> None:
        """Write what is still in memory, and the description. `new_store` calls it."""
        if self._chunks["image"]:
            self._write_shards()
        self._write_columns()
        for name in SHARDED:
            self._arrays[name].resize((self._samples, *self._layout.shape(name)))
        description = Description(
            version=VERSION,
            recipe=self._recipe,
            recipe_sha256=recipe_sha256(self._recipe),
            classes=list(self._layout.classes),
            mask_values=self._layout.mask_values,
            samples=self._samples,
            samples_per_shard=self._layout.samples_per_shard,
            skipped=self.skipped,
            metadata_sha256=metadata_sha256(self._folder),
            columns_sha256={name: self._chunks_sha256(name) for name in READ_AS_COLUMNS},
            contents_sha256="",
        )
        description = replace(description, contents_sha256=contents_sha256(description))
        self._group.attrs[ATTRIBUTE] = description.to_dict()

    def _chunks_sha256(self, name: str) -> list[str]:
        """SHA-256 of every chunk of a column that is written."""
        array = self._arrays[name]
        chunks = range(-(-array.shape[0] // array.chunks[0]))
        return [file_sha256(self._folder, chunk_path(self._folder, name, number)) for number in chunks]

    @staticmethod
    def _values_of(sample: Sample) -> list[Any]:
        return [sample.id, sample.digest, sample.height, sample.width, sample.group, sample.labelled]

    def _write_shards(self) -> None:
        for name, chunks in self._chunks.items():
            content = encode_shard(chunks, self._layout.samples_per_shard)
            write_synced(chunk_path(self._folder, name, self._shards), content)
            chunks.clear()
        self._shards += 1

    def _write_columns(self) -> None:
        """Append the gathered values to the columns on disk."""
        for name, values in self._columns.items():
            array = self._arrays[name]
            start = array.shape[0]
            array.resize((start + len(values), *array.shape[1:]))
            if values:
                array[start:] = np.array(values, dtype=array.dtype)
            values.clear()

    def _create_array(self, name: str) -> zarr.Array[Any]:
        """Write an array's metadata. Shards follow from `_write_shards`, columns through zarr."""
        common: dict[str, Any] = {
            "name": name,
            "dimension_names": DIMENSIONS[name],
            "chunk_key_encoding": {"name": "default", "separator": "."},  # shards as flat files
            "config": {"write_empty_chunks": True},  # a file that is not there is a fault, never a default
            "attributes": self._attributes(name),
        }
        if name in SHARDED:
            shape = self._layout.shape(name)
            shards: ShardsConfigParam = {
                "shape": (self._layout.samples_per_shard, *shape),
                # So that a reader over the network needs no file size.
                "index_location": ShardingCodecIndexLocation.start,
            }
            packed = codecs(self._layout.packing(name), math.prod(shape) * np.dtype(SHARDED[name]).itemsize)
            return self._group.create_array(
                **common,
                shape=(0, *shape),
                dtype=SHARDED[name],
                chunks=(1, *shape),
                shards=shards,
                compressors=[*packed, Crc32cCodec()],
                fill_value=float("nan") if name == "attention" else 0,
            )
        if name == "head":
            heads = np.array(self._layout.heads, dtype=np.dtypes.StringDType())
            array = self._group.create_array(
                **common, shape=heads.shape, dtype="str", chunks=heads.shape, compressors=[Crc32cCodec()]
            )
            array[:] = heads
            return array
        rest = (len(SHARDED),) if name == "checksum" else ()
        return self._group.create_array(
            **common,
            shape=(0, *rest),
            dtype=COLUMNS.get(name, "uint32"),
            chunks=(COLUMN_CHUNK, *rest),
            compressors=[ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()],
        )

    def _attributes(self, name: str) -> dict[str, Any]:
        if name == "attention":
            # CF convention: readers that know it, such as xarray, return probabilities.
            return {"scale_factor": 1.0 / self._layout.keys, "long_name": "attention of CLS to each patch"}
        if name == "mask":
            return {
                "flag_values": list(range(len(self._layout.classes))),
                "flag_meanings": " ".join(self._layout.classes),
            }
        return {}
