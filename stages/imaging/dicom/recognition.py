"""Recognise DICOM files whose names do not say what they are: `IM-0001-0012`, or a UID."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

from stages.imaging.volumes.opened import hash_file
from stages.imaging.volumes.paths import VolumePath
from store.disk.regular import open_regular

if TYPE_CHECKING:
    from stages.imaging.volumes.volume import Volume

__all__ = ["ENDING", "DicomPath", "is_dicom"]

ENDING = ".dcm"
START, MARK = 128, b"DICM"
"""Position and bytes by which a DICOM file is recognised (PS3.10, 7.1)."""


class DicomPath(VolumePath):
    """Path of a DICOM file without the extension of one."""

    def __reduce__(self) -> tuple[type[DicomPath], tuple[str]]:
        return DicomPath, (str(self),)

    def absolute(self) -> DicomPath:
        """Return the absolute path; see `VolumePath.absolute`."""
        return DicomPath(Path(self).absolute())

    def open_volume(self) -> Volume:
        """Open the file; see `VolumePath.open_volume`."""
        from stages.imaging.dicom.files import open_file

        return open_file(Path(self))

    def content_digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return hash_file(Path(self))

    @property
    def identity(self) -> Hashable:
        """Return what distinguishes this image from others at the same path."""
        return ("dicom", str(self))


def is_dicom(path: Path) -> bool:
    """Return True if a regular file holds the mark of DICOM; False also if it cannot be read."""
    try:
        with open_regular(path) as file:
            file.seek(START)
            return file.read(len(MARK)) == MARK
    except OSError:
        return False
