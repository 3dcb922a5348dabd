"""List the formats of volumes: by which names their files are known, and which module reads them.

A module is imported when the first file of its format is opened, so that a library costs nothing where it is not used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.imaging.volumes.paths import VolumePath
from stages.imaging.volumes.volume import Volume

__all__ = ["READERS", "VOLUME_EXTENSIONS", "Reader", "is_volume_file", "reader_of"]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Describe one format of volumes."""

    title: str
    """Name of the format in messages."""
    extensions: tuple[str, ...]
    """Endings of file names, in lower case, with the dot."""
    module: str
    """Module with a function `open_file(path) -> Volume`, which raises `InputProblemsError` for a file that is damaged
    or of a kind that is not read."""

    def open(self, path: Path) -> Volume:
        """Open a file of this format; only its header is read.

        Raises:
            InputProblemsError: the file cannot be used.
        """
        opened: Volume = importlib.import_module(self.module).open_file(path)
        return opened


READERS: Mapping[str, Reader] = {
    "numpy": Reader(
        title="NumPy array",
        extensions=(".npy",),
        module="stages.imaging.volumes.numpy_files",
    ),
    "dicom": Reader(
        title="DICOM",
        extensions=(".dcm", ".dicom", ".ima"),
        module="stages.imaging.dicom.files",
    ),
    "nifti": Reader(
        title="NIfTI",
        extensions=(".nii", ".nii.gz"),
        module="stages.imaging.volumes.nifti",
    ),
}
"""Every format by its name."""
VOLUME_EXTENSIONS = tuple(extension for reader in READERS.values() for extension in reader.extensions)
"""Endings of the names of all volumes, in lower case."""


def is_volume_file(path: Path) -> bool:
    """Return True if the path or its name says that the file is read as a volume."""
    return isinstance(path, VolumePath) or path.name.lower().endswith(VOLUME_EXTENSIONS)


def reader_of(path: Path) -> Reader:
    """Return the reader of a file for which `is_volume_file` is true."""
    if isinstance(path, VolumePath):
        return READERS[path.format]
    name = path.name.lower()
    return next(reader for reader in READERS.values() if name.endswith(reader.extensions))
