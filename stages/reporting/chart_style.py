"""Hold what the figures of the page share: markers, and axes of whole numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import Axis

__all__ = ["MARKERS", "plotted", "whole_numbers"]

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Markers of runs, in the order of `stages.reporting.figures.SERIES`: they differ without colour, too."""


def whole_numbers(axis: Axis) -> None:
    """Let an axis have ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def plotted(values: Iterable[float | None]) -> list[float]:
    """Return values to plot; None becomes nan, which leaves a gap."""
    return [math.nan if value is None else value for value in values]
