"""Check the directory of a zip file before a library reads the entries.

`torch.save` writes a zip file whose entries are not compressed. The directory at the end of the file says how many
entries there are and how long each is. A hostile directory can promise millions of entries, or entries that become
larger than the memory when they are unpacked. So the promises are compared with the size of the file first. Nothing is
unpacked here.
"""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from store.disk.regular import MIB, open_regular

__all__ = ["MOST_ENTRIES", "zip_problem"]

MOST_ENTRIES = 50_000
"""Entries that a file may have. A checkpoint of the largest ViT with its optimiser has about 5,000."""
_LONGEST_DIRECTORY = 16 * MIB
_LONGEST_PICKLE = 16 * MIB
"""Bytes of the entry `data.pkl`, which names the tensors. It is read whole; for a ViT it has less than 1 MB."""

_END = struct.Struct("<4s4H2LH")  # end of the directory: …, entries here, entries, bytes, place, length of the comment
_END_MARK = b"PK\5\6"
_LOCATOR = struct.Struct("<4sLQL")  # lies before the end in files of 4 GiB and more
_LOCATOR_MARK = b"PK\6\7"
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_MARK = b"PK\6\6"
_LONGEST_COMMENT = 1 << 16


def zip_problem(path: Path) -> str | None:
    """Return what is wrong with the directory of a zip file that `torch.save` can have written; None if it is sound.

    Raises:
        OSError: the file is missing, is not a regular file, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        found = _promise(file, size)
        if found is None:
            return "has no zip directory at its end, so it is cut short or damaged"
        entries, directory = found
        if entries > MOST_ENTRIES or directory > _LONGEST_DIRECTORY:
            return f"promises {entries:,} entries in its zip directory, and at most {MOST_ENTRIES:,} are read"
        try:
            with zipfile.ZipFile(file) as archive:
                listed = archive.infolist()
        except (zipfile.BadZipFile, ValueError, RuntimeError, OverflowError, OSError, struct.error):
            return "has a damaged zip directory"
    return _problem_of_entries(listed, size)


def _promise(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """Return the number of entries and the bytes of the directory, as the end of the file promises them."""
    start = max(0, size - _LONGEST_COMMENT - _END.size - _LOCATOR.size)
    file.seek(start)
    tail = file.read(size - start)
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        return None
    _, _, _, here, entries, directory, _, _ = _END.unpack_from(tail, at)
    before = at - _LOCATOR.size
    if before >= 0 and tail[before:at].startswith(_LOCATOR_MARK):
        _, _, place, _ = _LOCATOR.unpack_from(tail, before)
        if place > size - _END_64.size:
            return None
        file.seek(place)
        mark, *_, here, entries, directory, _ = _END_64.unpack(file.read(_END_64.size))
        if mark != _END_64_MARK:
            return None
    return max(here, entries), directory


def _problem_of_entries(listed: list[zipfile.ZipInfo], size: int) -> str | None:
    if len(listed) > MOST_ENTRIES:
        return f"has {len(listed):,} entries in its zip directory, and at most {MOST_ENTRIES:,} are read"
    unpacked = sum(entry.file_size for entry in listed)
    if unpacked > size:
        return f"unpacks to {unpacked:,} bytes from {size:,}, and `torch.save` does not compress"
    for entry in listed:
        if entry.compress_type != zipfile.ZIP_STORED:
            return "has compressed entries, and `torch.save` does not compress"
        if entry.filename.endswith(".pkl") and entry.file_size > _LONGEST_PICKLE:
            return f"has a list of tensors of {entry.file_size:,} bytes, and at most {_LONGEST_PICKLE:,} are read"
    return None
