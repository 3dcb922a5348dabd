"""Warn about a set of masks that can be decoded but look wrong: all empty, or inverted.

A single mask proves nothing: a lesion may fill the picture, a polyp may be absent. So no mask is rejected. The user
gets a warning only if all masks are empty, or if most of them look inverted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.records import IGNORE

__all__ = ["MaskSanityCheck"]


class MaskSanityCheck:
    """Count suspicious masks of a data set, and turn the counts into warnings."""

    def __init__(self) -> None:
        self._count = 0
        self._empty = 0
        self._inverted = 0
        """Number of masks with foreground on more than half of their border."""

    def add(self, masks: Iterable[NDArray[np.uint8]]) -> None:
        """Count some masks, each (row, column) uint8 class index or bits of labels; 0 is background, 255 is ignored."""
        for mask in masks:
            border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
            border = border[border != IGNORE]
            self._count += 1
            self._empty += not ((mask != 0) & (mask != IGNORE)).any()
            self._inverted += 2 * np.count_nonzero(border) > border.size

    def add_all(self, counts: dict[str, Any]) -> None:
        """Add the counts of another part of the data set, which `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not write them.
        """
        self._count += int(counts["count"])
        self._empty += int(counts["empty"])
        self._inverted += int(counts["inverted"])

    def to_dict(self) -> dict[str, int]:
        """Return the counts as JSON."""
        return {"count": self._count, "empty": self._empty, "inverted": int(self._inverted)}

    def hints(self) -> list[str]:
        """Return the warnings, ready to print: one line each; none if nothing is suspicious."""
        if not self._count:
            return []
        if self._empty == self._count:
            return ["note: all masks are empty (black throughout): there is nothing to learn; look at some of them"]
        if 2 * self._inverted > self._count:
            where = f"{self._inverted} of {self._count} masks are white along most of their border"
            remedy = "If white is the background, say so: --classes background=255,lesion=0"
            return [f"note: {where}: are they inverted? {remedy}"]
        return []
