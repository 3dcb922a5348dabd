"""List the formats of volumes: by which names their files are known, and which module reads them.

A module is imported when the first file of its format is opened, so that a library costs nothing where it is not used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stages.errors import InputProblemsError, Problem
from stages.imaging.samples import printable
from stages.imaging.volumes.paths import VolumePath
from stages.imaging.volumes.pyramid_rule import is_pyramid
from stages.imaging.volumes.recognising import is_animation, is_array_stack, is_deep_jpeg2000, is_tiff_stack
from stages.imaging.volumes.volume import Volume

__all__ = ["READERS", "SHARED_EXTENSIONS", "VOLUME_EXTENSIONS", "Reader", "is_volume_file", "reader_of"]


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
    recognise: Callable[[Path], bool] | None = None
    """Returns True for the files of this format among those with its endings; None if all of them are. Only for endings
    that pictures have too."""

    def matches(self, path: Path) -> bool:
        """Return True if a file is read by this reader. Only a header is read, if any."""
        return path.name.lower().endswith(self.extensions) and (self.recognise is None or self.recognise(path))

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
    "slide": Reader(
        title="whole-slide image",
        extensions=(".svs", ".ndpi", ".mrxs", ".scn", ".bif"),
        module="stages.imaging.volumes.slides",
    ),
    "pyramid": Reader(
        title="tiled or pyramidal TIFF",
        extensions=(".tif", ".tiff"),
        module="stages.imaging.volumes.pyramids",
        recognise=is_pyramid,
    ),
    "tiff": Reader(
        title="TIFF",
        extensions=(".tif", ".tiff"),
        module="stages.imaging.volumes.tiff_files",
        recognise=is_tiff_stack,
    ),
    "animation": Reader(
        title="animation",
        extensions=(".gif", ".webp", ".avif"),
        module="stages.imaging.volumes.frame_files",
        recognise=is_animation,
    ),
    "archive": Reader(
        title="NumPy archive",
        extensions=(".npz",),
        module="stages.imaging.volumes.archive_files",
        recognise=is_array_stack,
    ),
    "jpeg2000": Reader(
        title="JPEG 2000",
        extensions=(".jp2", ".j2k", ".j2c", ".jpx", ".jpf"),
        module="stages.imaging.volumes.jpeg2000_files",
        recognise=is_deep_jpeg2000,
    ),
    "nifti": Reader(
        title="NIfTI",
        extensions=(".nii", ".nii.gz"),
        module="stages.imaging.volumes.nifti",
    ),
}
"""Every format by its name. Where several read a file, the first one counts."""
VOLUME_EXTENSIONS = tuple(
    extension for reader in READERS.values() if reader.recognise is None for extension in reader.extensions
)
"""Endings of names that only volumes have, in lower case."""
SHARED_EXTENSIONS = tuple(
    extension for reader in READERS.values() if reader.recognise is not None for extension in reader.extensions
)
"""Endings of names that volumes and other files have."""
MOST_DECISIONS = 2**16
"""Files whose reader is remembered."""


def is_volume_file(path: Path) -> bool:
    """Return True if the file is read as a volume.

    Its path or its name says so, and its header where other files have such names.
    """
    return _name_of_reader(path) is not None


def reader_of(path: Path) -> Reader:
    """Return the reader of a file for which `is_volume_file` is true.

    Raises:
        InputProblemsError: the file has changed, and is no volume any more.
    """
    name = _name_of_reader(path)
    if name is None:
        raise InputProblemsError([Problem(printable(path), "was changed while it was read; try again")])
    return READERS[name]


def _name_of_reader(path: Path) -> str | None:
    """Return the name of the reader of a file; None if no reader reads it."""
    if isinstance(path, VolumePath):
        return path.format
    name = path.name.lower()
    if not name.endswith(SHARED_EXTENSIONS):
        return next((key for key, reader in READERS.items() if name.endswith(reader.extensions)), None)
    try:
        status = path.stat()
    except OSError:
        return None  # reading it as a picture gives the message
    return _decide(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=MOST_DECISIONS)
def _decide(path: Path, size: int, changed: int) -> str | None:
    """Return the name of the reader of a file; `size` and `changed` make a file that was replaced another one."""
    del size, changed
    return next((key for key, reader in READERS.items() if reader.matches(path)), None)
