"""Write a store: samples are added one by one, and the complete store appears at the end.

Samples are gathered until they fill a shard, which is then written once and never changed, so
memory holds one shard whatever the number of samples. The store has a temporary name until
`finish`, and is verified there before it appears at its path (`store.disk.publish`).

The bytes are specified in `store/FORMAT.md`. The version of the format rises with every change here that gives other
bytes for the same samples.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.check import verify_store
from store.column_writer import ColumnWriter
from store.description import Description, MaskSource
from store.disk.publish import published_folder, write_synced
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
    chunk_path,
    metadata_sha256,
    recipe_sha256,
    written_json,
)
from store.metadata import ShardedArraySpec, dimensions_of
from store.packing import Packing, codecs
from store.records import Sample
from store.root import STORE
from store.shards import encode_chunk, encode_shard

SHARD_BYTES = 32 * 2**20
"""Largest size of a shard of images. Smaller shards would be many files, larger ones would be slow to fetch."""

MAX_SAMPLES_PER_SHARD = 1024


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
    def samples_per_shard(self) -> int:
        """The largest power of two whose images fit in `SHARD_BYTES`, at most `MAX_SAMPLES_PER_SHARD`."""
        fitting = max(1, SHARD_BYTES // (self.size[0] * self.size[1] * 3))
        return min(MAX_SAMPLES_PER_SHARD, 1 << (fitting.bit_length() - 1))

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
    path: Path, *, layout: Layout, recipe: dict[str, Any], upgraded_from: Sequence[str] = ()
) -> Iterator[StoreWriter]:
    """Open a writer whose store replaces the one at `path` when the block ends without an error.

    Args:
        path: of the store.
        layout: of every sample.
        recipe: all that determines the attention.
        upgraded_from: the `contents_sha256` of the older stores that this one replaces.

    Raises:
        UsageError: `path` holds something that is not an attention store.
        StoreCorruptError: the written store fails verification; nothing is published.
    """
    with published_folder(path, ours=STORE) as folder:
        writer = StoreWriter(folder, layout=layout, recipe=recipe, upgraded_from=upgraded_from)
        yield writer
        writer.finish()
        faults = verify_store(folder)
        if faults:
            raise StoreCorruptError("\n".join([f"{path}: the written store does not read back:", *faults]))


class StoreWriter:
    """Fill a folder with a store, sample by sample. Made by `new_store`."""

    def __init__(
        self, folder: Path, *, layout: Layout, recipe: dict[str, Any], upgraded_from: Sequence[str] = ()
    ) -> None:
        self.skipped: list[dict[str, str]] = []
        """Inputs left out on request, for the store's description: `{where, what}`."""
        self._folder = folder
        self._layout = layout
        self._recipe = recipe
        self._upgraded_from = list(upgraded_from)
        self._samples = 0
        self._shards = 0
        self._chunks: dict[str, list[bytes]] = {name: [] for name in layout.sharded}
        for name in layout.sharded:
            (folder / name).mkdir()
        self._columns = {
            name: ColumnWriter(folder, name, dtype=dtype, chunk=COLUMN_CHUNK)
            for name, dtype in layout.sample_columns.items()
        }
        self._columns["checksum"] = ColumnWriter(
            folder, "checksum", dtype="uint32", row=(len(layout.sharded),), chunk=COLUMN_CHUNK
        )
        self._columns["head"] = ColumnWriter(folder, "head", dtype="str", chunk=COLUMN_CHUNK)
        for head in layout.heads:
            self._columns["head"].append(head)

    @property
    def samples_per_shard(self) -> int:
        """The number of samples in a full shard. Without a cluster, `extract` computes as many at a time."""
        return self._layout.samples_per_shard

    def append(self, sample: Sample) -> None:
        """Add one sample.

        Raises:
            ValueError: one of its arrays does not have the layout's shape or type, or a value of the layout is missing.
        """
        checksums = []
        for name, dtype in self._layout.sharded.items():
            values: NDArray[Any] | None = getattr(sample, name)
            if values is None:
                raise ValueError(f"{sample.id}: has no `{name}`")
            if values.shape != self._layout.shape(name) or values.dtype != dtype:
                raise ValueError(
                    f"{sample.id}: `{name}` is {values.dtype}{values.shape}, not {dtype}{self._layout.shape(name)}"
                )
            stored = values.astype(np.dtype(dtype).newbyteorder("<"), copy=False)
            chunk, checksum = encode_chunk(stored, self._layout.packing(name))
            self._chunks[name].append(chunk)
            checksums.append(checksum)
        for name in self._layout.sample_columns:
            value = getattr(sample, "id" if name == "sample" else name)
            if value is None:
                raise ValueError(f"{sample.id}: has no `{name}`")
            self._columns[name].append(value)
        self._columns["checksum"].append(checksums)
        self._samples += 1
        if len(self._chunks["image"]) == self._layout.samples_per_shard:
            self._write_shards()

    def finish(self) -> None:
        """Write what is still in memory, the metadata and the description. `new_store` calls it."""
        if self._chunks["image"]:
            self._write_shards()
        metadata = {name: self._columns[name].finish().to_bytes() for name in self._columns}
        metadata |= {name: self._sharded_metadata(name) for name in self._layout.sharded}
        for name, content in metadata.items():
            write_synced(self._folder / name / "zarr.json", content)
        description = Description(
            version=VERSION,
            required=[LABEL_RULES] if self._layout.masks.rules is not None else [],
            recipe=self._recipe,
            recipe_sha256=recipe_sha256(self._recipe),
            classes=list(self._layout.classes),
            masks=self._layout.masks,
            samples=self._samples,
            samples_per_shard=self._layout.samples_per_shard,
            sharded=list(self._layout.sharded),
            skipped=self.skipped,
            metadata_sha256=metadata_sha256(metadata),
            columns_sha256={
                name: self._columns[name].digests for name in (*DIMENSIONS, *OPTIONAL_COLUMNS) if name in self._columns
            },
            contents_sha256="",
            upgraded_from=self._upgraded_from,
            images=self._layout.images,
            weights_licence=self._layout.weights_licence,
        ).sealed()
        group = {"zarr_format": 3, "node_type": "group", "attributes": {ATTRIBUTE: description.to_dict()}}
        write_synced(self._folder / "zarr.json", written_json(group))

    def _write_shards(self) -> None:
        for name, chunks in self._chunks.items():
            content = encode_shard(chunks, self._layout.samples_per_shard)
            write_synced(chunk_path(self._folder, name, self._shards, len(dimensions_of(name))), content)
            chunks.clear()
        self._shards += 1

    def _sharded_metadata(self, name: str) -> bytes:
        shape = self._layout.shape(name)
        dtype = self._layout.sharded[name]
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
        return spec.metadata(samples=self._samples, samples_per_shard=self._layout.samples_per_shard).to_bytes()
