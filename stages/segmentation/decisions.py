"""Turn probabilities into masks, and masks into regions of one class.

A mask holds one class index per pixel, or, with labels that may overlap (`multilabel`), one bit for each label: bit
k - 1 for label k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from store.records import IGNORE

__all__ = ["LIKELY", "decide", "region_of"]

LIKELY = 0.5
"""A label is present if its probability is above this threshold."""


def decide(probabilities: NDArray[np.float32], *, multilabel: bool = False) -> NDArray[np.uint8]:
    """Return the mask with the most probable class of every pixel, or with all labels above the threshold.

    Args:
        probabilities: (class, row, column) in [0, 1]. With `multilabel`, class 0 means that no label is there.
        multilabel: labels may overlap.

    Returns:
        (row, column) uint8 class index, where a tie goes to the lowest index; or bits.
    """
    if not multilabel:
        best: NDArray[np.uint8] = probabilities.argmax(axis=0).astype(np.uint8)
        return best
    mask = np.zeros(probabilities.shape[1:], np.uint8)
    for label in range(1, len(probabilities)):
        mask |= (probabilities[label] > LIKELY).astype(np.uint8) << np.uint8(label - 1)
    return mask


def region_of(mask: NDArray[np.uint8], index: int, *, multilabel: bool = False) -> NDArray[np.bool_]:
    """Return where a mask has a foreground class, (row, column) bool. Ignored pixels (255) have none."""
    if multilabel:
        region: NDArray[np.bool_] = (mask >> np.uint8(index - 1) & 1 == 1) & (mask != IGNORE)
    else:
        region = mask == index
    return region
