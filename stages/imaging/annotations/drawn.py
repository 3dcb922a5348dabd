"""Hold the outlines or encoded pixels that a person drew in one picture, each with the name of its class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stages.imaging.annotations.shapes import Outline, Pixels
from stages.settings import Size

__all__ = ["NO_CLASS", "Drawn", "Picture", "circle", "naming", "polygon", "polyline", "rectangle", "whole_number"]

NO_CLASS = "foreground"
"""Class of a shape without one."""
CORNERS = 64
"""Number of corners of the polygon that stands for a circle or an ellipse."""
FEWEST_POINTS = 3


@dataclass(frozen=True, eq=False)
class Drawn:
    """Hold one object before it is rasterised."""

    label: str
    """Name of its class; `ignore` for an ignored region."""
    parts: Sequence[Outline | Pixels]
    """The parts of the object."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Hold the annotation of one picture."""

    name: str
    """Name of the image file; "" if the annotation does not name it."""
    size: Size | None
    """(height, width) in the annotation; None if it gives no size."""
    drawn: Sequence[Drawn]


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put the place in the file in front of every error that its content causes.

    Args:
        place: For example `shape 3`. The message of the error follows it.

    Raises:
        ValueError: replaces the error of the content, such as a KeyError or a TypeError.
    """
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{place} lacks {error}") from None
    except ValueError as error:
        raise ValueError(f"{place} {error}") from None
    except (TypeError, AttributeError, OverflowError):
        raise ValueError(f"{place} has a value of another kind than the format says") from None


def polygon(points: Sequence[tuple[float, float]]) -> Outline:
    """Return the outline of a polygon.

    Raises:
        ValueError: there are fewer than three points.
    """
    if len(points) < FEWEST_POINTS:
        raise ValueError(f"is a polygon of {len(points)} points, and {FEWEST_POINTS} are needed")
    return [points]


def polyline(points: Sequence[tuple[float, float]]) -> Outline:
    """Return a line as an outline that runs along it and back. It has no area, so the pixels that it crosses are kept.

    Raises:
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("is a line without points")
    return [[*points, *reversed(points[1:-1])]]


def rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    """Return the outline of a rectangle."""
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


def circle(x: float, y: float, radius_x: float, radius_y: float) -> Outline:
    """Return the outline of a circle or an ellipse as a polygon of `CORNERS` corners."""
    angles = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
    return [[(x + radius_x * math.cos(angle), y + radius_y * math.sin(angle)) for angle in angles]]


def whole_number(value: Any, name: str) -> int:
    """Return a number of pixels from JSON or XML.

    Raises:
        ValueError: it is no whole number of at most six digits.
    """
    text = str(value).removesuffix(".0")
    if isinstance(value, bool) or not text.removeprefix("-").isdecimal() or len(text) > 7:  # noqa: PLR2004 - and a sign
        raise ValueError(f"has {name} {str(value)[:20]!r}, which is no number of pixels")
    return int(text)
