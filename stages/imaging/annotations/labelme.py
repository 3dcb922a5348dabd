"""Read LabelMe: one JSON per image, with `shapes`, `imageHeight` and `imageWidth`.

Shapes are `polygon`, `rectangle`, `circle` (centre and a point on it), `line`, `linestrip` and `mask` (two corners and
a PNG in base64). A `point` has no area and is refused. Shapes of one label and the same `group_id` are one object.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from stages.imaging.annotations.drawn import Drawn, Picture, circle, rectangle
from stages.imaging.annotations.shapes import Outline

__all__ = ["parse", "recognise"]


def recognise(content: Any) -> bool:
    """Return True if parsed JSON looks like LabelMe."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imageHeight" in content


def parse(content: Any) -> Sequence[Picture]:
    """Return the one picture of a LabelMe file. Its name is left out: the annotation is named like the image."""
    height, width = content["imageHeight"], content["imageWidth"]
    size = None if height is None or width is None else (int(height), int(width))
    drawn: list[Drawn] = []
    groups: dict[tuple[str, Any], int] = {}
    for number, shape in enumerate(content["shapes"], start=1):
        one = _drawn(number, shape)
        group = shape.get("group_id")
        if group is None or one.pixels is not None:
            drawn.append(one)
        elif (one.label, group) in groups:
            at = groups[one.label, group]
            drawn[at] = Drawn(one.label, [*drawn[at].outlines, *one.outlines])
        else:
            groups[one.label, group] = len(drawn)
            drawn.append(one)
    return [Picture("", size, drawn)]


def _drawn(number: int, shape: Any) -> Drawn:
    label, kind = str(shape["label"]), shape.get("shape_type", "polygon")
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "mask":
        return _pixels(number, label, points, shape["mask"])
    return Drawn(label, [_outline(number, kind, points)])


def _outline(number: int, kind: str, points: list[tuple[float, float]]) -> Outline:
    fewest = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2}
    if kind not in fewest:
        raise ValueError(f"shape {number} is a {kind}, which has no area")
    if len(points) < fewest[kind]:
        raise ValueError(f"shape {number} is a {kind} of {len(points)} points")
    if kind == "rectangle":
        (left, top), (right, bottom) = points[:2]
        return rectangle(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
    if kind == "circle":
        (x, y), (edge_x, edge_y) = points[:2]
        radius = math.hypot(edge_x - x, edge_y - y)
        return circle(x, y, radius, radius)
    if kind in ("line", "linestrip"):
        return [[*points, *reversed(points[1:-1])]]  # there and back: no area, so its outline is drawn
    return [points]


def _pixels(number: int, label: str, points: list[tuple[float, float]], encoded: str) -> Drawn:
    """Return a shape of pixels: the first point is its upper left corner."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=("PNG",)) as picture:
            pixels = np.asarray(picture.convert("L")) > 0
    except (OSError, binascii.Error, Image.DecompressionBombError) as error:
        raise ValueError(f"shape {number} has a mask that cannot be read: {error}") from None
    left, top = points[0]
    return Drawn(label, pixels=pixels, top=round(top), left=round(left))
