"""Write the files that hold all planes of a scan: the mask, and the objects if they are asked for.

`stages.prediction.parents` gathers the planes and knows the formats. This module names the files and hands their
contents over as soon as the last plane has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stages.prediction.parents import Content, Gatherer, ParentFormat, parent_format, parent_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.errors import Problem
    from stages.imaging.samples import SourceSample
    from stages.segmentation.mask_painter import MaskPainter

__all__ = ["ParentFiles"]


class ParentFiles:
    """Turn predicted planes into the names and the contents of files, one for all planes of a scan."""

    def __init__(
        self,
        classes: Sequence[str],
        painter: MaskPainter,
        *,
        label_names: Callable[[str], list[str]] | None,
        objects: bool,
    ) -> None:
        """Take the classes and what is written.

        Args:
            classes: Names by index, the background first.
            painter: Turns class indices into the values of masks.
            label_names: Returns the beginnings of the names of one file for each label, for an id; None if labels do
                not overlap.
            objects: Whether the numbers of objects are written too.
        """
        self._classes, self._painter = classes, painter
        self._label_names, self._objects = label_names, objects
        self._gatherers: dict[int | str, Gatherer] = {}
        self._usable: set[str] = set()
        """Endings of the formats whose packages are installed."""

    def names(self, source: SourceSample) -> list[str]:
        """Return the names of all files for the scan of a sample, masks first; none if its planes have own files.

        Raises:
            UsageError: such files cannot be written, because a package is not installed.
        """
        if (found := parent_format(source)) is None:
            return []
        if found.ending not in self._usable:
            found.require()
            self._usable.add(found.ending)
        identifier = parent_id(source)
        names = [f"{part}{found.ending}" for part in self._parts(identifier, found)]
        if self._objects and found.objects:
            labels = [identifier] if self._label_names is None else self._label_names(identifier)
            names += [f"{part}_instances{found.ending}" for part in labels]
        return names

    def takes_masks(self, source: SourceSample) -> bool:
        """Return True if the masks of all planes are written as one file."""
        return parent_format(source) is not None

    def add(self, source: SourceSample, mask: NDArray[Any]) -> Iterator[tuple[str, bytes]]:
        """Take the mask of one plane, and yield the names and the contents of the files that are now complete.

        Args:
            source: A sample for which `takes_masks` is true.
            mask: (row, column) uint8 class indices, or bits if labels overlap.
        """
        content: Content = "classes" if self._label_names is None else "labels"
        gathered = self._gatherer("mask", content).add(source, mask)
        found = parent_format(source)
        if gathered is None or found is None:
            return
        parts = self._parts(gathered.identifier, found)
        one_each = content == "labels" and not found.overlapping
        for index, part in enumerate(parts, start=1):
            yield f"{part}{found.ending}", found.encode(gathered, index if one_each else None)

    def takes_objects(self, source: SourceSample) -> bool:
        """Return True if the objects of all planes are written as one file."""
        found = parent_format(source)
        return found is not None and found.objects

    def add_objects(
        self, source: SourceSample, objects: NDArray[Any], label: int | None
    ) -> Iterator[tuple[str, bytes]]:
        """Take the objects of one plane, and yield the name and the content of the file if it is complete.

        Args:
            source: A sample for which `takes_objects` is true.
            objects: (row, column) int32 numbers from 1 on every plane.
            label: The label whose objects these are, from 1, if labels overlap; else None.
        """
        gathered = self._gatherer(label or 0, "objects").add(source, objects)
        found = parent_format(source)
        if gathered is None or found is None:
            return
        name = gathered.identifier
        part = name if label is None or self._label_names is None else self._label_names(name)[label - 1]
        yield f"{part}_instances{found.ending}", found.encode(gathered)

    def close(self) -> list[Problem]:
        """Return the scans that were not written, because planes of them could not be predicted."""
        for gatherer in self._gatherers.values():
            gatherer.close()
        return list(dict.fromkeys(problem for one in self._gatherers.values() for problem in one.problems))

    def _parts(self, identifier: str, found: ParentFormat) -> list[str]:
        """Return the beginnings of the names of the masks' files."""
        if self._label_names is None or found.overlapping:
            return [identifier]
        return self._label_names(identifier)

    def _gatherer(self, key: int | str, content: Content) -> Gatherer:
        if key not in self._gatherers:
            self._gatherers[key] = Gatherer(classes=self._classes, painter=self._painter, content=content)
        return self._gatherers[key]
