"""What a set of sound masks looks like when something went wrong before it came here.

No single mask proves anything: a lesion may fill the picture, a polyp may be absent. So nothing is
refused; only when it holds for most of the masks is the user told.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from store.records import IGNORE

__all__ = ["MaskSanityCheck"]


class MaskSanityCheck:
    """Counts over the masks of a data set, and what they suggest."""

    def __init__(self) -> None:
        self._count = 0
        self._empty = 0
        self._inverted = 0
        """Masks whose border is foreground for the most part."""

    def add(self, masks: Iterable[NDArray[np.uint8]]) -> None:
        """Count in some masks, each (row, column) class index; 0 is background, 255 ignored."""
        for mask in masks:
            border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
            border = border[border != IGNORE]
            self._count += 1
            self._empty += not ((mask != 0) & (mask != IGNORE)).any()
            self._inverted += 2 * np.count_nonzero(border) > border.size

    def hints(self) -> list[str]:
        """What the user should look at; empty where nothing is suspicious."""
        if not self._count:
            return []
        if self._empty == self._count:
            return ["note: all masks are empty (black throughout): there is nothing to learn; look at some of them"]
        if 2 * self._inverted > self._count:
            where = f"{self._inverted} of {self._count} masks are white along most of their border"
            remedy = "If white is the background, say so: --classes skin=255,lesion=0"
            return [f"note: {where}: are they inverted? {remedy}"]
        return []
