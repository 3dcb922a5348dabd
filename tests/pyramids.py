"""Write pyramidal TIFFs for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

TILE = (64, 64)


def write_pyramid(
    path: Path,
    values: np.ndarray,
    *,
    levels: int,
    where: str = "pages",
    compression: str | None = "zlib",
    tile: tuple[int, int] = TILE,
    **options: Any,
) -> Path:
    """Write an image at falling resolutions, each half of the one before.

    Args:
        path: of the file.
        values: (row, column) or (row, column, 3).
        levels: Number of resolutions, the full one included.
        where: `pages` writes each as a page, as Aperio's scanners do; `subifds` as OME-TIFF.
        compression: as tifffile names it.
        tile: (rows, columns) of a tile.
        options: of `TiffWriter.write`, for the first page.
    """
    common: dict[str, Any] = {
        "tile": tile,
        "compression": compression,
        "photometric": "minisblack" if values.ndim == 2 else "rgb",
    }
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(values, subifds=levels - 1 if where == "subifds" else None, metadata=None, **options, **common)
        for level in range(1, levels):
            writer.write(halved(values, 2**level), subfiletype=1, metadata=None, **common)
    return path


def halved(values: np.ndarray, factor: int) -> np.ndarray:
    """Return the picture at 1/factor of its size, averaged."""
    size = (values.shape[1] // factor, values.shape[0] // factor)
    channels = values[..., None] if values.ndim == 2 else values
    means = [
        np.asarray(Image.fromarray(channels[..., at].astype(np.float32)).resize(size, Image.Resampling.BOX))
        for at in range(channels.shape[2])
    ]
    result = np.rint(np.stack(means, axis=2)).astype(values.dtype)
    return result[..., 0] if values.ndim == 2 else result
