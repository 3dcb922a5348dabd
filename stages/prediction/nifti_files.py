"""Write the predictions of a NIfTI file as a label map of the same shape, at the same place.

The label map has the header of the image: its version, its axes, its affine and its unit, so it lies on the image in
every viewer. The axes are in the order of the image's file, also if its planes were cut along another axis. Values are
those of the masks that the model was trained on, in 8 or 16 bits. Where these were colours, or were not named because
the masks were black and white, a value is the index of the class: 0 and 1. A multi-label run writes these for each
label. Names, histories and other extensions of the image's header are not
copied, because they may identify a patient.

The field `descrip` is the mark that this program wrote the file. The same prediction gives the same bytes.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import InputProblemsError
from stages.imaging.volumes.nifti_header import raw_header, read_header
from stages.prediction.mask_files import SOFTWARE
from store.disk.regular import disk_fails

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.prediction.parents import Gathered

__all__ = ["encode", "is_ours"]

MOST_16_BIT = 65535
EXTENSIONS_END = b"\0\0\0\0"
"""Says that no extensions follow the header."""
ONE_NUMBER = 3
"""Axes of a volume with one number for each voxel."""
PRIVATE = ("db_name", "aux_file", "intent_name")
"""Texts of a header that may identify a patient or do not hold for a label map."""


def encode(gathered: Gathered, *, label: int | None) -> bytes:
    """Return the bytes of a label map, compressed with gzip.

    Args:
        gathered: The planes of the image's file.
        label: The label that the file holds, for labels that overlap; else None.

    Raises:
        InputProblemsError: the image can no longer be read.
    """
    geometry = read_header(gathered.source).geometry
    planes = _values(gathered, label)
    values = np.zeros(geometry.shape, planes.dtype, order="F")
    geometry.cut(values, gathered.axis)[...] = planes
    header = _header(gathered.source, values)
    content = header.binaryblock + EXTENSIONS_END + values.tobytes(order="F")
    return gzip.compress(content, compresslevel=6, mtime=0)


def is_ours(path: Path) -> bool:
    """Return True if this program wrote the file; False for a file that is damaged or no NIfTI file.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    try:
        header = raw_header(path)
    except InputProblemsError as error:
        if isinstance(error.__context__, OSError) and disk_fails(error.__context__):
            raise error.__context__ from None
        return False
    return bytes(header["descrip"].item()) == SOFTWARE.encode()


def _values(gathered: Gathered, label: int | None) -> NDArray[Any]:
    """Return the values of the file, (plane, row, column)."""
    if label is not None:
        return gathered.label(label).astype(np.uint8)
    if gathered.content == "objects":
        return gathered.values if gathered.values.max(initial=0) > MOST_16_BIT else gathered.values.astype(np.uint16)
    painted = gathered.painter.paint(gathered.values)
    numbers = painted.ndim == ONE_NUMBER and gathered.painter.named
    return painted if numbers else gathered.values


def _header(source: Path, values: NDArray[Any]) -> Any:
    """Return the image's header, changed to that of a label map."""
    header = raw_header(source).as_byteswapped("<")
    header.set_data_dtype(values.dtype)
    header["vox_offset"] = len(header.binaryblock) + len(EXTENSIONS_END)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"], header["cal_max"] = 0, 0
    for name in set(PRIVATE) & set(header.keys()):
        header[name] = b""
    header["intent_code"] = 0
    header["descrip"] = SOFTWARE.encode()
    return header
