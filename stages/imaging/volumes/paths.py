"""Name images that a plain path cannot name: a series of files, one segment of a file, a file without an extension.

`VolumePath` is a path that also says how the image is opened. It is used wherever an image or a mask has a path, and it
can be sent to other processes. Paths derived from it, such as its parent, are plain paths.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from stages.imaging.volumes.volume import Volume

    _Base = Path
else:
    _Base = type(Path())  # before Python 3.12 only the class of this system's paths can have subclasses

__all__ = ["VolumePath"]


class VolumePath(_Base):
    """Path of an image or of labels that says how they are opened. Its file or folder exists."""

    format: str = "dicom"
    """Name of its format in `stages.imaging.volumes.readers.READERS`."""

    if sys.version_info < (3, 12):

        def __new__(cls, path: Path, *_: object) -> Self:
            """Make the path; further arguments are those of the subclass."""
            self, plain = object.__new__(cls), _Base(path)
            for name in ("_drv", "_root", "_parts"):  # the state of a path in Python 3.11, which no longer changes
                setattr(self, name, getattr(plain, name))
            return self

        def __init__(self, path: Path) -> None:  # noqa: ARG002 - the path is set before
            """Take the path."""
            super().__init__()

        @classmethod
        def _from_parts(cls, *parts: Any) -> Path:
            """Return a derived path, which is a plain one; called by `pathlib`."""
            made: Path = _Base._from_parts(*parts)  # type: ignore[attr-defined] # noqa: SLF001 - as in `pathlib`
            return made

        @classmethod
        def _from_parsed_parts(cls, *parts: Any) -> Path:
            """Return a derived path, which is a plain one; called by `pathlib`."""
            made: Path = _Base._from_parsed_parts(*parts)  # type: ignore[attr-defined] # noqa: SLF001 - as in `pathlib`
            return made

    else:

        def __init__(self, path: Path) -> None:
            """Take the path."""
            super().__init__(path)

        def with_segments(self, *segments: Any) -> Path:
            """Return a derived path, which is a plain one."""
            return Path(*segments)

    @abstractmethod
    def absolute(self) -> Self:
        """Return the same image by absolute paths, so that a process in another folder can open it."""

    @abstractmethod
    def open_volume(self) -> Volume:
        """Open the image; only headers are read.

        Raises:
            InputProblemsError: it cannot be used.
        """

    @abstractmethod
    def content_digest(self) -> str:
        """Return a SHA-256 that identifies the content, 64 hexadecimal digits.

        Raises:
            InputProblemsError: a file cannot be read.
        """

    @property
    @abstractmethod
    def identity(self) -> Hashable:
        """Return what distinguishes this image from others at the same path."""
