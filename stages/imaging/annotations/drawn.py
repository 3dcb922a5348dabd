"""Hold what a person drew in one picture: outlines, run lengths or pixels, each with the name of its class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.imaging.annotations.shapes import Outline, Shape, rasterise
from stages.settings import Size

__all__ = ["Drawn", "Picture", "circle", "rectangle"]

NO_CLASS = "foreground"
"""Class of a shape without one."""
CORNERS = 64
"""Number of corners of the polygon that stands for a circle or an ellipse."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Hold one object before it is rasterised."""

    label: str
    outlines: Sequence[Outline] = ()
    """Parts of the object; each is an outer ring with its holes."""
    pixels: NDArray[np.bool_] | None = None
    """(height, width) bool in place of outlines, from `top` and `left` on."""
    top: int = 0
    left: int = 0

    def rasterise(self, size: Size) -> Shape | None:
        """Return the object's pixels in a picture of (height, width); None if there are none.

        Raises:
            ValueError: a coordinate is not finite, or pixels lie outside the picture.
        """
        if self.pixels is None:
            return rasterise(self.label, self.outlines, size)
        height, width = self.pixels.shape
        if self.top < 0 or self.left < 0 or self.top + height > size[0] or self.left + width > size[1]:
            raise ValueError("lies outside the image in part")
        whole = np.zeros(size, np.bool_)
        whole[self.top : self.top + height, self.left : self.left + width] = self.pixels
        return Shape.of_mask(self.label, whole)


@dataclass(frozen=True)
class Picture:
    """Hold the annotation of one picture."""

    name: str
    """Name of the image file; "" if the file does not say it."""
    size: Size | None
    """(height, width) that the file says; None if it does not."""
    drawn: Sequence[Drawn]


def rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    """Return the outline of a rectangle."""
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


def circle(x: float, y: float, radius_x: float, radius_y: float) -> Outline:
    """Return the outline of an ellipse as a polygon."""
    angles = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
    return [[(x + radius_x * math.cos(angle), y + radius_y * math.sin(angle)) for angle in angles]]
