"""List the formats of volumes: by which names their files are known, and which module reads them.

A module is imported when the first file of its format is opened, so that a library costs nothing where it is not used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.imaging.volumes.pyramid_rule import is_pyramid
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
}
"""Every format by its name."""
VOLUME_EXTENSIONS = tuple(
    extension for reader in READERS.values() if reader.recognise is None for extension in reader.extensions
)
"""Endings of the names of all files that are volumes by their name, in lower case."""


def is_volume_file(path: Path) -> bool:
    """Return True if the file is read as a volume: by its name, or by its header if pictures have such names too."""
    return any(reader.matches(path) for reader in READERS.values())


def reader_of(path: Path) -> Reader:
    """Return the reader of a file for which `is_volume_file` is true."""
    return next(reader for reader in READERS.values() if reader.matches(path))
