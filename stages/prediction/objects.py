"""Split the predicted region of a class into objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt, label
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["split_instances"]


def split_instances(
    foreground: NDArray[np.bool_], probability: NDArray[np.float32] | None, method: str
) -> NDArray[np.int32]:
    components, _ = label(foreground, np.ones((3, 3)))
    if method == "components":
        return components.astype(np.int32)
    distance = distance_transform_edt(foreground)
    peaks = peak_local_max(distance, min_distance=5, labels=components)
    markers = np.zeros(foreground.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, markers, mask=foreground).astype(np.int32)
