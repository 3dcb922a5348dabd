"""Match annotations in JSON and XML with their images.

An annotation of one image is named like it: `<id>.json`. One file may also annotate many images and name them inside,
as COCO and CVAT do. The formats are read by `stages.imaging.annotations`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.errors import InputProblemsError, Problem
from stages.imaging.listing import SourceFile, kind_of
from stages.imaging.owners import Owners
from stages.imaging.patterns import Match
from stages.imaging.samples import LabelFile, normal_id, printable

__all__ = ["Annotations", "Entries", "explain_absent", "pair_annotations"]


@dataclass
class Annotations:
    """Hold the files in JSON and XML, sorted by their use."""

    paired: dict[str, list[LabelFile]] = field(default_factory=lambda: defaultdict(list))
    """The annotations of every image, by id."""
    orphans: dict[Path, list[str]] = field(default_factory=dict)
    """Names of missing images, by the file that annotates them."""
    problems: list[Problem] = field(default_factory=list)
    """Annotations that cannot be read."""
    rest: list[SourceFile] = field(default_factory=list)
    """Files that are no annotations of these images."""


def pair_annotations(files: Sequence[SourceFile], owners: Owners) -> Annotations:
    """Match annotations with their images.

    Args:
        files: JSON and XML files.
        owners: The ids of the images.
    """
    result = Annotations()
    if not files:
        return result
    from stages.imaging.annotations import annotated_images, is_annotation

    for file in files:
        if not is_annotation(file.path):
            result.rest.append(file)
            continue
        folder, _, name = file.relative.rpartition("/")
        own = next(filter(None, (owners.find(Match(stem, folder=folder)) for stem in _stems(name))), None)
        if own is not None:
            result.paired[own].append(LabelFile(file.path))
            continue
        try:
            names = annotated_images(file.path)
        except InputProblemsError as error:
            result.problems += error.problems
            continue
        found = _by_owner(names or [], owners)
        for identifier, entry in found.items():
            result.paired[identifier].append(LabelFile(file.path, entry=entry))
        present = set(found.values())
        absent = [name for name in names or [] if name not in present]
        if absent:
            result.orphans[file.path] = absent
        elif not found:
            result.rest.append(file)
    return result


class Entries:
    """Find the names of images in files that annotate several. Every file is read once."""

    def __init__(self) -> None:
        """Start without any file."""
        self._names: dict[Path, dict[str, list[str]]] = {}

    def find(self, file: Path, image: Path) -> str | None:
        """Return the name by which a file annotates an image.

        Args:
            file: A mask or an annotation.
            image: The image file.

        Returns:
            "" if the file is a mask or has the annotation of one image only; None if it annotates other images.

        Raises:
            InputProblemsError: the file is an annotation that cannot be read.
        """
        if kind_of(file.name) != "annotation":
            return ""
        if file not in self._names:
            from stages.imaging.annotations import annotated_images

            self._names[file] = defaultdict(list)
            for name in annotated_images(file) or []:
                self._names[file][_last(name)].append(name)
        names = self._names[file]
        same = names.get(normal_id(image.name), [])
        if len(same) > 1:  # images of one name in several folders: the one whose folders are those of the file
            parts = normal_id(image.absolute().as_posix()).split("/")
            fitting = [name for name in same if parts[-len(_parts(name)) :] == _parts(name)]
            return fitting[0] if len(fitting) == 1 else None
        return same[0] if same else None if len(names) > 1 else ""


def _parts(name: str) -> list[str]:
    """Return the folders and the file of an image's name in an annotation."""
    return normal_id(name.replace("\\", "/")).split("/")


def _last(name: str) -> str:
    """Return the last part of an image's path in an annotation, with `/` or a backslash as separator."""
    return normal_id(name.replace("\\", "/")).rpartition("/")[2]


def _by_owner(names: Sequence[str], owners: Owners) -> Mapping[str, str]:
    """Return the name of every image that is there, by its id."""
    found = {}
    for name in names:
        folder, _, last = normal_id(name.replace("\\", "/")).rpartition("/")
        owner = owners.find(Match(os.path.splitext(last)[0], folder=folder))  # noqa: PTH122 - not a path on this disk
        if owner is not None:
            found[owner] = name
    return found


def _stems(name: str) -> tuple[str, ...]:
    """Return the texts that may be the id in `a.json` and in `a.png.json`."""
    stem = os.path.splitext(name)[0]  # noqa: PTH122 - not a path on this disk
    return stem, os.path.splitext(stem)[0]  # noqa: PTH122


def explain_absent(file: Path, names: Sequence[str]) -> Problem:
    """Return the problem of a file that annotates missing images."""
    examples = ", ".join(map(ascii, names[:3]))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - three examples
    return Problem(printable(file), f"annotates images that are not there: {examples}{more}; add them or remove them")
