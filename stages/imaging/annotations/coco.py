"""Read COCO: one JSON with `images`, `annotations` and `categories` for many images.

A segmentation is a list of polygons (several parts of one object), or run lengths: a list of numbers, or COCO's
compressed text. Run lengths go down the columns and start with background. An annotation with `iscrowd` covers many
objects that nobody separated, so its pixels are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.imaging.annotations.drawn import Drawn, Picture, naming, polygon, whole_number
from stages.imaging.annotations.run_lengths import decode_columns, decode_text
from stages.imaging.annotations.shapes import Outline, Pixels
from stages.settings import Size

__all__ = ["parse", "recognise"]


def recognise(content: Any) -> bool:
    """Return True if parsed JSON looks like COCO."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    )


def parse(content: Any) -> Sequence[Picture]:
    """Return all pictures that a COCO file lists, including those without annotations."""
    names = {str(category["id"]): str(category["name"]) for category in content["categories"]}
    drawn: dict[str, list[Drawn]] = {str(image["id"]): [] for image in content["images"]}
    for number, annotation in enumerate(content["annotations"], start=1):
        with naming(f"annotation {number}"):
            drawn[_known(annotation, "image_id", drawn)].append(_drawn(annotation, names))
    return [Picture(str(image["file_name"]), _size(image), drawn[str(image["id"])]) for image in content["images"]]


def _known(annotation: Any, key: str, table: dict[str, Any]) -> str:
    """Return the id that an annotation has under a key. Make sure that the file lists this id."""
    value = str(annotation.get(key))
    if value not in table:
        raise ValueError(f"has the {key} {value[:20]}, which the file does not list")
    return value


def _drawn(annotation: Any, names: dict[str, str]) -> Drawn:
    label = names[_known(annotation, "category_id", names)]
    segmentation = annotation.get("segmentation")
    if not segmentation:
        raise ValueError("has no outline, only a box")
    if isinstance(segmentation, dict):
        parts: list[Outline | Pixels] = [_pixels(segmentation)]
    else:
        parts = [_outline(part) for part in segmentation]
    return Drawn("ignore" if annotation.get("iscrowd") else label, parts)


def _outline(numbers: Any) -> Outline:
    if not isinstance(numbers, list) or len(numbers) % 2:
        raise ValueError("has a polygon that is no list of pairs")
    values = [float(value) for value in numbers]
    return polygon(list(zip(values[::2], values[1::2], strict=True)))


def _pixels(segmentation: dict[str, Any]) -> Pixels:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, list | str):  # noqa: PLR2004 - two sides
        raise ValueError("has run lengths without `size` and `counts`")
    height, width = whole_number(size[0], "a height of"), whole_number(size[1], "a width of")
    return Pixels((height, width), partial(_decode, counts, (height, width)), whole=True)


def _decode(counts: list[Any] | str, size: Size) -> NDArray[np.bool_]:
    return decode_columns(decode_text(counts) if isinstance(counts, str) else counts, size)


def _size(image: Any) -> Size | None:
    if image.get("height") is None or image.get("width") is None:
        return None
    return whole_number(image["height"], "the height"), whole_number(image["width"], "the width")
