"""Estimate from the headers how much memory the decoding of a sample needs.

The figures are upper bounds of measured peaks, in bytes for each pixel of the file:

| the picture                                | measured | estimate |
|--------------------------------------------|----------|----------|
| JPEG, for each pixel that is decoded       | 4        | 8        |
| progressive JPEG, for each pixel of the file | 3      | 6 more   |
| 8 bits or fewer, no transparency           | 5 to 7   | 8        |
| 8 bits with transparency, CMYK             | 17       | 24       |
| WebP, JPEG 2000, AVIF, HEIC                | 17       | 24       |
| one channel of more bits, an array         | 12 to 20 | 24       |
| colour of 16 bits                          | 37       | 48       |
| mask of any kind, with its objects         | 12 to 18 | 24       |

The file itself is in memory too, and is added.
"""

from __future__ import annotations

from pathlib import Path

from stages.errors import InputProblemsError
from stages.imaging.arrays import array_size, is_array_file
from stages.imaging.deep_colour import byte_modes
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.jpeg import REDUCIBLE, reduction
from stages.imaging.kept import file_version
from stages.imaging.opening import open_header
from stages.imaging.regions import PICTURES
from stages.imaging.samples import SourceSample
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from store.disk.regular import open_regular

__all__ = ["decoding_bytes"]

JPEG, PROGRESSIVE, PLAIN, BLENDED, DEEP, DEEP_COLOUR, MASK = 8, 6, 8, 24, 24, 48, 24
COSTLY = {"WEBP", "JPEG2000", "AVIF", "HEIF"}
PLAIN_MODES = {"1", "L", "RGB"}
DEEP_MODES = {"I", "F"}


def decoding_bytes(sample: SourceSample, side: int, *, labels: bool = True, rule: IntensityRule = MINMAX) -> int:
    """Return the number of bytes that the decoding of a sample needs at most.

    The image is released before its labels are read, so the larger of the two counts.

    Args:
        sample: Its image is opened; no pixel is decoded.
        side: Rows or columns that a reduced JPEG keeps at least, as in `decode_picture`.
        labels: Whether the labels are read too.
        rule: How values of more than 8 bits are shown: a picture that is kept for its tiles is kept by rule.

    Returns:
        0 for an image that cannot be opened: its decoding fails at once.
    """
    try:
        if is_volume_file(sample.image):
            return _plane(sample, labels=labels)
        if sample.part.box is not None and (file_version(sample.image), str(rule)) in PICTURES:
            return sample.part.box[2] * sample.part.box[3] * MASK
        pixels, needed = _image(sample.image, side)
        size = sample.image.stat().st_size
    except (InputProblemsError, OSError):
        return 0
    return size + max(needed, pixels * MASK if labels and sample.masks else 0)


def _plane(sample: SourceSample, *, labels: bool) -> int:
    """Return the bytes for decoding one plane of a volume, or a region of it. The file is not read as a whole."""
    facts = open_volume(sample.image, sample.part.axis).facts
    rows, columns = facts.size if sample.part.box is None else sample.part.box[2:]
    return rows * columns * max(DEEP_COLOUR if facts.channels > 1 else DEEP, MASK if labels and sample.masks else 0)


def _image(path: Path, side: int) -> tuple[int, int]:
    """Return the number of pixels of an image, and the bytes for decoding it."""
    if is_array_file(path):
        height, width = array_size(path)
        return height * width, height * width * DEEP
    with open_regular(path) as file:
        image = open_header(path, file)
        pixels = image.width * image.height
        if image.format in REDUCIBLE:
            reduced = pixels // reduction(image.size, side) ** 2
            return pixels, reduced * JPEG + (pixels * PROGRESSIVE if image.info.get("progressive") else 0)
        if byte_modes(image) is not None:
            return pixels, pixels * DEEP_COLOUR
        if image.mode in DEEP_MODES or image.mode.startswith("I;16"):
            return pixels, pixels * DEEP
        plain = image.mode in PLAIN_MODES and image.format not in COSTLY and not image.has_transparency_data
        return pixels, pixels * (PLAIN if plain else BLENDED)
