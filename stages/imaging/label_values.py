"""Read the values of a mask that is an array or a plane of a volume, in place of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.arrays import is_array_file, read_label_array, whole_values
from stages.imaging.opening import refuse
from stages.imaging.volumes.opened import open_part
from stages.imaging.volumes.readers import is_volume_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.samples import LabelFile
    from stages.settings import Size

__all__ = ["has_values", "read_values"]


def has_values(file: LabelFile) -> bool:
    """Return True if the file holds numbers, and is no picture."""
    return is_array_file(file.path) or is_volume_file(file.path)


def read_values(file: LabelFile, expected_size: Size) -> NDArray[np.int64]:
    """Return the values of a mask, (height, width) of whole numbers from 0.

    Args:
        file: One for which `has_values` is true.
        expected_size: (height, width) of the image, or of the region of it that the sample is.

    Raises:
        InputProblemsError: the file cannot be read, has another size, or holds fractions, negative values or colours.
    """
    if is_array_file(file.path) and not is_volume_file(file.path):
        return read_label_array(file.path, expected_size)
    volume = open_part(file.path, file.part)
    if file.part.plane is None and volume.facts.planes > 1:
        refuse(file.path, f"has {volume.facts.planes} planes and its image one; give the labels of that one")
    values = volume.read_labels(file.part.plane or 0, file.part.box)
    if values.ndim == 3 and (values == values[..., :1]).all():  # noqa: PLR2004 - grey, saved as colours
        values = values[..., 0]
    if values.ndim != 2:  # noqa: PLR2004 - colours have an axis more
        refuse(file.path, "holds colours; labels are one whole number for each pixel")
    return whole_values(file.path, values, expected_size)
