"""Edit a copy of a store and seal it again: recompute all its digests for the new contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from store.format import chunk_path, contents_sha256, metadata_sha256, recipe_sha256, written_json
from store.packing import Packing, codecs, unpack
from store.shards import checksummed, encode_chunk, encode_shard

Json = dict[str, Any]


class Draft:
    """Edit the folder of a store. `described` is its description; `seal` writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.described: Json = json.loads((path / "zarr.json").read_bytes())["attributes"]["attention_store"]

    def write_root(self, **attributes: Any) -> None:
        """Write the group's metadata, with the description or with other attributes."""
        group = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": attributes or {"attention_store": self.described},
        }
        (self.path / "zarr.json").write_bytes(written_json(group))

    def seal(self) -> None:
        """Recompute every digest and write the description."""
        described = self.described
        described["recipe_sha256"] = recipe_sha256(described["recipe"])
        names = [*described["sharded"], *described["columns_sha256"]]
        described["metadata_sha256"] = metadata_sha256(
            {name: (self.path / name / "zarr.json").read_bytes() for name in names}
        )
        for name in described["columns_sha256"]:
            described["columns_sha256"][name] = [
                hashlib.sha256(file.read_bytes()).hexdigest() for file in self.chunks(name)
            ]
        described["contents_sha256"] = contents_sha256(described)
        self.write_root()

    def chunks(self, name: str) -> list[Path]:
        """Return the files of an array's chunks or shards, in order. There must be fewer than ten."""
        return sorted((self.path / name).glob("c.*"))

    def metadata(self, name: str, **changes: Any) -> Json:
        """Change members of an array's metadata, write it, and return it."""
        file = self.path / name / "zarr.json"
        document: Json = {**json.loads(file.read_bytes()), **changes}
        file.write_bytes(written_json(document))
        return document

    def sharding(self, name: str, **changes: Any) -> None:
        """Change the sharding codec's configuration."""
        (codec,) = self.metadata(name)["codecs"]
        codec["configuration"].update(changes)
        self.metadata(name, codecs=[codec])

    def add_column(self, name: str, values: Sequence[Any], data_type: str) -> None:
        """Add and list a column of texts or numbers, one value per sample."""
        first: Json = {"name": "vlen-utf8"}
        if data_type == "string":
            texts = [text.encode() for text in values]
            parts = [part for text in texts for part in (len(text).to_bytes(4, "little"), text)]
            payload = b"".join([len(values).to_bytes(4, "little"), *parts])
        else:
            first = {"name": "bytes", "configuration": {"endian": "little"}}
            payload = np.array(values, np.dtype(data_type).newbyteorder("<")).tobytes()
        self._add_array(
            name,
            {
                "shape": [len(values)],
                "data_type": data_type,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [len(values)]}},
                "fill_value": "" if data_type == "string" else 0,
                "codecs": [first, {"name": "crc32c"}],
                "dimension_names": ["sample"],
            },
        )
        chunk_path(self.path, name, 0, 1).write_bytes(checksummed(payload))
        self.described["columns_sha256"][name] = []

    def add_sharded(
        self, name: str, values: np.ndarray, dimensions: Sequence[str], *, encoding: str, packing: Packing = "raw",
        **attributes: Any,
    ) -> None:  # fmt: skip
        """Add and list an array with one chunk per sample, and its column of checksums."""
        per_shard, shape = self.described["samples_per_shard"], values.shape[1:]
        endian = {"configuration": {"endian": "little"}}
        sharding = {
            "chunk_shape": [1, *shape],
            "codecs": [{"name": "bytes", **endian}, *codecs(packing, values[0].nbytes), {"name": "crc32c"}],
            "index_codecs": [{"name": "bytes", **endian}, {"name": "crc32c"}],
            "index_location": "end",
        }
        self._add_array(
            name,
            {
                "shape": list(values.shape),
                "data_type": values.dtype.name,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [per_shard, *shape]}},
                "fill_value": 0,
                "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
                "dimension_names": list(dimensions),
                "attributes": {"encoding": {"name": encoding, "version": 1}, **attributes},
            },
        )
        encoded = [encode_chunk(value, packing) for value in values]
        for number, start in enumerate(range(0, len(values), per_shard)):
            shard = encode_shard([chunk for chunk, _ in encoded[start : start + per_shard]], per_shard)
            chunk_path(self.path, name, number, values.ndim).write_bytes(shard)
        self.described["sharded"].append(name)
        self.set_checksums(np.column_stack([self.checksums(), np.array([crc for _, crc in encoded], np.uint32)]))

    def masks(self) -> np.ndarray:
        """Return the masks: (sample, row, column) uint8."""
        _, *size = self.metadata("mask")["shape"]
        chunks = [chunk for number in range(len(self.chunks("mask"))) for chunk in self.shard_chunks("mask", number)]
        values = np.empty((len(chunks), *size), np.uint8)
        for value, chunk in zip(values.reshape(len(chunks), -1), chunks, strict=True):
            unpack(memoryview(chunk[:-4]), value, "lz4")
        return values

    def set_masks(self, values: np.ndarray) -> None:
        """Rewrite the shards of `mask`. `values`: (sample, row, column) uint8."""
        per_shard, checksums = self.described["samples_per_shard"], self.checksums().copy()
        encoded = [encode_chunk(value, "lz4") for value in values]
        for number, start in enumerate(range(0, len(values), per_shard)):
            self.rebuild_shard("mask", number, [chunk for chunk, _ in encoded[start : start + per_shard]])
        checksums[:, self.described["sharded"].index("mask")] = [crc for _, crc in encoded]
        self.set_checksums(checksums)

    def checksums(self) -> np.ndarray:
        """Return the column `checksum`: (sample, sharded array) uint32."""
        payload = self.chunks("checksum")[0].read_bytes()[:-4]
        return np.frombuffer(payload, "<u4").reshape(self.described["samples"], -1)

    def set_checksums(self, values: np.ndarray) -> None:
        """Rewrite the column `checksum` as one chunk. `values`: (sample, sharded array)."""
        grid = {"name": "regular", "configuration": {"chunk_shape": list(values.shape)}}
        self.metadata("checksum", shape=list(values.shape), chunk_grid=grid)
        self.chunks("checksum")[0].write_bytes(checksummed(values.astype("<u4").tobytes()))

    def rebuild_shard(self, name: str, number: int, chunks: Sequence[bytes]) -> None:
        """Rewrite a shard from encoded chunks."""
        self.chunks(name)[number].write_bytes(encode_shard(chunks, self.described["samples_per_shard"]))

    def shard_chunks(self, name: str, number: int) -> list[bytes]:
        """Return the encoded chunks of a shard, checksums included."""
        content = self.chunks(name)[number].read_bytes()
        per_shard = self.described["samples_per_shard"]
        index = np.frombuffer(content[-per_shard * 16 - 4 : -4], "<u8").reshape(per_shard, 2).tolist()
        return [content[start : start + length] for start, length in index if length != 2**64 - 1]

    def _add_array(self, name: str, document: Json) -> None:
        (self.path / name).mkdir()
        whole = {
            "zarr_format": 3,
            "node_type": "array",
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "attributes": {"encoding": {"name": name, "version": 1}},
            **document,
        }
        (self.path / name / "zarr.json").write_bytes(written_json(whole))
