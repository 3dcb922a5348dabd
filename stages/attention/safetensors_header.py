"""Read the header of a `.safetensors` file without its tensors.

The file starts with the length of the header, 8 bytes in little-endian order. A JSON object follows: for every tensor
its type, shape and place, and under `__metadata__` free text. What the length promises is compared with the file and
with a limit before anything is read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from store.disk.regular import MIB, open_regular

__all__ = ["LONGEST_HEADER", "read_header"]

LONGEST_HEADER = 8 * MIB
"""Bytes. The format allows 100 MB; the header of a transformer of 60 blocks has 0.1 MB."""
_LENGTH = 8  # bytes before the header


def read_header(path: Path) -> dict[str, Any] | None:
    """Return the header of a `.safetensors` file; None for a file of another kind.

    A file whose header is cut short, too long, or no JSON object counts as a file of another kind.

    Raises:
        OSError: the file is missing, is not a regular file, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 0 < length <= min(LONGEST_HEADER, size - _LENGTH):
            return None
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return header if isinstance(header, dict) else None
