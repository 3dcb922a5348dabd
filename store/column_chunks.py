"""Decode a column's chunk, after comparing its size with what the column's metadata promise.

| codecs | values |
|---|---|
| `bytes`, `crc32c` | numbers or truth values of fixed size |
| `vlen-utf8`, `crc32c` | texts |
| the same with `zstd` before `crc32c` | in stores of version 1 |

Nothing is allocated for a number that only the metadata or a compressed chunk claims: the number of rows must fit the
chunk's own size, and the size of unpacked data must be the promised one. Other codecs are not decoded.
"""

from __future__ import annotations

import math
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from store.disk.regular import MIB
from store.metadata import ArrayMetadata
from store.packing import unpack, unpacked_zstd_size
from store.texts import Texts, parse_texts

__all__ = ["MOST_BYTES", "Values", "chunk_size", "decode_chunk", "is_decodable", "read_chunk"]

Values = NDArray[Any] | Texts
"""The values of a chunk: (rows, …) numbers, or texts."""

MOST_BYTES = 256 * MIB
"""Largest size of a chunk of a column, stored and unpacked: 4 KiB for each of 65536 rows."""

CRC_BYTES = 4

FIRST = ("bytes", "vlen-utf8")


def is_decodable(metadata: ArrayMetadata) -> bool:
    """Return True if this program can decode a column: it knows the codecs and the type of its values."""
    first, *others = (codec["name"] for codec in metadata.codecs)
    if first not in FIRST or others not in (["crc32c"], ["zstd", "crc32c"]):
        return False
    if first == "vlen-utf8":
        return metadata.data_type == "string"
    return metadata.is_little_endian(metadata.codecs[0]) and metadata.known_dtype is not None


def chunk_size(metadata: ArrayMetadata) -> int | None:
    """Return the size in bytes that every chunk of a column has; None if chunks differ in size."""
    if not is_decodable(metadata) or len(metadata.codecs) > 2 or _is_text(metadata):  # noqa: PLR2004 - packed
        return None
    return _unpacked_size(metadata) + CRC_BYTES


def decode_chunk(content: bytes, metadata: ArrayMetadata) -> NDArray[Any]:
    """Return the values of a chunk as an array.

    Args:
        content: the bytes of the chunk's file.
        metadata: of the column; `is_decodable` is true for it.

    Returns:
        (rows of a chunk, …) values; texts as NumPy's `StringDType`.

    Raises:
        ValueError: the chunk does not match its checksum, or is not what the metadata say.
    """
    values = read_chunk(content, metadata)
    return values.to_array().reshape(metadata.chunk_shape) if isinstance(values, Texts) else values


def read_chunk(content: bytes | memoryview, metadata: ArrayMetadata) -> Values:
    """Return the values of a chunk. They refer to its bytes and are not copied, unless the chunk is compressed.

    Args:
        content: the bytes of the chunk's file, which may be mapped.
        metadata: of the column; `is_decodable` is true for it.

    Raises:
        ValueError: the chunk does not match its checksum, or is not what the metadata say.
    """
    payload, checksum = content[:-CRC_BYTES], int.from_bytes(content[-CRC_BYTES:], "little")
    if len(content) < CRC_BYTES or google_crc32c.value(bytes(payload)) != checksum:  # it takes only bytes
        raise ValueError("does not match its checksum")
    shape = metadata.chunk_shape
    packed = len(metadata.codecs) > 2  # noqa: PLR2004 - zstd before the checksum
    if _is_text(metadata):
        return parse_texts(_inflated(payload) if packed else payload, math.prod(shape))
    size, dtype = _unpacked_size(metadata), metadata.dtype
    if packed:
        _require_small(size)
        unpacked = np.empty(size, np.uint8)
        unpack(memoryview(payload), unpacked, "zstd")
        return unpacked.view(dtype).reshape(shape)
    if len(payload) != size:
        raise ValueError(f"{len(payload)} bytes in place of {size}")
    return np.frombuffer(payload, dtype).reshape(shape)


def _is_text(metadata: ArrayMetadata) -> bool:
    return metadata.data_type == "string"


def _unpacked_size(metadata: ArrayMetadata) -> int:
    return math.prod(metadata.chunk_shape) * metadata.dtype.itemsize


def _inflated(payload: bytes | memoryview) -> bytes:
    """Return the bytes of a chunk of texts that is packed by zstd."""
    size = unpacked_zstd_size(memoryview(payload))
    if size is None:
        raise ValueError("does not say its unpacked size")
    _require_small(size)
    unpacked = np.empty(size, np.uint8)
    unpack(memoryview(payload), unpacked, "zstd")
    return unpacked.tobytes()


def _require_small(size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"unpacks to {size} bytes, more than {MOST_BYTES}")
