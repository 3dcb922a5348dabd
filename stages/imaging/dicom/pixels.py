"""Read the values of one frame of a DICOM file, in the unit that the file defines.

| the file holds              | the result                                                                         |
|-----------------------------|------------------------------------------------------------------------------------|
| MONOCHROME2                 | slope * stored + intercept, such as Hounsfield units; or its modality lookup table |
| MONOCHROME1 (white is 0)    | the same, mirrored: the highest possible value becomes the lowest one              |
| padding (PixelPaddingValue) | the lowest other value of the frame, so that the surroundings of a scan stay black |
| RGB                         | as stored                                                                          |
| YBR                         | converted to RGB                                                                   |
| PALETTE COLOR               | its colours, the high 8 bits of each                                               |
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.dicom.elements import mirror_of, number, rescale_of, text
from stages.imaging.dicom.encapsulated import require_whole
from stages.imaging.dicom.headers import dataset_of, header_with_end
from stages.imaging.extras import require_extra
from stages.imaging.opening import refuse
from stages.imaging.samples import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["header_of", "read_frame", "require_decoder"]


def require_decoder(path: Path, transfer_syntax: str) -> None:
    """Make sure that the pixels of a file can be decompressed.

    Raises:
        UsageError: the packages that decompress them are not installed.
        InputProblemsError: no package does.
    """
    if not transfer_syntax:  # written before files said it; not compressed
        return
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    try:
        decoder = get_decoder(UID(transfer_syntax))
    except NotImplementedError:  # of pydicom: it knows no decoder for this syntax
        name = UID(transfer_syntax).name
        refuse(path, f"is compressed as {name}, which is not read; convert it, for example with `dcmconv` of DCMTK")
    if not decoder.is_available:
        require_extra("dicom", printable(path), f"a DICOM file compressed as {UID(transfer_syntax).name}")


def header_of(path: Path) -> Dataset:
    """Return a file without its pixels, after checking that compressed pixels are all there.

    Raises:
        InputProblemsError: the file cannot be read, or its pixels are cut off.
    """
    header, start = header_with_end(path)
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_compressed and not syntax.is_deflated:
        require_whole(path, start)
    return header


def read_frame(path: Path, frame: int = 0, header: Dataset | None = None) -> NDArray[Any]:
    """Return the values of a frame by the table above.

    Args:
        path: A file with an image.
        frame: Position of the frame, from 0.
        header: The file without its pixels, if it has been read; parsed again otherwise.

    Returns:
        (row, column) for grey, (row, column, 3) for colours.

    Raises:
        InputProblemsError: the pixels are damaged or missing.
    """
    header = header_of(path) if header is None else header
    try:
        return _values(path, frame, header)
    except Exception as error:  # noqa: BLE001 - pydicom and its decoders raise exceptions of many kinds for damaged files
        what = " ".join(str(error).split())[:160] or type(error).__name__
        refuse(path, f"frame {frame + 1} cannot be decoded ({what}); restore the file from its source")


def _values(path: Path, frame: int, header: Dataset) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

    if header.file_meta.get("TransferSyntaxUID") in {None, DeflatedExplicitVRLittleEndian}:
        whole = dataset_of(path)  # no frame can be found without reading all of the file
        whole.file_meta.TransferSyntaxUID = whole.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian
        stored = pixel_array(whole, index=frame)
    else:
        stored = pixel_array(path, index=frame)
    if stored.dtype == np.uint16 and number(header, "BitsStored") == 8:  # noqa: PLR2004 - bytes in two bytes each
        stored = stored.astype(np.uint8)  # pydicom has removed the other bits, which may hold an overlay
    if "PALETTE" in text(header, "PhotometricInterpretation"):
        colours = apply_color_lut(stored, header)
        return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours
    if stored.ndim == 3:  # noqa: PLR2004 - with colours
        return stored
    padding = _padding(stored, header)
    if header.get("ModalityLUTSequence"):
        values = apply_modality_lut(stored, header)
    else:
        values = _rescale(stored, *rescale_of(header, frame))
    mirror = mirror_of(header)
    if mirror is not None:
        values = _whole(mirror - values.astype(np.float64), stored.dtype)
    if padding is not None and not padding.all():
        values = np.where(padding, values[~padding].min(), values)
    return values


def _rescale(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """Return `slope * stored + intercept`: int32 if slope and intercept are whole numbers, else float32."""
    if (slope, intercept) == (1.0, 0.0):
        return stored
    return _whole(stored.astype(np.float64) * slope + intercept, stored.dtype, exact=slope == int(slope))


def _whole(values: NDArray[np.float64], stored: np.dtype[Any], *, exact: bool = True) -> NDArray[Any]:
    """Return the values as uint8 where all fit and they were stored so, else as int32 or float32."""
    if not exact or not (values == np.rint(values)).all():
        return values.astype(np.float32)
    low, high = values.min(), values.max()
    if stored == np.uint8 and low >= 0 and high <= np.iinfo(np.uint8).max:
        return values.astype(np.uint8)
    return values.astype(np.int32) if np.abs((low, high)).max() < 2**31 else values.astype(np.float32)


def _padding(stored: NDArray[Any], header: Dataset) -> NDArray[np.bool_] | None:
    """Return where pixels are padding: outside the field of view of the scanner. None without such a value."""
    value = header.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = header.get("PixelPaddingRangeLimit")
    ends = [_same_bits(one, stored.dtype) for one in (value, limit) if isinstance(one, int)]
    low, high = min(ends), max(ends)
    inside: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return inside


def _same_bits(value: int, dtype: np.dtype[Any]) -> int:
    """Return the value that the 16 bits of an element mean for pixels of a type.

    Many files write -2000 as 63536, because they give the element another sign than the pixels.
    """
    if dtype == np.int16 and value > np.iinfo(dtype).max:
        return value - 2**16
    return value + 2**16 if dtype == np.uint16 and value < 0 else value
