"""Write stores of version 1, as 0.1.0 did, from the appendix of FORMAT.md. The program itself only reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd

from store.column_writer import encode_column_chunk
from store.format import (
    ATTRIBUTE,
    COLUMN_CHUNK,
    COLUMNS,
    ENCODINGS,
    SHARDED,
    chunk_path,
    contents_sha256,
    metadata_sha256,
    recipe_sha256,
    written_json,
)
from store.metadata import ArrayMetadata, ShardedArraySpec, column_metadata
from store.packing import codecs
from store.records import Sample
from store.shards import checksummed, encode_chunk
from store.writer import Layout


def write_version_1(
    folder: Path, samples: Sequence[Sample], layout: Layout, recipe: dict[str, Any], *, rows: int = COLUMN_CHUNK
) -> None:
    """Fill an empty folder with a store of version 1.

    Args:
        folder: of the store.
        samples: at least one.
        layout: of every sample; optional parts are left out.
        recipe: of the attention.
        rows: in a chunk of a column. Version 1 has 65536; fewer are faster.
    """
    per_shard = layout.samples_per_shard
    metadata: dict[str, bytes] = {}
    checksums = np.empty((len(samples), len(SHARDED)), np.uint32)
    for position, name in enumerate(SHARDED):
        encoded = [encode_chunk(getattr(sample, name), layout.packing(name)) for sample in samples]
        checksums[:, position] = [checksum for _, checksum in encoded]
        metadata[name] = _sharded_metadata(name, layout, len(samples))
        (folder / name).mkdir()
        for number, start in enumerate(range(0, len(samples), per_shard)):
            shard = _shard([chunk for chunk, _ in encoded[start : start + per_shard]], per_shard)
            chunk_path(folder, name, number, 1 + len(layout.shape(name))).write_bytes(shard)
    columns: dict[str, Any] = {
        **{name: [getattr(one, "id" if name == "sample" else name) for one in samples] for name in COLUMNS},
        "checksum": checksums,
        "head": list(layout.heads),
    }
    digests = {}
    for name, values in columns.items():
        dtype = {**COLUMNS, "checksum": "uint32", "head": "str"}[name]
        extent = len(values) if name == "head" else rows
        (folder / name).mkdir()
        digests[name] = _write_column(folder, name, values, dtype, extent)
        metadata[name] = _column_metadata(name, dtype, np.shape(values), extent)
    for name, content in metadata.items():
        (folder / name / "zarr.json").write_bytes(content)
    described = {
        "version": 1,
        "recipe": recipe,
        "recipe_sha256": recipe_sha256(recipe),
        "classes": list(layout.classes),
        "mask_values": layout.masks.values,
        "samples": len(samples),
        "samples_per_shard": per_shard,
        "skipped": [],
        "metadata_sha256": metadata_sha256(metadata),
        "columns_sha256": digests,
    }
    described["contents_sha256"] = contents_sha256(described)
    group = {"zarr_format": 3, "node_type": "group", "attributes": {ATTRIBUTE: described}}
    (folder / "zarr.json").write_text(json.dumps(group, indent=2))


def _shard(chunks: Sequence[bytes], capacity: int) -> bytes:
    """Encode a shard with its index at the start."""
    index = np.full((capacity, 2), 2**64 - 1, dtype="<u8")
    lengths = np.array([len(chunk) for chunk in chunks], dtype="<u8")
    index[: len(chunks), 0] = capacity * 16 + 4 + np.cumsum(lengths) - lengths
    index[: len(chunks), 1] = lengths
    return b"".join([checksummed(index.tobytes()), *chunks])


def _sharded_metadata(name: str, layout: Layout, samples: int) -> bytes:
    shape, dtype = layout.shape(name), SHARDED[name]
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    spec = ShardedArraySpec(
        name=name,
        shape=shape,
        dtype=dtype,
        encoding=ENCODINGS[name],
        inner=codecs(layout.packing(name), size),
        attributes=layout.attributes(name),
        fill_value=0,
    )
    document = json.loads(spec.metadata(samples=samples, samples_per_shard=layout.samples_per_shard).to_bytes())
    document["codecs"][0]["configuration"]["index_location"] = "start"
    del document["attributes"]["encoding"]
    return written_json(document)


def _column_metadata(name: str, dtype: str, shape: tuple[int, ...], extent: int) -> bytes:
    plain = column_metadata(name, shape=shape, dtype=dtype, extent=extent)
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
    packed = plain.codecs if name == "head" else (plain.codecs[0], zstd, plain.codecs[1])
    return ArrayMetadata(**{**vars(plain), "codecs": packed, "attributes": {}}).to_bytes()


def _write_column(folder: Path, name: str, values: Any, dtype: str, extent: int) -> list[str]:
    digests = []
    for number, start in enumerate(range(0, len(values), extent)):
        payload = encode_column_chunk(values[start : start + extent], dtype, extent)[:-4]
        content = checksummed(payload if name == "head" else bytes(Zstd(level=3).encode(payload)))
        chunk_path(folder, name, number, np.ndim(values)).write_bytes(content)
        digests.append(hashlib.sha256(content).hexdigest())
    return digests
