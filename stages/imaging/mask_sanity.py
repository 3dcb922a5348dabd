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
        self._masks = 0
        self._empty = 0
        self._outside = 0
        """Masks whose border is foreground for the most part."""

    def look(self, masks: Iterable[NDArray[np.uint8]]) -> None:
        """Count in some masks, each (row, column) class index; 0 is background, 255 ignored."""
        for mask in masks:
            border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
            border = border[border != IGNORE]
            self._masks += 1
            self._empty += not ((mask != 0) & (mask != IGNORE)).any()
            self._outside += 2 * np.count_nonzero(border) > border.size

    def hints(self) -> list[str]:
        """What the user should look at; empty where nothing is suspicious."""
        if not self._masks:
            return []
        if self._empty == self._masks:
            return ["note: all masks are empty (black throughout): there is nothing to learn; look at some of them"]
        if 2 * self._outside > self._masks:
            where = f"{self._outside} of {self._masks} masks are white along most of their border"
            remedy = "If white is the background, say so: --classes skin=255,lesion=0"
            return [f"note: {where}: are they inverted? {remedy}"]
        return []
