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
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from stages.imaging.volumes.pyramid_rule import open_tiff
from stages.outputs.marks import json_of, starts_with
from stages.segmentation.mask_painter import MaskPainter
from store.disk.regular import disk_fails, open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SOFTWARE", "MaskPainter", "as_png", "as_tiff", "is_ours"]

SOFTWARE = "diamant-pipeline"
SOFTWARE_TAG = 305  # of TIFF
GEOJSON_BEGINNING = f'{{"type":"FeatureCollection","generator":"{SOFTWARE}"'
"""First characters of the GeoJSON files that this program writes."""


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


def _is_our_tiff(path: Path) -> bool:
    """Return True if this program wrote a TIFF, of any size.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with open_tiff(path) as tiff:
            return bool(tiff.pages[0].software == SOFTWARE)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return False


def is_ours(path: Path) -> bool:
    """Return True if this program wrote a picture or a GeoJSON file.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    try:
        if path.suffix == ".geojson":
            return starts_with(path, GEOJSON_BEGINNING) or json_of(path).get("generator") == SOFTWARE
        if path.suffix == ".tif":
            return _is_our_tiff(path)
        with open_regular(path) as file, Image.open(file) as picture:
            tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
            return SOFTWARE in (picture.info.get("Software"), tags.get(SOFTWARE_TAG))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and disk_fails(error):
            raise
        return False
