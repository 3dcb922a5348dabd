"""Check and unpack the chunks of many samples of one shard together. One by one, small samples cost more than reading.

Nothing here reports a fault: what is not as usual is left to the code for one sample (`store.shards`, `store.packing`),
which finds the fault again and names it.
"""

from __future__ import annotations

import mmap

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from store.packing import Packing, blosc_sizes_are

__all__ = ["CRC_BYTES", "checksums_at", "computed_checksums", "unpack_together"]

CRC_BYTES = 4
BLOSC_HEADER = 16
"""Bytes of the header of a chunk that Blosc packed."""

SMALL = 512
"""Bytes of an unpacked chunk up to which copying it once more takes less time than giving Blosc its place."""

Places = NDArray[np.int64]


def computed_checksums(content: mmap.mmap, starts: Places, stops: Places) -> NDArray[np.uint32]:
    """Return the CRC-32C of each part of a file, (part,).

    Args:
        content: the mapped file.
        starts: (part,) first byte of each.
        stops: (part,) the byte after its last one.
    """
    crc32c = google_crc32c.value
    return np.array(
        [crc32c(content[at:end]) for at, end in zip(starts.tolist(), stops.tolist(), strict=True)], np.uint32
    )


def checksums_at(content: NDArray[np.uint8], places: Places) -> NDArray[np.uint32]:
    """Return the CRC-32C that are stored at some places, little-endian, (place,)."""
    words = content[places[:, None] + np.arange(CRC_BYTES)].view("<u4")
    found: NDArray[np.uint32] = words[:, 0].astype(np.uint32)
    return found


def unpack_together(
    content: NDArray[np.uint8], starts: Places, stops: Places, rows: NDArray[np.uint8], packing: Packing
) -> bool:
    """Unpack the chunks of samples that lie one after the other.

    Args:
        content: (bytes,) the shard.
        starts: (sample,) first byte of each chunk.
        stops: (sample,) the byte after its last one, without its checksum.
        rows: (sample, size) is filled.
        packing: of the chunks.

    Returns:
        True if all were unpacked; False if they have to be unpacked one by one.
    """
    if packing == "raw":
        return _copy(content, starts, stops, rows)
    if packing == "lz4":
        return _unpack_blosc(content, starts, stops, rows)
    return False


def _copy(content: NDArray[np.uint8], starts: Places, stops: Places, rows: NDArray[np.uint8]) -> bool:
    """Copy chunks of one size that follow each other."""
    count, size = rows.shape
    step = size + CRC_BYTES
    if (stops - starts != size).any() or (starts != int(starts[0]) + step * np.arange(count)).any():
        return False
    first = int(starts[0])
    rows[:] = content[first : first + count * step].reshape(count, step)[:, :size]
    return True


def _unpack_blosc(content: NDArray[np.uint8], starts: Places, stops: Places, rows: NDArray[np.uint8]) -> bool:
    """Unpack chunks whose headers are right. Blosc trusts its header, so all headers are compared before."""
    if (stops - starts < BLOSC_HEADER).any():
        return False
    headers = content[starts[:, None] + np.arange(BLOSC_HEADER)].view("<u4")
    if not blosc_sizes_are(headers, packed=stops - starts, unpacked=rows.shape[1]):
        return False
    decompress, stored = blosc.decompress, content.data
    places = zip(starts.tolist(), stops.tolist(), strict=True)
    try:
        if rows.shape[1] <= SMALL:
            unpacked = b"".join([decompress(stored[at:end]) for at, end in places])
            rows[:] = np.frombuffer(unpacked, np.uint8).reshape(rows.shape)
        else:
            for row, (at, end) in zip(rows, places, strict=True):
                decompress(stored[at:end], row)
    except RuntimeError:
        return False
    return True
