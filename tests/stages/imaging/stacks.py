"""Write small stacks of microscopy: cells in two channels of 16 bits, as OME-TIFF, and their instance labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

__all__ = ["cells", "write_set", "write_stack"]

PLANES, ROWS, COLUMNS = 3, 40, 48
CELLS = 4


def cells(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, (plane, channel, row, column) uint16, and its labels, (plane, row, column) uint16.

    Cells are bright discs in the second channel; the first channel is noise. Labels number the cells from 1.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    labels = np.zeros((PLANES, ROWS, COLUMNS), np.uint16)
    for number in range(CELLS):
        row, column = 10 + 20 * (number // 2), 12 + 24 * (number % 2)
        for plane in range(PLANES):
            labels[plane][np.hypot(rows - row, columns - column - seed % 3) < 5 + plane] = number + 1
    noise = random.integers(100, 400, (PLANES, 2, ROWS, COLUMNS))
    noise[:, 1] += 3000 * (labels > 0)
    return noise.astype(np.uint16), labels


def write_stack(path: Path, image: np.ndarray) -> Path:
    """Write (plane, channel, row, column) as an OME-TIFF with pixels of 0.5 x 0.5 x 2 micrometres."""
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}, **size}
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack", metadata=metadata, ome=True)
    return path


def write_set(folder: Path, count: int) -> Path:
    """Write `images/cells_<n>.ome.tif` and `labels/cells_<n>.tif`; return the folder."""
    (folder / "labels").mkdir(parents=True)
    for number in range(count):
        image, labels = cells(number)
        write_stack(folder / "images" / f"cells_{number}.ome.tif", image)
        options = {"imagej": True, "metadata": {"axes": "ZYX"}} if number % 2 else {"photometric": "minisblack"}
        written = labels if number % 2 else labels.astype(np.uint32)
        tifffile.imwrite(folder / "labels" / f"cells_{number}.tif", written, **options)
    return folder
