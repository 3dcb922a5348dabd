"""Parse and write an array's `zarr.json`: the parts of it that a store depends on.

The writer makes these files itself and not through zarr, so that their bytes do not depend on zarr's version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from store.format import DIMENSIONS, ENCODINGS, MOST_COUNT, OPTIONAL_DIMENSIONS, is_node, written_json
from store.strict_json import parse_json

CHUNK_KEYS = {"name": "default", "configuration": {"separator": "."}}
"""The chunk key encoding of every array: shards and chunks are flat files."""

INDEX_CODECS = ["bytes", "crc32c"]
"""The codecs of a shard's index: little-endian, with a checksum."""

TYPES = {"str": "string"}
"""The names that Zarr gives to types, where they differ from NumPy's."""


@dataclass(frozen=True, kw_only=True)
class ArrayMetadata:
    """Hold the shape, the type, the chunks, the codecs and the attributes of one array."""

    shape: tuple[int, ...]
    data_type: str
    """Zarr's name of the type, such as `uint8` or `string`."""
    chunk_shape: tuple[int, ...]
    """The shape of the values in one file: a shard, or a column's chunk."""
    codecs: tuple[Mapping[str, Any], ...]
    dimension_names: tuple[str, ...]
    attributes: Mapping[str, Any]
    chunk_key_encoding: Mapping[str, Any]
    fill_value: Any

    @classmethod
    def from_bytes(cls, content: bytes) -> ArrayMetadata:
        """Parse an array's `zarr.json`.

        Raises:
            ValueError: it is not the metadata of a Zarr v3 array with a regular chunk grid and named dimensions.
        """
        try:
            document = _mapping(parse_json(content))
            if not is_node(document, "array"):
                raise ValueError("not a Zarr v3 array")
            grid = document["chunk_grid"]
            if grid["name"] != "regular" or document.get("storage_transformers"):
                raise ValueError("not a regular chunk grid")
            return cls(
                shape=extents(document["shape"]),
                data_type=_text(document["data_type"]),
                chunk_shape=extents(grid["configuration"]["chunk_shape"]),
                codecs=_codecs(document["codecs"]),
                dimension_names=tuple(map(_text, document["dimension_names"])),
                attributes=_mapping(document.get("attributes", {})),
                chunk_key_encoding=_mapping(document["chunk_key_encoding"]),
                fill_value=document["fill_value"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged metadata ({type(error).__name__})") from None

    def to_bytes(self) -> bytes:
        """Return the bytes of the array's `zarr.json`."""
        return written_json(
            {
                "zarr_format": 3,
                "node_type": "array",
                "shape": self.shape,
                "data_type": self.data_type,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.chunk_shape}},
                "chunk_key_encoding": self.chunk_key_encoding,
                "fill_value": self.fill_value,
                "codecs": self.codecs,
                "attributes": self.attributes,
                "dimension_names": self.dimension_names,
            }
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type of the stored bytes, little-endian.

        Raises:
            ValueError: the type is not a number or a truth value of fixed size.
        """
        try:
            dtype = np.dtype(self.data_type).newbyteorder("<")
        except TypeError:
            dtype = np.dtype(object)
        if dtype.kind not in "buif" or dtype.name != self.data_type:
            raise ValueError(f"the type {self.data_type} is not known")
        return dtype

    @property
    def known_dtype(self) -> np.dtype[Any] | None:
        """The same as `dtype`, or None in place of the error."""
        try:
            return self.dtype
        except ValueError:
            return None

    @staticmethod
    def is_little_endian(codec: Mapping[str, Any]) -> bool:
        """Return True if the codec `bytes` has the order of bytes that the format prescribes."""
        configuration = codec.get("configuration")
        return not isinstance(configuration, dict) or configuration.get("endian", "little") == "little"

    @property
    def sharding(self) -> Mapping[str, Any]:
        """The configuration of the sharding codec; empty where the array is not sharded."""
        (first, *others) = self.codecs
        if others or first["name"] != "sharding_indexed":
            return {}
        return _mapping(first.get("configuration", {}))

    @property
    def encoding(self) -> object:
        """The attribute `encoding`: the name and the version of the values' meaning."""
        return self.attributes.get("encoding")


@dataclass(frozen=True, kw_only=True)
class ShardedArraySpec:
    """Describe one sharded array of a known name, independent of the number of samples."""

    name: str
    shape: tuple[int, ...]
    """The shape of one sample."""
    dtype: str
    inner: Sequence[Mapping[str, Any]]
    """The codecs between `bytes` and `crc32c`."""
    attributes: Mapping[str, Any]
    """Attributes beside `encoding`."""
    encoding: tuple[str, int]
    """Name and version of the values' meaning."""
    fill_value: Any
    """Required by Zarr; never read, because every chunk is stored."""

    def metadata(self, *, samples: int, samples_per_shard: int) -> ArrayMetadata:
        """Return the metadata of the array, with one chunk per sample."""
        little = {"configuration": {"endian": "little"}}
        values = {"name": "bytes", **(little if np.dtype(self.dtype).itemsize > 1 else {})}
        configuration = {
            "chunk_shape": (1, *self.shape),
            "codecs": [values, *self.inner, {"name": "crc32c"}],
            "index_codecs": [{"name": "bytes", **little}, {"name": "crc32c"}],
            "index_location": "end",
        }
        return ArrayMetadata(
            shape=(samples, *self.shape),
            data_type=self.dtype,
            chunk_shape=(samples_per_shard, *self.shape),
            codecs=({"name": "sharding_indexed", "configuration": configuration},),
            dimension_names=dimensions_of(self.name),
            attributes={"encoding": as_attribute(self.encoding), **self.attributes},
            chunk_key_encoding=CHUNK_KEYS,
            fill_value=self.fill_value,
        )


def column_metadata(name: str, *, shape: tuple[int, ...], dtype: str, extent: int) -> ArrayMetadata:
    """Return the metadata of a column.

    Args:
        name: of a column with a fixed meaning.
        shape: of the whole array.
        dtype: `str` or the name of a NumPy type.
        extent: values in a chunk.
    """
    if dtype == "str":
        first: dict[str, Any] = {"name": "vlen-utf8"}
    elif np.dtype(dtype).itemsize > 1:
        first = {"name": "bytes", "configuration": {"endian": "little"}}
    else:
        first = {"name": "bytes"}
    return ArrayMetadata(
        shape=shape,
        data_type=TYPES.get(dtype, dtype),
        chunk_shape=(extent, *shape[1:]),
        codecs=(first, {"name": "crc32c"}),
        dimension_names=dimensions_of(name),
        attributes={"encoding": encoding_of(name)},
        chunk_key_encoding=CHUNK_KEYS,
        fill_value={"str": "", "bool": False}.get(dtype, 0),
    )


def dimensions_of(name: str) -> tuple[str, ...]:
    """Return the names of the dimensions of an array with a fixed meaning."""
    return DIMENSIONS[name] if name in DIMENSIONS else OPTIONAL_DIMENSIONS[name]


def encoding_of(name: str) -> dict[str, Any]:
    """Return the attribute `encoding` that an array with a fixed meaning has by default."""
    return as_attribute(ENCODINGS[name])


def as_attribute(encoding: tuple[str, int]) -> dict[str, Any]:
    """Return an encoding's name and version as the attribute `encoding`."""
    name, version = encoding
    return {"name": name, "version": version}


def extents(values: Any) -> tuple[int, ...]:
    """Return the extents of a shape in JSON.

    Raises:
        ValueError: it is not a list of integers from 0 to `MOST_COUNT`.
    """
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value <= MOST_COUNT for value in values):
        raise ValueError("a shape is not a list of counts")
    return tuple(values)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _codecs(values: Any) -> tuple[Mapping[str, Any], ...]:
    codecs = tuple(map(_mapping, values))
    if not codecs or not all(isinstance(codec.get("name"), str) for codec in codecs):
        raise ValueError("the codecs have no names")
    return codecs
