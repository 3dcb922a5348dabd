"""Pass messages between this process and the helper process: a JSON object, and any number of bytes.

A message is the length of the JSON and of the bytes as two little-endian uint64, then both.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

__all__ = ["read_frame", "write_frame"]

_LENGTHS = struct.Struct("<QQ")


def write_frame(stream: BinaryIO, message: Mapping[str, Any], content: bytes | bytearray = b"") -> None:
    """Write one message.

    Raises:
        OSError: the other process has ended.
    """
    text = json.dumps(message).encode()
    stream.write(_LENGTHS.pack(len(text), len(content)) + text)
    if content:
        stream.write(content)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read one message; None if the other process has closed the stream."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    of_text, of_content = _LENGTHS.unpack(lengths)
    text, content = stream.read(of_text), stream.read(of_content)
    if len(text) < of_text or len(content) < of_content:
        return None
    return json.loads(text), content
