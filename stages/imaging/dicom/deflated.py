"""Refuse a DICOM file whose data set is compressed as a whole and would fill the memory when it is unpacked.

pydicom unpacks such a file (Deflated Explicit VR Little Endian; PS3.5, A.5) at once. So its size is found before,
a part at a time.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import IO

from stages.imaging.opening import refuse

__all__ = ["MOST_BYTES", "require_unpackable"]

MOST_BYTES = 2**30
"""Largest data set, when unpacked."""
SYNTAX = b"1.2.840.10008.1.2.1.99"
"""The UID of this compression, in the file meta information."""
META = 132
"""Position of the file meta information, after the preamble and the mark."""
LENGTH = struct.Struct("<HH2sHI")
"""Its first element: group, element, value representation, length, and the bytes that follow in this group."""
LONGEST_META = 2**16
BLOCK = 2**20


def require_unpackable(path: Path, file: IO[bytes]) -> None:
    """Make sure that a file is not compressed as a whole, or can be unpacked. The file is left at its beginning.

    Args:
        path: The file, for messages.
        file: The same file, opened.

    Raises:
        InputProblemsError: it is damaged, or its data set is larger than `MOST_BYTES`.
    """
    file.seek(0)
    head = file.read(LONGEST_META)
    file.seek(0)
    if SYNTAX not in head:
        return
    try:
        *_, length = LENGTH.unpack_from(head, META)
        file.seek(META + LENGTH.size + length)
        size = _unpacked_size(file)
    except (struct.error, zlib.error) as error:
        refuse(path, f"is a damaged DICOM file ({error}); restore it from its source")
    if size > MOST_BYTES:
        what = f"would unpack to more than {MOST_BYTES:,} bytes, because small files can fill memory"
        refuse(path, f"{what}; convert it to a format that is not compressed, for example with `dcmconv` of DCMTK")
    file.seek(0)


def _unpacked_size(file: IO[bytes]) -> int:
    """Return the bytes that the rest of a file unpacks to; it stops above `MOST_BYTES`."""
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while size <= MOST_BYTES and not unpacking.eof and (block := file.read(BLOCK)):
        while block and size <= MOST_BYTES:
            size += len(unpacking.decompress(block, BLOCK))
            block = unpacking.unconsumed_tail
    return size
