"""Hold the folder of images and the folder of masks, and their relation: apart, one, or one inside the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stages.errors import Problem
from stages.imaging.listing import Listing, SourceFile

__all__ = ["Role", "Trees"]

Relation = Literal["one", "apart", "masks_inside", "images_inside"]
Role = Literal["image", "mask", "either"]
"""Possible use of a file, from the folder that it is in."""


@dataclass(frozen=True)
class Trees:
    """Hold the files of the folder of images and of the folder of masks."""

    images: Listing
    """With masks inside the images: without the files of the masks' folder."""
    masks: Listing
    """The same as `images` if there is one folder."""
    relation: Relation

    @classmethod
    def of(cls, images: Listing, masks: Listing | None) -> Trees:
        """Return the trees with their relation. A file of both folders is kept in the inner one, or as the only one."""
        if masks is None:
            return cls(images, images, "one")
        relation = _relate(images, masks)
        if relation == "one":
            return cls(images, images, relation)
        if relation == "masks_inside" or masks.single:
            return cls(_without(images, masks), masks, relation)
        if relation == "apart" and not (images.single or images.links or masks.links):
            return cls(images, masks, relation)  # no file can be in both
        return cls(images, _without(masks, images), relation)

    @property
    def one_root(self) -> bool:
        """Return True if images and masks are in one folder."""
        return self.relation == "one"

    def files(self) -> Iterator[tuple[SourceFile, Role]]:
        """Yield every file once, with the uses that it may have."""
        either: Role = "either" if self.relation in {"one", "images_inside"} else "image"
        for file in self.images.files:
            yield file, either
        for file in () if self.relation == "one" else self.masks.files:
            yield file, "mask"

    def problems(self) -> list[Problem]:
        """Return the problems of both folders, each once."""
        return list(dict.fromkeys([*self.images.problems, *self.masks.problems]))


def _relate(images: Listing, masks: Listing) -> Relation:
    """Return the relation of the two folders. A single file given by the user is apart from any folder."""
    if images.single or masks.single:
        return "apart"
    first, second = images.root.resolve(), masks.root.resolve()
    if first == second:
        return "one"
    if second.is_relative_to(first):
        return "masks_inside"
    return "images_inside" if first.is_relative_to(second) else "apart"


def _without(listing: Listing, other: Listing) -> Listing:
    """Return the listing without the files that the other one holds too."""
    # Folders are resolved before comparing, because `data` and `./data` are the same. Files are not: they may be links.
    resolved: dict[str, str] = {}

    def location(file: SourceFile) -> tuple[str, str]:
        parent, name = os.path.split(file.path)  # a Path for every folder would be slow
        if parent not in resolved:
            resolved[parent] = str(Path(parent).resolve())
        return resolved[parent], name

    taken = {location(file) for file in other.files}
    return replace(listing, files=[file for file in listing.files if location(file) not in taken])
