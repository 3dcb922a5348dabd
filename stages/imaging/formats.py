"""List the formats of pictures that are read, and explain in messages why a file is not read."""

from __future__ import annotations

import io
from typing import IO

from store.disk.regular import IrregularFileError

__all__ = ["FORMATS", "explain_unknown_format", "explain_unreadable"]

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "JPEG2000")
"""Pillow's names of the formats; HEIC and AVIF are opened by `stages.imaging.iso_media`."""
NAMES = "PNG, JPEG, BMP, TIFF, GIF, WebP, JPEG 2000, AVIF and HEIC"
OTHER_FORMATS = (
    (128, b"DICM", "a DICOM file", "rename it to end in .dcm"),
    (0, b"\x93NUMPY", "a NumPy array", "rename it to end in .npy"),
    (344, b"n+1\0", "a NIfTI file", "rename it to end in .nii"),
    (4, b"n+2\0", "a NIfTI file", "rename it to end in .nii"),
    (0, b"PK\3\4", "an archive", "rename it to end in .npz if it holds NumPy arrays, else unpack it"),
    (0, b"%PDF", "a PDF", f"{NAMES} are read; convert it to PNG"),
)
"""(position, bytes, name, remedy) of common contents of files that are called like pictures and are none."""


def explain_unknown_format(file: IO[bytes]) -> str:
    """Return the problem of a file that no reader recognised, and the remedy."""
    if file.seek(0, io.SEEK_END) == 0:
        return "is empty (0 bytes); restore it from its source"
    for position, signature, name, remedy in OTHER_FORMATS:
        file.seek(position)
        if file.read(len(signature)) == signature:
            return f"is {name} whatever its name says; {remedy}"
    return f"is not a picture in one of the formats {NAMES}, or of a kind of these that is not read; convert it to PNG"


def explain_unreadable(error: OSError) -> str:
    """Return the problem of a file that cannot be read, and the remedy."""
    if isinstance(error, IrregularFileError):
        return f"{error.strerror}; remove it, or put the right file in its place"
    return f"cannot be read ({error.strerror}); restore the file or allow reading it"
