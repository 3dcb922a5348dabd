"""Write a store: samples are added one by one, and the complete store appears at the end.

Samples are gathered until they fill a shard, which is then complete and never changed. Large shards are written in
pieces (`store.shard_writer`), so memory holds `SHARD_BYTES` of each array at most, whatever the number of samples. The
store has a temporary name until `finish`, and is verified there before it appears at its path (`store.disk.publish`).

The bytes are specified in `store/FORMAT.md`. The version of the format rises with every change here that gives other
bytes for the same samples.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.check import Choose, all_samples, check_store
from store.column_writer import ColumnWriter
from store.description import Description, MaskSource
from store.disk.publish import published_folder
from store.disk.syncing import Syncing, syncing
from store.errors import StoreCorruptError
from store.format import (
    ATTRIBUTE,
    COLUMN_CHUNK,
    COLUMNS,
    DIMENSIONS,
    ENCODINGS,
    LABEL_BITS,
    LABEL_RULES,
    MOST_LABELS,
    OPTIONAL_COLUMNS,
    OPTIONAL_SHARDED,
    SHARDED,
    VERSION,
    metadata_sha256,
    recipe_sha256,
    written_json,
)
from store.metadata import ShardedArraySpec
from store.packing import Packing, codecs
from store.records import Sample
from store.root import STORE
from store.shard_writer import ShardWriter
from store.shards import encode_chunk

SHARD_BYTES = 32 * 2**20
"""Largest size of a shard of images. Smaller shards would be many files, larger ones would be slow to fetch."""

MAX_SAMPLES_PER_SHARD = 1024

MOST_SMALL_SHARDS = 1024
"""Number of shards of one array above which shards of more than `MAX_SAMPLES_PER_SHARD` samples are made.

They still have at most `SHARD_BYTES` of images.
"""

MOST_SHARDS = 4096
"""Largest number of shards of one array. Above it, shards of more than `SHARD_BYTES` are made."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Describe what every sample of a store has in common."""

    size: tuple[int, int]
    """(rows, columns) of image and mask."""
    grid: tuple[int, int]
    """(rows, columns) of the attention maps."""
    heads: Sequence[str]
    """Names of the maps, such as `L11H0`."""
    keys: int
    """Number of keys the softmax ran over: probability = stored value / keys."""
    classes: Sequence[str]
    masks: MaskSource = field(default_factory=MaskSource)
    """The way the masks were found and decoded."""
    compress: bool = False
    """Compress images and attention. Masks and instances are always compressed, to a fiftieth of their size."""
    instances: bool = False
    """True if every sample has instances."""
    multilabel: bool = False
    """True if masks hold one bit for each class but the first, so that classes may overlap."""
    images: dict[str, Any] | None = None
    """Rules by which image files were read; None without a choice."""
    weights_licence: str = ""
    """Licence of the transformer's weights; "" where the name of the model says it, or where it is not known."""
    columns: tuple[str, ...] = ()
    """Optional columns that every sample has: names of `store.format.OPTIONAL_COLUMNS`, in any order."""
    expected: int = field(default=0, compare=False)
    """Number of samples that the store will have, as far as it is known. Very large stores get larger shards."""
    per_shard: int = field(default=0, compare=False)
    """Number of samples in a full shard; 0 to choose it by their size and number."""

    def __post_init__(self) -> None:
        unknown = set(self.columns) - OPTIONAL_COLUMNS.keys()
        if unknown:
            raise ValueError(f"there are no optional columns {', '.join(sorted(unknown))}")
        if self.multilabel and not 1 <= len(self.classes) - 1 <= MOST_LABELS:
            raise ValueError(f"a mask of bits holds 1 to {MOST_LABELS} labels, not {len(self.classes) - 1}")

    @property
    def sharded(self) -> dict[str, str]:
        """The sharded arrays and their types."""
        return {**SHARDED, **(OPTIONAL_SHARDED if self.instances else {})}

    @property
    def sample_columns(self) -> dict[str, str]:
        """The columns with one value per sample and their types."""
        return {**COLUMNS, **{name: dtype for name, dtype in OPTIONAL_COLUMNS.items() if name in self.columns}}

    @property
    def samples_at_once(self) -> int:
        """The largest power of two whose images fit in `SHARD_BYTES`, at most `MAX_SAMPLES_PER_SHARD`."""
        return min(MAX_SAMPLES_PER_SHARD, self._fitting)

    @property
    def samples_per_shard(self) -> int:
        """The number of samples in a full shard: `samples_at_once`, doubled where this would make too many files.

        It is doubled while there are more than `MOST_SMALL_SHARDS` shards and the images still fit in `SHARD_BYTES`,
        and then while there are more than `MOST_SHARDS` shards. So ten million samples take fewer than 20,000 files.
        """
        if self.per_shard:
            return self.per_shard
        number = self.samples_at_once
        while self.expected > number * (MOST_SMALL_SHARDS if number < self._fitting else MOST_SHARDS):
            number *= 2
        return number

    @property
    def _fitting(self) -> int:
        """The largest power of two whose images fit in `SHARD_BYTES`, at least 1."""
        fitting = max(1, SHARD_BYTES // (self.size[0] * self.size[1] * 3))
        return 1 << (fitting.bit_length() - 1)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one sample in one of the sharded arrays."""
        return {
            "image": (*self.size, 3),
            "mask": self.size,
            "attention": (len(self.heads), *self.grid),
            "instances": self.size,
        }[name]

    def packing(self, name: str) -> Packing:
        """Return how an array's chunks are packed."""
        if name in {"mask", "instances"}:
            return "lz4"  # a reader need not have zstd
        return "zstd" if self.compress else "raw"

    def attributes(self, name: str) -> dict[str, Any]:
        """Return a sharded array's attributes for other readers."""
        if name == "attention":
            # CF convention: readers that know it, such as xarray, return probabilities.
            return {"scale_factor": 1.0 / self.keys, "long_name": "attention of CLS to each patch"}
        if name == "mask" and self.multilabel:
            bits = [1 << label for label in range(len(self.classes) - 1)]
            return {"flag_masks": bits, "flag_meanings": " ".join(self.classes[1:])}
        if name == "mask":
            return {"flag_values": list(range(len(self.classes))), "flag_meanings": " ".join(self.classes)}
        return {}


@contextlib.contextmanager
def new_store(
    path: Path,
    *,
    layout: Layout,
    recipe: dict[str, Any],
    upgraded_from: Sequence[str] = (),
    copied: Choose | None = None,
) -> Iterator[StoreWriter]:
    """Open a writer whose store replaces the one at `path` when the block ends without an error.

    Args:
        path: of the store.
        layout: of every sample.
        recipe: all that determines the attention.
        upgraded_from: the `contents_sha256` of the older stores that this one replaces.
        copied: set for samples of other stores (`store.copying`): returns those whose bytes have to be compared.

    Raises:
        UsageError: `path` holds something that is not an attention store.
        StoreCorruptError: the written store fails verification; nothing is published.
    """
    with published_folder(path, ours=STORE) as folder, syncing() as files:
        writer = StoreWriter(folder, layout=layout, recipe=recipe, upgraded_from=upgraded_from, syncing=files)
        yield writer
        writer.finish()
        faults = [fault.text for fault in check_store(folder, choose=copied or all_samples, values=not copied).faults]
        if faults:
            raise StoreCorruptError("\n".join([f"{path}: the written store does not read back:", *faults]))


class StoreWriter:
    """Fill a folder with a store, sample by sample. Made by `new_store`."""

    def __init__(
        self,
        folder: Path,
        *,
        layout: Layout,
        recipe: dict[str, Any],
        upgraded_from: Sequence[str] = (),
        syncing: Syncing | None = None,
    ) -> None:
        self._syncing = syncing or Syncing()
        self.skipped: list[dict[str, str]] = []
        """Inputs left out on request, for the store's description: `{where, what}`."""
        self.part: dict[str, Any] | None = None
        """Share of a larger store, for the store's description; None for a whole store."""
        self._folder, self._layout, self._recipe = folder, layout, recipe
        self._upgraded_from = list(upgraded_from)
        self.samples = 0
        """The number of samples so far."""
        self._parts = [
            (name, dtype, np.dtype(dtype).newbyteorder("<"), layout.shape(name), layout.packing(name))
            for name, dtype in layout.sharded.items()
        ]
        self.shards = {
            name: ShardWriter(
                folder, name, capacity=layout.samples_per_shard, most_bytes=SHARD_BYTES, syncing=self._syncing
            )
            for name in layout.sharded
        }
        self.sample_columns = tuple(layout.sample_columns)
        column = partial(ColumnWriter, folder, chunk=COLUMN_CHUNK, syncing=self._syncing)
        self.columns = {name: column(name, dtype=dtype) for name, dtype in layout.sample_columns.items()}
        self.columns["checksum"] = column("checksum", dtype="uint32", row=(len(layout.sharded),))
        self.columns["head"] = column("head", dtype="str")
        for head in layout.heads:
            self.columns["head"].append(head)

    @property
    def samples_per_shard(self) -> int:
        """The number of samples in a full shard."""
        return self._layout.samples_per_shard

    @property
    def samples_at_once(self) -> int:
        """The number of samples that `extract` computes at a time without a cluster."""
        return self._layout.samples_at_once

    def append(self, sample: Sample) -> None:
        """Add one sample.

        Raises:
            ValueError: one of its arrays does not have the layout's shape or type, or a value of the layout is missing.
        """
        checksums = []
        chunks = []
        for name, dtype, stored, shape, packing in self._parts:
            values: NDArray[Any] | None = getattr(sample, name)
            if values is None:
                raise ValueError(f"{sample.id}: has no `{name}`")
            if values.shape != shape or values.dtype != dtype:
                raise ValueError(f"{sample.id}: `{name}` is {values.dtype}{values.shape}, not {dtype}{shape}")
            chunk, checksum = encode_chunk(values.astype(stored, copy=False), packing)
            chunks.append(chunk)
            checksums.append(checksum)
        row = [getattr(sample, "id" if name == "sample" else name) for name in self.sample_columns]
        if None in row:
            raise ValueError(f"{sample.id}: has no `{self.sample_columns[row.index(None)]}`")
        self._add(chunks, row, checksums)

    def append_stored(
        self, chunks: Mapping[str, tuple[memoryview, Sequence[int]]], values: Mapping[str, Sequence[Any]]
    ) -> None:
        """Add samples whose chunks are encoded already and follow each other, as in a store of the same layout.

        Args:
            chunks: for every sharded array the stored bytes of the samples, checksums included, and their lengths.
            values: for every column of samples, and for `checksum`, the values.

        Raises:
            ValueError: they are more than the present shard has room for (`room`).
        """
        for name, writer in self.shards.items():
            writer.append_run(*chunks[name])
        for name in (*self.sample_columns, "checksum"):
            self.columns[name].extend(values[name])
        self.samples += len(values["checksum"])

    @property
    def room(self) -> int:
        """The number of samples that the present shard has room for."""
        return self.samples_per_shard - self.samples % self.samples_per_shard

    def _add(self, chunks: Sequence[bytes], row: Sequence[Any], checksums: Sequence[int]) -> None:
        """Add the chunks of one sample, its values in the columns, and the CRC-32C of its chunks."""
        for writer, chunk in zip(self.shards.values(), chunks, strict=True):
            writer.append(chunk)
        for name, value in zip(self.sample_columns, row, strict=True):
            self.columns[name].append(value)
        self.columns["checksum"].append(checksums)
        self.samples += 1

    def finish(self) -> None:
        """Write what is still in memory, the metadata and the description. `new_store` calls it."""
        for writer in self.shards.values():
            writer.finish()
        metadata = {name: self.columns[name].finish().to_bytes() for name in self.columns}
        metadata |= {name: self._sharded_metadata(name) for name in self._layout.sharded}
        for name, content in metadata.items():
            self._syncing.write(self._folder / name / "zarr.json", content)
        columns = [name for name in (*DIMENSIONS, *OPTIONAL_COLUMNS) if name in self.columns]
        description = Description(
            version=VERSION,
            required=[LABEL_RULES] if self._layout.masks.rules is not None else [],
            recipe=self._recipe,
            recipe_sha256=recipe_sha256(self._recipe),
            classes=list(self._layout.classes),
            masks=self._layout.masks,
            samples=self.samples,
            samples_per_shard=self._layout.samples_per_shard,
            sharded=list(self._layout.sharded),
            skipped=self.skipped,
            metadata_sha256=metadata_sha256(metadata),
            columns_sha256={name: self.columns[name].digests for name in columns},
            contents_sha256="",
            upgraded_from=self._upgraded_from,
            images=self._layout.images,
            part=self.part,
            weights_licence=self._layout.weights_licence,
        ).sealed()
        group = {"zarr_format": 3, "node_type": "group", "attributes": {ATTRIBUTE: description.to_dict()}}
        self._syncing.write(self._folder / "zarr.json", written_json(group))
        self._syncing.wait()

    def _sharded_metadata(self, name: str) -> bytes:
        shape, dtype = self._layout.shape(name), self._layout.sharded[name]
        size = math.prod(shape) * np.dtype(dtype).itemsize
        spec = ShardedArraySpec(
            name=name,
            shape=shape,
            dtype=dtype,
            encoding=LABEL_BITS if name == "mask" and self._layout.multilabel else ENCODINGS[name],
            inner=codecs(self._layout.packing(name), size),
            attributes=self._layout.attributes(name),
            fill_value="NaN" if name == "attention" else 0,
        )
        return spec.metadata(samples=self.samples, samples_per_shard=self._layout.samples_per_shard).to_bytes()
