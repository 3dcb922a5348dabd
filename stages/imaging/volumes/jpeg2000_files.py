"""Read JPEG 2000 files of more than 8 bits. Those of 8 bits are read as pictures.

Pillow reads grey in 16 bits: values of fewer bits are multiplied, which is undone here. It cuts colours to 8 bits, so
colours are read by imagecodecs, of the extra `slides`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import InputProblemsError, UsageError
from stages.imaging.extras import require_extra
from stages.imaging.formats import explain_unreadable
from stages.imaging.jpeg2000 import bits_of
from stages.imaging.opening import open_header, read_file, refuse
from stages.imaging.samples import printable
from stages.imaging.volumes.volume import Volume, VolumeFacts
from store.disk.regular import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["Jpeg2000Volume", "open_file"]

COLOURS = 3
PILLOWS = 16
"""Bits of Pillow's grey."""


class Jpeg2000Volume(Volume):
    """Decode one image."""

    def __init__(self, path: Path, facts: VolumeFacts, bits: int) -> None:
        """Take what the header says."""
        self.facts = facts
        self._path, self._bits = path, bits

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:  # noqa: ARG002 - there is one plane
        """Return the values; see `Volume.read`."""
        data = read_file(self._path)
        try:
            values = self._colours(data) if self.facts.channels == COLOURS else self._grey(data)
        except (InputProblemsError, UsageError):
            raise
        except Exception as error:  # noqa: BLE001 - the libraries raise nearly any class on damaged bytes
            refuse(self._path, f"is damaged ({str(error) or type(error).__name__}); restore it from its source")
        row, column, rows, columns = (0, 0, *self.facts.size) if box is None else box
        return np.ascontiguousarray(values[row : row + rows, column : column + columns])

    def _grey(self, data: bytes) -> NDArray[Any]:
        values = np.asarray(open_header(self._path, io.BytesIO(data)))
        return values >> np.uint16(PILLOWS - self._bits) if self._bits < PILLOWS else values

    def _colours(self, data: bytes) -> NDArray[Any]:
        try:
            from imagecodecs import jpeg2k_decode
        except ImportError:
            require_extra("slides", printable(self._path), f"a JPEG 2000 in colours of {self._bits} bits")
        open_header(self._path, io.BytesIO(data)).load()  # it refuses a file that is cut off; the other fills it up
        values: NDArray[Any] = jpeg2k_decode(data)
        return values[..., :COLOURS]


def open_file(path: Path) -> Jpeg2000Volume:
    """Open a JPEG 2000 file of more than 8 bits.

    Raises:
        InputProblemsError: it cannot be read, is damaged, or has more than 16 bits.
    """
    try:
        with open_regular(path) as file:
            bits = bits_of(file)
            file.seek(0)
            image = open_header(path, file)
    except OSError as error:
        refuse(path, explain_unreadable(error))
    if bits > PILLOWS:
        refuse(path, f"has values of {bits} bits, and at most {PILLOWS} are read; save it with fewer")
    grey = image.mode.startswith(("I", "L"))
    facts = VolumeFacts(
        planes=1,
        size=(image.height, image.width),
        channels=1 if grey else COLOURS,
        deep=True,
        values=f"{bits}-bit",
    )
    return Jpeg2000Volume(path, facts, bits)
