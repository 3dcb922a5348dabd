"""Find damage in a PNG that Pillow does not report.

Pillow does not compare the checksums of the chunks with pixels, and takes pixels that are missing at the end for zeros.
A missing end chunk, or bytes after the end, leave the pixels alone and are no damage here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

__all__ = ["check_png", "check_png_end"]

START = 8
"""Bytes before the first chunk."""
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and steps of the passes of an interlaced PNG."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By type of colour."""
PIECE = 2**20
"""Bytes that are unpacked at a time."""


def check_png(data: bytes) -> None:
    """Compare the checksums of the pixels' chunks.

    Raises:
        ValueError: one of them is wrong, or the file ends in such a chunk.
    """
    for kind, at, size in _chunks(data):
        content = memoryview(data)[at : at + size]
        if kind == b"IDAT" and zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big") != data[at + size :][:4]:
            # A file that only lacks the last checksum, or a part of it, has all its pixels.
            if len(data) < at + size + 4 and len(content) == size:
                return
            raise ValueError("the checksum of its pixels is wrong")


def check_png_end(data: bytes, image: Image.Image) -> None:
    """Check that no pixels are missing at the end. The pixels are unpacked again only if the last row is all zeros.

    Args:
        data: The file's bytes.
        image: The picture as stored, loaded.

    Raises:
        ValueError: the file holds fewer pixels than its header says.
    """
    width, height = image.size
    depth, colour, _, _, interlaced = data[START + 16 : START + 21]
    if not interlaced and np.asarray(image.crop((0, height - 1, width, height))).any():
        return
    bits = depth * CHANNELS[colour]
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(height - row) // down), -(-(width - column) // right)) for row, column, down, right in passes]
    expected = sum(rows * (1 + -(-columns * bits // 8)) for rows, columns in sizes if rows > 0 and columns > 0)
    pixels = (data[at : at + size] for kind, at, size in _chunks(data) if kind == b"IDAT")
    if _unpacked_size(pixels, expected) < expected:
        raise ValueError("pixels are missing at its end")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of every chunk, the position of its content and its size."""
    at = START
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at + 8, size
        at += size + 12


def _unpacked_size(pieces: Iterator[bytes], enough: int) -> int:
    """Return the number of bytes that a stream unpacks to, or any number from `enough` on."""
    unpacker, size = zlib.decompressobj(), 0
    for piece in pieces:
        waiting = piece
        while waiting and size < enough:
            size += len(unpacker.decompress(waiting, PIECE))
            waiting = unpacker.unconsumed_tail
    while size < enough and (more := unpacker.decompress(b"", PIECE)):
        size += len(more)
    return size
