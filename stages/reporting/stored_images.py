"""Group the tiles of a store by the image that they were cut from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.imaging.parts import Box
from stages.imaging.stored_parts import stored_parts
from store import AttentionStore

__all__ = ["StoredImage", "stored_images"]

PLACE = re.compile(r"_r\d+_c\d+$")
"""End of the id of a tile; see `stages.imaging.tiling.tile_id`."""


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """Hold the tiles of one image, from left to right and then downwards."""

    id: str
    """Id of the image or of the plane."""
    group: str
    indices: Sequence[int]
    """Positions of the tiles in the store."""
    boxes: Sequence[Box]
    """Their regions, in pixels of the image's full resolution."""

    @property
    def extent(self) -> tuple[int, int]:
        """(rows, columns) from the upper left corner of the image to the end of its last tiles."""
        return max(box[0] + box[2] for box in self.boxes), max(box[1] + box[3] for box in self.boxes)


def stored_images(store: AttentionStore, indices: Iterable[int]) -> list[StoredImage]:
    """Return the images whose tiles are at these positions, sorted by id. All samples of the store are tiles."""
    positions = [int(index) for index in indices]
    parts = stored_parts(store, positions)
    ids, groups = (store.chosen_texts(name, positions) for name in ("sample", "group"))
    found: dict[str, list[tuple[Box, int]]] = {}
    for index in positions:
        identifier = ids[index]
        box = parts[identifier][1].box
        if box is None:  # an image of one tile that was stored under its own id
            box = (0, 0, int(store.column("height")[index]), int(store.column("width")[index]))
        found.setdefault(PLACE.sub("", identifier), []).append((box, index))
    return [
        StoredImage(
            id=name,
            group=groups[tiles[0][1]],
            indices=[index for _, index in sorted(tiles)],
            boxes=[box for box, _ in sorted(tiles)],
        )
        for name, tiles in sorted(found.items())
    ]
