"""Read COCO: one JSON with `images`, `annotations` and `categories` for many images.

A segmentation is a list of polygons (several parts of one object), or run lengths: a list of numbers, or COCO's
compressed text. Run lengths go down the columns and start with background. An annotation with `iscrowd` covers many
objects that nobody separated, so its pixels are ignored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.imaging.annotations.drawn import Drawn, Picture

__all__ = ["decode_runs", "parse", "recognise", "run_lengths"]

FEWEST_NUMBERS = 6  # three points


def recognise(content: Any) -> bool:
    """Return True if parsed JSON looks like COCO."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    )


def parse(content: Any) -> Sequence[Picture]:
    """Return the annotated pictures of a COCO file, those without annotations too."""
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    drawn: dict[Any, list[Drawn]] = defaultdict(list)
    known = {image["id"] for image in content["images"]}
    for number, annotation in enumerate(content["annotations"], start=1):
        if annotation["image_id"] not in known:
            raise ValueError(f"annotation {number} belongs to an image {annotation['image_id']!r} that is not listed")
        if annotation["category_id"] not in names:
            raise ValueError(f"annotation {number} has a category {annotation['category_id']!r} that is not listed")
        label = "ignore" if annotation.get("iscrowd") else names[annotation["category_id"]]
        drawn[annotation["image_id"]].append(_drawn(number, label, annotation["segmentation"]))
    return [Picture(str(image["file_name"]), _size(image), drawn[image["id"]]) for image in content["images"]]


def run_lengths(text: str) -> list[int]:
    """Decode COCO's compressed run lengths: five bits per character, and differences to the run before the last.

    Raises:
        ValueError: the text ends within a number, or holds other characters.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:  # noqa: PLR2004 - six bits: five of the number, and one that says it goes on
            raise ValueError(f"run lengths hold the character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the sign of the last five bits
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))  # noqa: PLR2004 - from the fourth run on
        value = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")
    return runs


def decode_runs(runs: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Return (height, width) bool for run lengths down the columns, of background and object in turn.

    Raises:
        ValueError: the runs do not fill the picture.
    """
    if any(type(run) is not int or run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"run lengths do not fill {height} x {width} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _drawn(number: int, label: str, segmentation: Any) -> Drawn:
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        counts = segmentation["counts"]
        runs = run_lengths(counts) if isinstance(counts, str) else counts
        return Drawn(label, pixels=decode_runs(runs, int(height), int(width)))
    if not segmentation:
        raise ValueError(f"annotation {number} has no outline, only a box")
    outlines = []
    for part in segmentation:
        if len(part) < FEWEST_NUMBERS or len(part) % 2:
            raise ValueError(f"annotation {number} has a polygon of {len(part)} numbers")
        numbers = [float(value) for value in part]
        outlines.append([list(zip(numbers[::2], numbers[1::2], strict=True))])
    return Drawn(label, outlines)


def _size(image: Any) -> tuple[int, int] | None:
    return (int(image["height"]), int(image["width"])) if "height" in image and "width" in image else None
