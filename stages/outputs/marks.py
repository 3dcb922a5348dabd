"""Recognise files that this program wrote by their first bytes. Nothing heavy is imported.

Where a disk fails, it is not known whose file it is: every function then raises the system's error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from store.disk.regular import MIB, disk_fails, open_regular, read_limited

__all__ = ["json_of", "starts_with", "tensors_metadata"]

LONGEST_HEADER = 100 * MIB
"""Bytes of the longest header that a safetensors file can have."""
LONGEST_JSON = 64 * MIB


def starts_with(path: Path, *beginnings: str) -> bool:
    """Return True if a regular file begins with one of these texts, after a byte order mark if there is one."""
    longest = max(len(text.encode()) for text in beginnings)
    try:
        with open_regular(path) as file:
            first = file.read(longest + 3).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        if disk_fails(error):
            raise
        return False
    return any(first.startswith(text.encode()) for text in beginnings)


def tensors_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata in the header of a safetensors file; an empty dictionary for any other file."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= LONGEST_HEADER else {}
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and disk_fails(error):
            raise
        return {}
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def json_of(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty dictionary if there is none."""
    try:
        content = json.loads(read_limited(path, limit=LONGEST_JSON))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and disk_fails(error):
            raise
        return {}
    return content if isinstance(content, dict) else {}
