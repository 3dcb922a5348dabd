"""Read CVAT for images 1.1: one XML with an `image` element for each picture.

Shapes are `polygon`, `box` (possibly turned), `ellipse`, `polyline` and `mask` (run lengths along the rows of a window,
starting with background). `points`, cuboids and skeletons have no area and are refused. Tracks of videos are refused
too. CVAT draws a shape with a higher `z_order` later; here small shapes are on top, see `painting.paint`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

from stages.imaging.annotations.drawn import Drawn, Picture, circle, naming, polygon, polyline, rectangle, whole_number
from stages.imaging.annotations.run_lengths import decode_rows
from stages.imaging.annotations.shapes import Outline, Pixels

__all__ = ["parse", "recognise"]

WITHOUT_AREA = {"points", "cuboid", "skeleton"}
SHAPES = {"polygon", "box", "ellipse", "polyline", "mask"}


def recognise(content: Any) -> bool:
    """Return True if the root of an XML file is that of CVAT."""
    return isinstance(content, Element) and content.tag == "annotations"


def parse(content: Any) -> Sequence[Picture]:
    """Return all pictures in a CVAT file, including those without shapes."""
    if content.find("track") is not None:
        raise ValueError("it holds tracks of a video, not single images")
    return [_picture(image) for image in content.iter("image")]


def _picture(image: Element) -> Picture:
    name = image.attrib["name"]
    size = (whole_number(image.attrib["height"], "the height"), whole_number(image.attrib["width"], "the width"))
    drawn = []
    for number, element in enumerate((one for one in image if one.tag in SHAPES | WITHOUT_AREA), start=1):
        with naming(f"shape {number} of image {name!r}"):
            drawn.append(Drawn(element.attrib["label"], [_part(element)]))
    return Picture(name, size, drawn)


def _part(element: Element) -> Outline | Pixels:
    if element.tag in WITHOUT_AREA:
        raise ValueError(f"is of the kind {element.tag}, which has no area")
    if element.tag == "mask":
        return _pixels(element)
    if element.tag == "box":
        left, top, right, bottom = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        return _turned(rectangle(left, top, right, bottom), ((left + right) / 2, (top + bottom) / 2), element)
    if element.tag == "ellipse":
        x, y, radius_x, radius_y = (_number(element, key) for key in ("cx", "cy", "rx", "ry"))
        return _turned(circle(x, y, radius_x, radius_y), (x, y), element)
    points = _points(element)
    return polyline(points) if element.tag == "polyline" else polygon(points)


def _number(element: Element, key: str) -> float:
    try:
        return float(element.attrib[key])
    except ValueError:
        raise ValueError(f"has {key}={element.attrib[key][:20]!r}, which is no number") from None


def _points(element: Element) -> list[tuple[float, float]]:
    points = []
    for text in element.attrib["points"].split(";"):
        try:
            x, y = map(float, text.split(","))
        except ValueError:
            raise ValueError(f"has the point {text[:20]!r}, which is no pair of numbers") from None
        points.append((x, y))
    return points


def _turned(outline: Outline, centre: tuple[float, float], element: Element) -> Outline:
    """Return an outline turned clockwise about a point by the element's `rotation` in degrees."""
    angle = math.radians(_number(element, "rotation")) if "rotation" in element.attrib else 0.0
    if not math.isfinite(angle):
        raise ValueError("has a rotation that is no number")
    cosine, sine = math.cos(angle), math.sin(angle)
    x0, y0 = centre
    return [
        [(x0 + (x - x0) * cosine - (y - y0) * sine, y0 + (x - x0) * sine + (y - y0) * cosine) for x, y in ring]
        for ring in outline
    ]


def _pixels(element: Element) -> Pixels:
    size = (whole_number(element.attrib["height"], "a height of"), whole_number(element.attrib["width"], "a width of"))
    runs = [whole_number(run.strip(), "a run of") for run in element.attrib["rle"].split(",")]
    top, left = whole_number(element.attrib["top"], "a top of"), whole_number(element.attrib["left"], "a left of")
    return Pixels(size, partial(decode_rows, runs, size), top, left)
