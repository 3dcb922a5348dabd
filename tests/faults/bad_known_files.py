"""List the kinds of records of known files, and of files behind their backs, that `extract --append` meets: `KINDS`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from stages.extraction.known_files import record_of
from tests.faults.kinds import IDS, MEMO, Kind, observe


def _with_record(room: Path, content: bytes | None) -> None:
    """Extract the store so that images can be added to it, and put other bytes, or a FIFO, in the place of the record."""
    shutil.rmtree(room / "s.zarr")
    observe("extract --append", room)
    record = record_of(room / "s.zarr", room / MEMO)
    record.unlink(missing_ok=True)
    if content is None:
        os.mkfifo(record)
    else:
        record.write_bytes(content)


def _changed_behind(room: Path) -> None:
    """Change an image after the extraction, with its size and its mtime as before."""
    _with_record(room, b"")
    image = room / "images" / f"{IDS[0]}.png"
    before = image.stat()
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))


KINDS = [
    Kind(
        "append_damaged_known_files",
        "a record of known files with other content",
        lambda room: _with_record(room, b"pipeline known files 1\nand then anything"),
        "extract --append",
        0,
        ("added to the store: 0 samples; 6 were kept",),
    ),
    Kind(
        "append_fifo_for_known_files",
        "a FIFO in place of the record of known files",
        lambda room: _with_record(room, None),
        "extract --append",
        0,
        ("added to the store: 0 samples; 6 were kept",),
    ),
    Kind(
        "append_changed_behind",
        "an image that was changed with its size and mtime restored",
        _changed_behind,
        "extract --append",
        2,
        ("s.zarr", IDS[0], "have another image, mask or group"),
    ),
    Kind(
        "verify_no_workers", "no process to verify with", lambda _: None, "verify s.zarr --workers 0", 2, ("--workers",)
    ),
]
