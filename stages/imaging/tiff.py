"""Find damage in a TIFF that neither Pillow nor libtiff reports.

| what                                     | the check                                                              |
|------------------------------------------|------------------------------------------------------------------------|
| list of strips or tiles                  | complete; none is empty, outside the file, or overlaps another in part |
| deflate                                  | every strip unpacks to its full size, and its checksum is right        |
| JPEG                                     | every strip is decoded strictly (`stages.imaging.jpeg`)                |
| PackBits                                 | every strip unpacks to exactly its size                                |
| CCITT group 4                            | no two zero bytes inside a strip: no code gives them                   |
| LZW, and what remains of the others      | libtiff's messages (`stages.imaging.tiff_messages`)                    |

Pixels without compression have no checksum, LZW and CCITT have none either: single changed bytes stay unseen there.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from PIL import Image

from stages.imaging.jpeg import check_scan

__all__ = ["check_tiff", "use_tags"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANES = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, JPEG_TABLES = 322, 323, 324, 325, 347
SAMPLE_FORMAT = 339
TAGS = (
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANES),
    *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, JPEG_TABLES, SAMPLE_FORMAT),
)
"""All tags that are read here and in `stages.imaging.deep_values`."""
NONE, GROUP_4, JPEG, DEFLATE, ADOBE_DEFLATE, PACKBITS = 1, 4, 7, 32946, 8, 32773
SEPARATE, YCBCR = 2, 6
PIECE = 2**20
"""Bytes that are unpacked at a time."""
END_OF_BLOCK = 4
"""Bytes at the end of a group 4 strip that may be zero: its end mark and padding."""


@dataclass(frozen=True)
class _Parts:
    """Hold the strips or tiles of a picture."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    """Bytes in the file."""
    unpacked: tuple[int, ...]
    """Bytes when unpacked."""


def check_tiff(data: bytes, image: Image.Image) -> None:
    """Check the strips or tiles of a TIFF that is opened but not loaded.

    Args:
        data: The file's bytes.
        image: The picture in it.

    Raises:
        ValueError: strips are missing or damaged; the text says what is wrong.
    """
    tags: Any = image.tag_v2  # type: ignore[attr-defined]  # mypy: only TIFF pictures have it
    compression = tags.get(COMPRESSION, NONE)
    parts = _parts(tags)
    in_full = compression == NONE and tags.get(PHOTOMETRIC) != YCBCR  # its channels may differ in size
    _check_places(parts, len(data), in_full=in_full)
    contents = [memoryview(data)[at : at + size] for at, size in zip(parts.offsets, parts.sizes, strict=False)]
    if compression == JPEG:
        tables = tags.get(JPEG_TABLES, b"")
        for content in contents:
            # Tables and strip are JPEG files of their own: together without the end of one and the start of the other.
            check_scan(tables[:-2] + bytes(content[2:]) if tables else bytes(content))
    elif tags.get(PHOTOMETRIC) != YCBCR:
        check = {DEFLATE: _check_deflate, ADOBE_DEFLATE: _check_deflate, PACKBITS: _check_packbits}.get(compression)
        for content, size in zip(contents, parts.unpacked, strict=False):
            if check is not None:
                check(content, size)
    if compression == GROUP_4:
        for content in contents:
            if b"\0\0" in bytes(content).rstrip(b"\0")[:-END_OF_BLOCK]:
                raise ValueError("a strip holds zeros that are no code")


def use_tags(image: Image.Image) -> None:
    """Convert the values of all tags that are read later. Pillow warns about wrong ones when they are first used."""
    for tag in TAGS:
        image.tag_v2.get(tag)  # type: ignore[attr-defined]  # mypy: only TIFF pictures have it


def _parts(tags: Any) -> _Parts:
    """Return the strips or tiles from the tags of a picture.

    Raises:
        ValueError: the lists are shorter than the picture needs.
    """
    width, height = tags[WIDTH], tags[HEIGHT]
    samples = tags.get(SAMPLES, 1)
    planes = samples if tags.get(PLANES) == SEPARATE else 1
    bits = max(tags.get(BITS, (1,))) * (1 if planes > 1 else samples)
    if TILE_OFFSETS in tags:
        across, down = tags[TILE_WIDTH], tags[TILE_HEIGHT]
        unpacked = [down * -(-across * bits // 8)] * (-(-width // across) * -(-height // down))
        offsets, sizes = tags[TILE_OFFSETS], tags.get(TILE_BYTES, ())
    else:
        rows = max(1, min(tags.get(ROWS_PER_STRIP, height), height))
        unpacked = [min(rows, height - row) * -(-width * bits // 8) for row in range(0, height, rows)]
        offsets, sizes = tags[STRIP_OFFSETS], tags.get(STRIP_BYTES, ())
    unpacked *= planes
    if len(offsets) < len(unpacked):
        raise ValueError(f"it lists {len(offsets)} strips or tiles of pixels and needs {len(unpacked)}")
    return _Parts(tuple(offsets), tuple(sizes), tuple(unpacked))


def _check_places(parts: _Parts, end: int, *, in_full: bool) -> None:
    """Check that all strips lie in the file, after its header, and do not overlap in part."""
    sizes = parts.unpacked if in_full else parts.sizes  # byte counts are often wrong where they are not needed
    places = sorted({(at, at + size) for at, size in zip(parts.offsets, sizes, strict=False)})
    if any(start in {0, stop} for start, stop in places):
        raise ValueError("a strip or tile of its pixels is missing")
    if any(start >= end for start, _ in places):
        raise ValueError("a strip or tile of its pixels lies beyond the end of the file")
    if in_full and any(next_start < stop for (_, stop), (next_start, _) in pairwise(places)):
        raise ValueError("strips or tiles of its pixels overlap")


def _check_deflate(content: memoryview, expected: int) -> None:
    unpacker, size, waiting = zlib.decompressobj(), 0, bytes(content)
    try:
        while waiting and not unpacker.eof and size <= expected + PIECE:
            size += len(unpacker.decompress(waiting, PIECE))
            waiting = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"a strip does not unpack: {error}") from None
    if size < expected:
        raise ValueError("a strip holds too few pixels")


def _check_packbits(content: memoryview, expected: int) -> None:
    at = size = 0
    while size < expected and at < len(content):
        code = content[at]
        if code < 128:  # noqa: PLR2004 - that many bytes and one more follow
            size, at = size + code + 1, at + code + 2
        else:
            size, at = size + (257 - code) % 129, at + 2 - (code == 128)  # noqa: PLR2004 - one byte, repeated; 128: none
    if size != expected or at > len(content):
        raise ValueError("a strip does not unpack to the size of its pixels")
