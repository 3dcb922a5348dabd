"""Hold what the figures of the page share: markers, and axes of whole numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axis import Axis

__all__ = ["MARKERS", "MOST_POINTS", "drawn", "drawn_note", "plotted", "whole_numbers"]

MOST_POINTS = 1000
"""Largest number of images of a run that are drawn as single points: more make a page slow and show nothing new."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Markers of runs, in the order of `stages.reporting.figures.SERIES`: they differ without colour, too."""


def whole_numbers(axis: Axis) -> None:
    """Let an axis have ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def drawn(count: int) -> NDArray[np.int64]:
    """Return the positions of the images that are drawn as points: all, or 1,000 spread evenly, (point,)."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.int64))


def drawn_note(count: int) -> str:
    """Return the sentence that says how many images are drawn as points; "" if all are."""
    return f"{MOST_POINTS:,} of {count:,} images are drawn; the figures are of all." if count > MOST_POINTS else ""


def plotted(values: Iterable[float | None]) -> list[float]:
    """Return values to plot; None becomes nan, which leaves a gap."""
    return [math.nan if value is None else value for value in values]
