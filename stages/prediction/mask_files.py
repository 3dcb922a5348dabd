"""Write predicted masks in the values or colours of the masks that the model was trained on.

Predictions can then be corrected by hand and used as masks again, with the same `--classes`:

| the masks of the training data              | a predicted mask                                                 |
|---------------------------------------------|------------------------------------------------------------------|
| black and white, or instances without names | 0 and 255, 8-bit grey                                            |
| one value per class                         | that value, 8-bit grey, or 16-bit if a value is above 255        |
| several values: `1-255`, `1+2`, `>0`        | the lowest value of each class                                   |
| the same, with one foreground class         | 255 for it where the class allows that, otherwise its lowest     |
| colours                                     | RGB; the first colour of each class                              |
| one file per class                          | class indices; 0 and 255 with one foreground class               |
| multi-label                                 | one file per label, 0 and 255                                    |

Older models did not record the values. Their masks have 0 and 255 for one foreground class, class indices for several.
Every file is marked as written by this program, so that `predict` can replace it without the risk of overwriting a mask
drawn by hand.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SOFTWARE", "MaskPainter", "as_png", "as_tiff", "is_ours"]

SOFTWARE = "diamant-pipeline"
SOFTWARE_TAG = 305  # of TIFF
WHITE = 255
HIGHEST_VALUE = 65535
RANGE = re.compile(r"(\d+)-(\d+)")
BOUND = re.compile(r"([<>])(=?)(\d+)")


@dataclass(frozen=True)
class MaskPainter:
    """Turn class indices into the pixels of a mask file."""

    table: NDArray[Any]
    """(256,) uint8 or uint16 value of every index, or (256, 3) uint8 RGB. Indices without a class have 0."""

    @classmethod
    def of(cls, classes: Sequence[str], values: Mapping[str, int | str] | None) -> MaskPainter:
        """Choose the value of every class.

        Args:
            classes: Names by index; the first is the background.
            values: The value, values or colour of each name in the mask files of the training data, as a store records
                them; None if they were black and white, or are not known.
        """
        binary = len(classes) == 2  # noqa: PLR2004 - background and one class
        if values is None:
            return cls(_fill_table([0, WHITE] if binary else list(range(len(classes)))))
        texts = [str(values.get(name, 0)) for name in classes]
        if any("#" in text for text in texts):
            return cls(_fill_table([_first_colour(text) for text in texts]))
        numbers = [_allowed(text)[0] for text in texts]
        if binary and any(low <= WHITE <= high for low, high in _ranges(texts[1])):
            numbers[1] = WHITE
        return cls(_fill_table(numbers))

    def paint(self, mask: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the pixels of the file: (height, width) uint8 or uint16, or (height, width, 3) uint8."""
        return self.table[mask]


def as_png(pixels: NDArray[Any]) -> bytes:
    """Return the bytes of a marked PNG file: 8 or 16-bit grey, or 8-bit RGB."""
    written_by = PngInfo()
    written_by.add_text("Software", SOFTWARE)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", pnginfo=written_by)
    return content.getvalue()


def as_tiff(pixels: NDArray[np.int32]) -> bytes:
    """Return the bytes of a marked TIFF file of 32-bit integers."""
    tags = ImageFileDirectory_v2()
    tags[SOFTWARE_TAG] = SOFTWARE
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="TIFF", tiffinfo=tags, compression="tiff_adobe_deflate")
    return content.getvalue()


def is_ours(path: Path) -> bool:
    """Return True if this program wrote a picture or a GeoJSON file."""
    try:
        if path.suffix == ".geojson":
            written = json.loads(path.read_bytes())
            return isinstance(written, dict) and written.get("generator") == SOFTWARE
        with Image.open(path) as picture:
            tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
            return SOFTWARE in (picture.info.get("Software"), tags.get(SOFTWARE_TAG))
    except (OSError, ValueError, RecursionError):
        return False


def _fill_table(values: Sequence[Any]) -> NDArray[Any]:
    """Return the table of a painter: the values by index, and zeros up to 256 entries."""
    used = np.array(values)
    table = np.zeros((256, *used.shape[1:]), np.uint8 if used.max() <= WHITE else np.uint16)
    table[: len(used)] = used
    return table


def _first_colour(text: str) -> tuple[int, int, int]:
    """Return the first colour of a class as RGB; a number beside colours is a grey."""
    first = text.split("+", maxsplit=1)[0].strip()
    if not first.startswith("#"):
        grey = _ranges(first)[0][0]
        return grey, grey, grey
    red, green, blue = bytes.fromhex(first[1:])
    return red, green, blue


def _allowed(text: str) -> tuple[int, int]:
    """Return the range that starts lowest."""
    return min(_ranges(text))


def _ranges(text: str) -> list[tuple[int, int]]:
    """Return the lowest and the highest value of every part of a class's values, such as `1+4-9` or `>0`."""
    ranges = []
    for part in text.replace(" ", "").split("+"):
        if between := RANGE.fullmatch(part):
            ranges.append((int(between[1]), int(between[2])))
        elif bound := BOUND.fullmatch(part):
            number, step = int(bound[3]), 0 if bound[2] else 1
            ranges.append((number + step, HIGHEST_VALUE) if bound[1] == ">" else (0, number - step))
        else:
            ranges.append((int(part), int(part)))
    return ranges
