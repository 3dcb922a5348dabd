"""Read the header of a JPEG 2000 file: the bits of its values, and whether its compression is lossless.

ITU-T T.800, Annex A. The container (JP2) is skipped: the code stream begins with the markers SOC and SIZ.
"""

from __future__ import annotations

from typing import IO

__all__ = ["bits_of", "is_irreversible", "is_jpeg2000"]

SIGNATURES = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
START, DEFAULTS = b"\xff\x4f\xff\x51", b"\xff\x52"
FIRST_COMPONENT = 42
"""Bytes from the start of the code stream to the depth of its first component."""
TRANSFORM = 13
"""Bytes from the marker COD to the kind of the transform: 0 is irreversible."""
LONGEST_HEADER = 2**20
"""Bytes that are searched for the code stream: a colour profile comes first."""
SIGN = 0x80


def is_jpeg2000(file: IO[bytes]) -> bool:
    """Return True if a file begins as JPEG 2000."""
    file.seek(0)
    return file.read(12).startswith(SIGNATURES)


def bits_of(file: IO[bytes]) -> int:
    """Return the bits of the values of a JPEG 2000 file, 1 to 38; 0 if its header is damaged."""
    file.seek(0)
    head = file.read(LONGEST_HEADER)
    at = head.find(START)
    if at < 0 or len(head) <= at + FIRST_COMPONENT:
        return 0
    return (head[at + FIRST_COMPONENT] & ~SIGN) + 1


def is_irreversible(data: bytes) -> bool:
    """Return True if the compression changes values; also if the header does not say it."""
    at = data.find(DEFAULTS, max(0, data.find(START)))
    return at < 0 or len(data) <= at + TRANSFORM or data[at + TRANSFORM] == 0
