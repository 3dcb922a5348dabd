"""Read CVAT for images 1.1: one XML with an `image` element for each picture.

Shapes are `polygon`, `box` (also turned), `ellipse`, `polyline` and `mask` (run lengths along the rows of a box,
starting with background). `points` have no area and are refused, and so are tracks of videos. A shape with a
higher `z_order` is drawn later in CVAT; here small shapes are on top, see `shapes.paint`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from stages.imaging.annotations.drawn import Drawn, Picture, circle, rectangle
from stages.imaging.annotations.shapes import Outline

__all__ = ["parse", "recognise"]

OTHER = {"points", "cuboid", "skeleton"}
SHAPES = {"polygon", "box", "ellipse", "polyline", "mask"}


def recognise(content: Any) -> bool:
    """Return True if the root of an XML file is that of CVAT."""
    return isinstance(content, Element) and content.tag == "annotations"


def parse(content: Any) -> Sequence[Picture]:
    """Return the annotated pictures of a CVAT file."""
    if content.find("track") is not None:
        raise ValueError("it holds tracks of a video; export the frames as `CVAT for images`")
    return [
        Picture(
            image.attrib["name"],
            (int(image.attrib["height"]), int(image.attrib["width"])),
            [_drawn(element) for element in image if element.tag in SHAPES | OTHER],
        )
        for image in content.iter("image")
    ]


def _drawn(element: Element) -> Drawn:
    label = element.attrib["label"]
    if element.tag in OTHER:
        raise ValueError(f"a shape of {label!r} is of the kind {element.tag}, which has no area")
    if element.tag == "mask":
        return _pixels(label, element)
    return Drawn(label, [_outline(element)])


def _outline(element: Element) -> Outline:
    number = {key: float(value) for key, value in element.attrib.items() if key in NUMBERS}
    if element.tag == "box":
        ring = rectangle(number["xtl"], number["ytl"], number["xbr"], number["ybr"])
        centre = ((number["xtl"] + number["xbr"]) / 2, (number["ytl"] + number["ybr"]) / 2)
        return _turned(ring, centre, number.get("rotation", 0))
    if element.tag == "ellipse":
        ring = circle(number["cx"], number["cy"], number["rx"], number["ry"])
        return _turned(ring, (number["cx"], number["cy"]), number.get("rotation", 0))
    points = [tuple(map(float, point.split(","))) for point in element.attrib["points"].split(";")]
    pairs = [(x, y) for x, y in points]
    if element.tag == "polyline":
        return [[*pairs, *reversed(pairs[1:-1])]]  # there and back: no area, so its outline is drawn
    if len(pairs) < 3:  # noqa: PLR2004 - a polygon
        raise ValueError(f"a polygon of {element.attrib['label']!r} has {len(pairs)} points")
    return [pairs]


NUMBERS = {"xtl", "ytl", "xbr", "ybr", "cx", "cy", "rx", "ry", "rotation"}


def _turned(outline: Outline, centre: tuple[float, float], degrees: float) -> Outline:
    """Return an outline turned clockwise about a point."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    x0, y0 = centre
    return [
        [(x0 + (x - x0) * cosine - (y - y0) * sine, y0 + (x - x0) * sine + (y - y0) * cosine) for x, y in ring]
        for ring in outline
    ]


def _pixels(label: str, element: Element) -> Drawn:
    runs = [int(run) for run in element.attrib["rle"].split(",")]
    height, width = int(element.attrib["height"]), int(element.attrib["width"])
    if min(runs) < 0 or sum(runs) != height * width:
        raise ValueError(f"a mask of {label!r} has run lengths that do not fill {height} x {width} pixels")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return Drawn(label, pixels=pixels, top=int(element.attrib["top"]), left=int(element.attrib["left"]))
