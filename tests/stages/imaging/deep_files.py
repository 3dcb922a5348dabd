"""Write a PNG in colours of 16 bits, which Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

__all__ = ["save_deep_png"]

PNG_COLOUR_TYPES = {2: 4, 3: 2, 4: 6}
"""Colour type in the header by the number of channels: grey + alpha, RGB, RGBA."""


def save_deep_png(path: Path, pixels: np.ndarray, *, transparent: tuple[int, int, int] | None = None) -> Path:
    """Write (height, width, 2 to 4) uint16 as PNG; return the path."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if transparent is not None:
        chunks.insert(1, (b"tRNS", struct.pack(">HHH", *transparent)))
    packed = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path
