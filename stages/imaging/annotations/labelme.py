"""Read LabelMe: one JSON per image, with `shapes`, `imageHeight` and `imageWidth`.

Shapes are `polygon`, `rectangle` (two corners, or four if it is turned), `circle` (centre and a point on it), `line`,
`linestrip` and `mask` (a PNG in base64, and the corners of its window). A line is one pixel wide. A `point` has no area
and is refused. Shapes of one label and the same `group_id` are one object.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.imaging.annotations.drawn import Drawn, Picture, circle, naming, polygon, polyline, rectangle, whole_number
from stages.imaging.annotations.shapes import Outline, Pixels

__all__ = ["parse", "recognise"]

CORNERS = 4
FEWEST = {"polygon": 3, "rectangle": 2, "oriented_rectangle": 4, "circle": 2, "line": 2, "linestrip": 2, "mask": 1}
"""Number of points that a shape needs, by its kind."""


def recognise(content: Any) -> bool:
    """Return True if parsed JSON looks like LabelMe."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imageHeight" in content


def parse(content: Any) -> Sequence[Picture]:
    """Return the one picture of a LabelMe file."""
    height, width = content["imageHeight"], content.get("imageWidth")
    known = height is not None and width is not None
    size = (whole_number(height, "the height"), whole_number(width, "the width")) if known else None
    objects: dict[tuple[str, str], Drawn] = {}
    for number, shape in enumerate(content["shapes"], start=1):
        with naming(f"shape {number}"):
            label, part = str(shape["label"]), _part(shape)
        group = shape.get("group_id")
        key = (label, f"alone {number}" if group is None else f"group {group}")
        objects[key] = Drawn(label, [*objects[key].parts, part] if key in objects else [part])
    name = str(content.get("imagePath") or "").replace("\\", "/").rpartition("/")[2]
    return [Picture(name, size, list(objects.values()))]


def _part(shape: Any) -> Outline | Pixels:
    kind = shape.get("shape_type") or "polygon"
    if kind not in FEWEST:
        raise ValueError(f"is of the kind {kind}, which has no area")
    points = _points(shape["points"])
    if len(points) < FEWEST[kind]:
        raise ValueError(f"is a {kind} of {len(points)} points, and {FEWEST[kind]} are needed")
    if kind == "mask":
        return _pixels(points[0], shape.get("mask"))
    if kind == "circle":
        (x, y), (edge_x, edge_y) = points[:2]
        radius = math.hypot(edge_x - x, edge_y - y)
        return circle(x, y, radius, radius)
    if kind == "rectangle" and len(points) < CORNERS:
        return rectangle(*points[0], *points[1])
    return polyline(points) if kind in ("line", "linestrip") else polygon(points)


def _points(points: Any) -> list[tuple[float, float]]:
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):  # noqa: PLR2004
        raise ValueError("has a point that is no pair of numbers")
    return [(float(x), float(y)) for x, y in points]


def _pixels(corner: tuple[float, float], encoded: Any) -> Pixels:
    """Return a part of pixels from its upper left corner and its PNG. Only the header of the PNG is read now."""
    if not isinstance(encoded, str) or not all(map(math.isfinite, corner)):
        raise ValueError("is a mask without pixels or without a corner")
    try:
        data = base64.b64decode(encoded, validate=True)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            width, height = picture.size
    except (OSError, SyntaxError, binascii.Error, Image.DecompressionBombError):
        raise ValueError("has a mask that is no PNG in base64") from None
    return Pixels((height, width), partial(_decode, data), top=round(corner[1]), left=round(corner[0]))


def _decode(data: bytes) -> NDArray[np.bool_]:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return np.asarray(picture.convert("L")) > 0
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("has a mask whose PNG is damaged") from None
