"""Hold images with labels, from a store or from predictions, for the formats of viewers.

| source        | image                   | labels                                            | pixel size             |
|---------------|-------------------------|---------------------------------------------------|------------------------|
| `store`       | as stored, of one size  | the masks; instances where the store has them     | `pixel_mm`, scaled     |
| `predictions` | the image file, upright | `<id>.png`, and `<id>_instances.png` if it exists | option, file's header  |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.outputs.viewer_kinds import EXPORT_FILE, EXPORT_KEY
from store.disk.publish import write_synced

__all__ = ["Collection", "Item", "Labels", "write_common"]

Region = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Labels:
    """Hold the labels of one image."""

    regions: Mapping[int, Region]
    """(height, width) bool of every foreground class, by its index from 1."""
    ignored: Region
    """(height, width) bool of pixels of which nothing is known."""
    instances: Mapping[int, NDArray[np.int32]] | None = None
    """(height, width) int32 number of the object at every pixel, by class; 0 for none. None: objects are the connected
    regions of a class."""

    def objects(self, index: int) -> NDArray[np.int32]:
        """Return the number of the object at every pixel of a class, (height, width) int32; 0 for none."""
        from stages.segmentation.instances import split_instances

        if self.instances is not None:
            return self.instances[index]
        return split_instances(self.regions[index], "components")

    def index_mask(self) -> NDArray[np.uint8]:
        """Return (height, width) uint8 class indices; 255 for ignored pixels. For classes that do not overlap."""
        mask = np.zeros(self.ignored.shape, np.uint8)
        for index, region in self.regions.items():
            mask[region] = index
        mask[self.ignored] = 255
        return mask


@dataclass(frozen=True, eq=False)
class Item:
    """Hold one image."""

    id: str
    """Name, usable as a file name."""
    image: NDArray[np.uint8]
    """(height, width, 3) RGB."""
    labels: Labels | None
    """None if the image has none."""
    pixel_mm: tuple[float, float] | None
    """Distance of rows and of columns in millimetres; None if it is not known."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Hold images with labels of the same classes, which are read one at a time."""

    classes: Sequence[str]
    """Names by index; 0 is the background."""
    multilabel: bool
    """True if classes may overlap."""
    ids: Sequence[str]
    read: Callable[[int], Item]
    """Read the image of a position in `ids`. It raises InputProblemsError if a file cannot be used."""
    turned: Callable[[int], bool] = lambda _: False
    """Return True if the file of an image is not stored upright, by the position in `ids`."""
    notes: Sequence[str] = ()
    notice: bytes = b""
    """Content of `weights-licence.txt`; empty if the licence needs no notice."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Source of the export, for `export.json`."""

    def __iter__(self) -> Iterator[Item]:
        return map(self.read, range(len(self.ids)))


def write_common(folder: Path, collection: Collection, name: str) -> None:
    """Write `export.json`, and the licence of the weights if there is a notice.

    Args:
        folder: The export.
        collection: What was exported.
        name: Name of the format.
    """
    described = {"format": name, "classes": list(collection.classes), **collection.facts}
    content = json.dumps({EXPORT_KEY: described}, indent=2, ensure_ascii=False) + "\n"
    write_synced(folder / EXPORT_FILE, content.encode())
    if collection.notice:
        write_synced(folder / "weights-licence.txt", collection.notice)
