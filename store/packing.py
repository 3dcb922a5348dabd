"""Pack and unpack the bytes of a chunk: unchanged, or with Zarr v3's codec `zstd` or `blosc`.

`raw` can be copied straight from a mapped file. `lz4` (in Blosc) is for masks: it makes them fifty times smaller, and
unpacking takes a fifth of the time of zstd, hardly longer than copying. `zstd` is for images and attention, if a
store is to be sent to other machines.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
from numcodecs import blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

Packing = Literal["raw", "zstd", "lz4"]

ZSTD_LEVEL = 3
LZ4_LEVEL = 3
"""Level of Blosc's `lz4hc`: the lowest that uses its better search.

Higher levels take up to eight times as long to pack masks and save a tenth of their size at most.
"""

CHAINS: dict[tuple[str, ...], Packing] = {
    ("bytes", "crc32c"): "raw",
    ("bytes", "zstd", "crc32c"): "zstd",
    ("bytes", "blosc", "crc32c"): "lz4",
}
"""The packing of a chunk, by the names of its codecs in the array's metadata."""

MOST_EXPANSION = 2**17
"""Largest number of bytes that one packed byte can stand for: a block of Zstandard unpacks to at most 128 KiB."""

_BLOSC_HEADER = struct.Struct("<4B3I")
"""Fields of one byte: two versions, flags, size of an element. Then three sizes in bytes: unpacked, of a block, packed.

(c-blosc, README_HEADER.)
"""

_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_ZSTD_HEADER = 5
"""Bytes of the magic number and the frame header descriptor."""


def codecs(packing: Packing, size: int) -> list[dict[str, Any]]:
    """Return the codecs between `bytes` and `crc32c` in an array's metadata, for chunks of `size` bytes."""
    if packing == "zstd":
        return [{"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}]
    if packing == "lz4":
        configuration = {
            "typesize": 1,
            "cname": "lz4hc",
            "clevel": LZ4_LEVEL,
            "shuffle": "noshuffle",
            "blocksize": size,
        }
        return [{"name": "blosc", "configuration": configuration}]
    return []


def pack(payload: bytes, packing: Packing) -> bytes:
    """Return the stored form of some bytes; the same input always gives the same output."""
    if packing == "zstd":
        return bytes(Zstd(level=ZSTD_LEVEL).encode(payload))
    if packing == "lz4":
        # One block, whatever the size: Blosc's threads store several blocks in the order in which they finish.
        return bytes(blosc.compress(payload, b"lz4hc", LZ4_LEVEL, shuffle=blosc.NOSHUFFLE, blocksize=len(payload)))
    return payload


def unpack(payload: memoryview, out: NDArray[Any], packing: Packing) -> None:
    """Write the original bytes of a stored chunk into `out`.

    Args:
        payload: the stored bytes, without their checksum.
        out: (size,) uint8, contiguous.
        packing: how they were packed.

    Raises:
        ValueError: they do not unpack to exactly `size` bytes.
    """
    # Blosc trusts its header, so the number of bytes that it reads and writes is checked here.
    require_unpacked_size(payload, out.nbytes, packing)
    if packing == "raw":
        out[:] = payload
    elif packing == "lz4":
        try:
            blosc.decompress(payload, out)
        except RuntimeError as error:
            raise ValueError(f"does not unpack ({error})") from None
    else:
        try:
            Zstd().decode(payload, out)  # never writes beyond `out`
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"does not unpack ({error})") from None


def require_unpacked_size(payload: memoryview, size: int, packing: Packing) -> None:
    """Compare the size that a chunk claims to have unpacked with the promised one, before memory is allocated for it.

    Args:
        payload: the stored bytes, without their checksum.
        size: bytes that the array's shape and type promise.
        packing: how they were packed.

    Raises:
        ValueError: it claims another size, or has no sound header.
    """
    if packing == "raw":
        _require(len(payload), size)
        return
    if packing == "lz4":
        claimed, packed = _blosc_sizes(payload)
        _require(packed, len(payload))
    else:
        sized = unpacked_zstd_size(payload)
        claimed = size if sized is None else sized  # Zstandard allows to leave it out
    _require(claimed, size)
    if size > len(payload) * MOST_EXPANSION:
        raise ValueError(f"{len(payload)} bytes cannot hold {size} bytes")


def blosc_sizes_are(headers: NDArray[np.uint32], *, packed: NDArray[np.int64], unpacked: int) -> bool:
    """Return True if the headers of chunks claim the sizes that they should, as `require_unpacked_size` compares them.

    Args:
        headers: (chunk, 4) their first 16 bytes as words.
        packed: (chunk,) bytes of each chunk.
        unpacked: bytes that each should unpack to.
    """
    right = (headers[:, 1] == unpacked) & (headers[:, 3] == packed)
    return bool(right.all()) and unpacked <= int(packed.min()) * MOST_EXPANSION


def unpacked_zstd_size(payload: bytes | memoryview) -> int | None:
    """Return the unpacked size in a Zstandard frame's header (RFC 8878, 3.1.1); None if the header leaves it out.

    Raises:
        ValueError: it is no Zstandard frame.
    """
    if len(payload) <= _ZSTD_HEADER or bytes(payload[:4]) != _ZSTD_MAGIC:
        raise ValueError("does not unpack (no Zstandard frame)")
    descriptor = payload[4]
    single_segment = descriptor >> 5 & 1
    length = (single_segment, 2, 4, 8)[descriptor >> 6]
    if not length:
        return None
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    field = payload[start : start + length]
    if len(field) < length:
        raise ValueError("does not unpack (cut short)")
    return int.from_bytes(field, "little") + (256 if length == 2 else 0)  # noqa: PLR2004 - its range begins at 256


def _blosc_sizes(payload: memoryview) -> tuple[int, int]:
    """Return the unpacked and the packed size in a Blosc header."""
    if len(payload) < _BLOSC_HEADER.size:
        raise ValueError("does not unpack (cut short)")
    *_, unpacked, _block, packed = _BLOSC_HEADER.unpack_from(payload)
    return unpacked, packed


def _require(found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"{found} bytes in place of {expected}")
