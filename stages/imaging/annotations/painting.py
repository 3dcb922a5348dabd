"""Paint the shapes of one image into a mask, larger shapes first, so that small ones on top of them stay visible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.imaging.annotations.shapes import Shape
from stages.imaging.opening import refuse
from stages.settings import Size
from store.records import IGNORE

__all__ = ["Rules", "paint"]

MOST_LISTED = 4


class Rules(Protocol):
    """Interface of `LabelRules`: the kind of the labels, and the index of a class by its name."""

    @property
    def kind(self) -> str:
        """One of `classes`, `instances`, `multilabel`."""

    def index_of(self, label: str) -> int | None:
        """Return the index of a class; 255 for `ignore`; None for an unknown name."""


def paint(
    shapes: Sequence[Shape], size: Size, rules: Rules, path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int32] | None]:
    """Paint shapes into a mask.

    The order is by area, largest first; shapes of equal area keep the order of the file, and the last one is on top.
    Ignored regions are painted after all others. A shape of the background cuts a hole into what is below it. Of kind
    `instances` every other shape is an object, whatever its label.

    Args:
        shapes: The shapes, in the order of the file.
        size: (height, width) of the picture.
        rules: Classes and kind.
        path: The file, for messages.

    Returns:
        (height, width) uint8 class indices, or bits of labels, 255 ignored; and for the kind `instances` the numbers of
        the objects in the order of the file, (height, width) int32 from 1. Otherwise None.

    Raises:
        InputProblemsError: a shape has a label that is no class.
    """
    indices = _indices(shapes, rules, path)
    mask = np.zeros(size, np.uint8)
    numbers = np.zeros(size, np.int32)
    areas = [shape.area for shape in shapes]
    for at in sorted(range(len(shapes)), key=lambda at: (indices[at] == IGNORE, -areas[at], at)):
        window, region, index = shapes[at].window, shapes[at].region, indices[at]
        if rules.kind == "multilabel" and index not in (0, IGNORE):
            mask[window][region] |= np.uint8(1 << (index - 1))
        else:
            mask[window][region] = index
        numbers[window][region] = 0 if index in (0, IGNORE) else at + 1
    return mask, _renumber(numbers) if rules.kind == "instances" else None


def _indices(shapes: Sequence[Shape], rules: Rules, path: Path) -> list[int]:
    """Return the class index of every shape."""
    found = {label: rules.index_of(label) for label in {shape.label for shape in shapes}}
    if rules.kind == "instances":
        found = {label: index if index in (0, IGNORE) else 1 for label, index in found.items()}
    unknown = Counter(shape.label for shape in shapes if found[shape.label] is None)
    if unknown:
        listed = ", ".join(f"{label!r} ({count})" for label, count in unknown.most_common(MOST_LISTED))
        more = f" and {len(unknown) - MOST_LISTED} more" if len(unknown) > MOST_LISTED else ""
        refuse(
            path, f"has shapes of classes that are not named: {listed}{more}; name them with --classes, or as `ignore`"
        )
    return [int(found[shape.label] or 0) for shape in shapes]


def _renumber(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the visible objects from 1 without gaps; 0 stays 0."""
    found, places = np.unique(numbers, return_inverse=True)
    return (places.reshape(numbers.shape) + (0 if found[0] == 0 else 1)).astype(np.int32)
