"""How a chunk's bytes are stored: as they are, or packed by one of two of Zarr v3's codecs.

`raw` is what a mapped file can be copied from. `lz4` is for masks, which it makes fifty times smaller and unpacks in
a fifth of the time of zstd, hardly longer than copying takes. `zstd` is for images and attention of stores that are to
travel.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

from numcodecs import blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, ZstdCodec

Packing = Literal["raw", "zstd", "lz4"]

ZSTD_LEVEL = 3
LZ4_LEVEL = 3
"""Of Blosc's `lz4hc`: the lowest with its better search. Higher ones take up to eight times as long to pack masks, to
save a tenth of their size at most."""

_BLOSC_HEADER = struct.Struct("<4B3I")
"""Two versions, flags, size of an element; bytes unpacked, of a block, and packed. (c-blosc, README_HEADER.)"""


def codecs(packing: Packing, size: int) -> list[Any]:
    """What the array's metadata says of a packing: zarr's codecs, for chunks of `size` bytes."""
    if packing == "zstd":
        return [ZstdCodec(level=ZSTD_LEVEL)]
    if packing == "lz4":
        return [BloscCodec(typesize=1, cname="lz4hc", clevel=LZ4_LEVEL, shuffle="noshuffle", blocksize=size)]
    return []


def pack(payload: bytes, packing: Packing) -> bytes:
    """The bytes that are stored for these; always the same ones for the same."""
    if packing == "zstd":
        return bytes(Zstd(level=ZSTD_LEVEL).encode(payload))
    if packing == "lz4":
        # One block, whatever the size: Blosc's threads store several in the order in which they are done.
        return bytes(blosc.compress(payload, b"lz4hc", LZ4_LEVEL, shuffle=blosc.NOSHUFFLE, blocksize=len(payload)))
    return payload


def unpack(payload: memoryview, out: NDArray[Any], packing: Packing) -> None:
    """Write the bytes that were packed into `out`.

    Args:
        payload: what is stored.
        out: (size,) uint8, contiguous.
        packing: how it was packed.

    Raises:
        ValueError: it does not unpack to just these many bytes.
    """
    if packing == "raw":
        _require(len(payload), out.nbytes)
        out[:] = payload
    elif packing == "lz4":
        if len(payload) < _BLOSC_HEADER.size:
            raise ValueError("does not unpack (cut short)")
        *_, unpacked, _block, packed = _BLOSC_HEADER.unpack_from(payload)
        # Blosc believes its header: how much it reads and writes is made sure of here.
        _require(unpacked, out.nbytes)
        _require(packed, len(payload))
        try:
            blosc.decompress(payload, out)
        except RuntimeError as error:
            raise ValueError(f"does not unpack ({error})") from None
    else:
        try:
            unpacked = Zstd().decode(payload)
        except RuntimeError as error:
            raise ValueError(f"does not unpack ({error})") from None
        _require(len(unpacked), out.nbytes)
        out[:] = memoryview(unpacked)


def _require(found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"{found} bytes in place of {expected}")
