"""Recognise exported files that this program wrote, from their first bytes or their table of contents."""

from __future__ import annotations

import zipfile
from pathlib import Path

from store.disk.regular import disk_fails, open_regular

__all__ = ["DESCRIPTION", "PRODUCER", "is_our_onnx", "is_our_program"]

PRODUCER = "diamant-pipeline"
"""Producer in the header of an ONNX file."""
DESCRIPTION = "diamant_pipeline.json"
"""Name of the description inside an archive of `torch.export`, and of its entry in other files."""

_FIRST = 64
"""Bytes of an ONNX file that are read. The producer is its second field, behind a number."""
_PRODUCER_FIELD = b"\x12" + bytes([len(PRODUCER)]) + PRODUCER.encode()
"""Field 2 of the message `ModelProto`, in the encoding of protocol buffers: its key, its length and its text."""


def is_our_onnx(path: Path) -> bool:
    """Return True if a file is an ONNX file of this program.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    try:
        with open_regular(path) as file:
            return _PRODUCER_FIELD in file.read(_FIRST)
    except OSError as error:
        if disk_fails(error):
            raise
        return False


def is_our_program(path: Path) -> bool:
    """Return True if a file is an archive of `torch.export` that this program wrote.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return any(name.endswith(f"/{DESCRIPTION}") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:  # the last: unknown zip versions
        if isinstance(error, OSError) and disk_fails(error):
            raise
        return False
