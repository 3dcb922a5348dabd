"""Read the frames of animations as planes: GIF, WebP, and AVIF.

Frames are colours of 8 bits, composited on black. Only one frame is in memory at a time. Frames build on those before
them, so reading them in their order is fast.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import ignore_pillow_warnings, refuse
from stages.imaging.volumes.volume import Volume, VolumeFacts, keep_open
from store.disk.regular import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["FrameVolume", "open_file"]

MOST_FRAMES = 100_000


class FrameVolume(Volume):
    """Read one animation."""

    def __init__(self, path: Path, image: Image.Image, frames: int) -> None:
        """Take the opened file."""
        self._path, self._image = path, image
        self._turn = threading.Lock()
        self.facts = VolumeFacts(
            planes=frames, size=(image.height, image.width), channels=3, deep=False, values="8-bit"
        )

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the colours of one frame; see `Volume.read`."""
        try:
            with self._turn:
                self._image.seek(plane)
                frame = self._image.convert("RGBA" if self._image.has_transparency_data else "RGB")
        except Exception as error:  # noqa: BLE001 - Pillow raises nearly any class on damaged bytes
            reason = str(error) or type(error).__name__
            refuse(self._path, f"frame {plane + 1} is damaged ({reason}); restore it from its source")
        if frame.mode == "RGBA":
            frame = Image.alpha_composite(Image.new("RGBA", frame.size, (0, 0, 0, 255)), frame).convert("RGB")
        row, column, rows, columns = (0, 0, *self.facts.size) if box is None else box
        return np.array(frame)[row : row + rows, column : column + columns]


def open_file(path: Path) -> FrameVolume:
    """Open an animation.

    Raises:
        InputProblemsError: it cannot be read, is damaged or too large.
    """
    try:
        file = open_regular(path)
    except OSError as error:
        refuse(path, explain_unreadable(error))
    try:
        with ignore_pillow_warnings():
            image = Image.open(file, formats=("GIF", "WEBP", "AVIF"))
        frames = int(getattr(image, "n_frames", 1))
        if frames > MOST_FRAMES:
            raise ValueError(f"it claims {frames:,} frames")  # noqa: TRY301 - as a damaged header
    except Exception as error:  # noqa: BLE001 - Pillow raises nearly any class on damaged bytes
        file.close()
        refuse(path, f"is damaged ({str(error) or type(error).__name__}); restore it from its source")
    return keep_open(file, lambda: FrameVolume(path, image, frames))
