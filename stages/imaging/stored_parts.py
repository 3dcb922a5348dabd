"""Tell which part of which file every sample of a store is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from stages.imaging.image_rules import ImageRules
from stages.imaging.parts import WHOLE, Part
from stages.imaging.samples import LabelFile
from store import AttentionStore

__all__ = ["labels_of_parts", "stored_parts"]


def stored_parts(store: AttentionStore, indices: Iterable[int]) -> dict[str, tuple[str, Part]]:
    """Return the id of the parent, and the part of it, of samples by id.

    A sample that is no part of a larger image is its own parent. A store without the column `parent` has only these.

    Args:
        store: The store.
        indices: Positions of the samples.
    """
    axis = ImageRules.from_dict(store.description.images).axis
    positions = list(map(int, indices))
    ids = store.chosen_texts("sample", positions)
    if not store.has("parent"):
        return {ids[index]: (ids[index], Part(axis=axis)) for index in positions}
    parents = store.chosen_texts("parent", positions)
    heights, widths = (store.column(name) for name in ("height", "width"))
    places = {name: store.column(name) for name in ("slice", "row", "column") if store.has(name)}
    found = {}
    for index in positions:
        identifier, parent = ids[index], parents[index]
        box = None
        if "row" in places and parent != identifier:
            start = (int(places["row"][index]), int(places["column"][index]))
            box = (*start, int(heights[index]), int(widths[index]))
        plane = int(places["slice"][index]) if "slice" in places and parent != identifier else None
        found[identifier] = (parent, Part(plane=plane, box=box, axis=axis))
    return found


def labels_of_parts(
    parts: Mapping[str, tuple[str, Part]], files: Mapping[str, tuple[LabelFile, ...]]
) -> dict[str, tuple[LabelFile, ...]]:
    """Return the label files of samples by id, from those of their parents; samples without any are left out."""
    return {
        identifier: tuple(label if part == WHOLE else replace(label, part=part) for label in files[parent])
        for identifier, (parent, part) in parts.items()
        if parent in files
    }
