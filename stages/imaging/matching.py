"""Match the files of one or two folders by the patterns of one layout.

Every file of the folders ends in exactly one place: in a sample, in a problem, or among the files left out with a
reason. How it works:

1. By-products are left out. Images are recognised, and each gets its id. If one id occurs in several folders, the
   folders become part of every id: `benign/001.png` is `benign-001`.
2. Every mask is matched with the image whose id is in its name. Files of one image are in natural order: `_2` before
   `_10`.
3. The remaining files are grouped by the reason why they are not used.

Nothing is decoded here. Only files in JSON and XML are opened; see `stages.imaging.annotating`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path

from stages.errors import Problem
from stages.imaging.annotating import explain_absent, pair_annotations
from stages.imaging.forms import Forms
from stages.imaging.layouts import Layout
from stages.imaging.listing import SourceFile, unreadable_format
from stages.imaging.owners import Owners
from stages.imaging.patterns import Match, Pattern, stem_of
from stages.imaging.samples import LabelFile, SourceSample, printable
from stages.imaging.sorting import SortedFiles, sort_files
from stages.imaging.trees import Role, Trees
from stages.imaging.volumes.numpy_files import is_probabilities

__all__ = ["UNLIKE", "Matched", "OwnedLabels", "assign_labels", "match_files"]

UNLIKE = "pictures that are named unlike images and masks"
"""Reason for leaving out a picture that fits no pattern."""


@dataclass
class Matched:
    """Hold every file, sorted by its use."""

    samples: list[SourceSample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    """The files that are neither image nor mask, by reason."""
    orphans: dict[Path, Callable[[], Problem]] = field(default_factory=dict)
    """Masks without an image, each with a function that makes its message. Messages are made only for the chosen
    layout."""
    relative: dict[str, str] = field(default_factory=dict)
    """Path of every sample's image relative to the folder of images, by id."""
    groups: dict[str, str] = field(default_factory=dict)
    """The text that `{group}` found in the path of a sample's image, by id; "" without `{group}`."""
    refused: int = 0
    """Images with further channels, or with masks that exclude each other."""
    folders: bool = False
    """Ids begin with the names of folders."""

    @property
    def paired(self) -> int:
        """Return the number of images that have a mask."""
        return sum(1 for sample in self.samples if sample.masks)

    @property
    def pairs(self) -> dict[Path, tuple[LabelFile, ...]]:
        """Return the masks of every image that has one."""
        return {sample.image: sample.masks for sample in self.samples if sample.masks}

    def leave_out(self, reason: str, *files: Path) -> None:
        """Record files that are not used, with the reason."""
        if files:
            self.left_out.setdefault(reason, []).extend(files)


@dataclass
class OwnedLabels:
    """Hold the label files of one image."""

    files: list[LabelFile] = field(default_factory=list)
    """In natural order of their names."""
    single: int = 0
    """Files that fit a pattern of which an image can have only one file."""

    @property
    def fault(self) -> str | None:
        """Return the problem of masks that do not belong together; None if there is none."""
        if len(self.files) <= 1:
            return None
        labels = [file.label for file in self.files if file.label]
        if self.single <= 1 and len(labels) == len(set(labels)):
            return None
        several = " and ".join(printable(file.path) for file in self.files)
        return f"has {len(self.files)} masks: {several}; keep one of them"

    def drop_probabilities(self) -> list[Path]:
        """Remove arrays of probabilities that lie beside a mask, and return them. Only headers are read."""
        dropped = [file.path for file in self.files if is_probabilities(file.path)]
        self.files = [file for file in self.files if file.path not in dropped]
        self.single -= len(dropped)
        return dropped


def match_files(layout: Layout, trees: Trees, *, masks_wanted: bool = True) -> Matched:
    """Match the files of the folders by the patterns of one layout.

    Args:
        layout: The patterns.
        trees: The files.
        masks_wanted: True if masks are needed. If False, files in JSON and XML are not opened, an image with masks that
        exclude each other is not a problem, and images that the layout describes as test images are used.

    Raises:
        UsageError: a pattern is not valid.
    """
    forms = Forms.of(layout, trees)
    files = sort_files(layout, trees, forms)
    result = Matched(
        problems=files.problems, left_out=files.by_products, folders=files.folders, refused=files.incomplete
    )
    if not masks_wanted:
        files.rest += files.annotations
        files.annotations = []
    owners = Owners([*files.images, *files.refused], folders=files.folders)
    owned = assign_labels(files, owners, forms, result)
    for identifier, image in files.images.items():
        labels = owned.get(identifier) or OwnedLabels()
        if image.file.kind == "array" and not labels.files:
            labels = OwnedLabels([LabelFile.at(image.file.place)])
        fault = labels.fault if len(labels.files) > 1 else None
        if fault is not None:
            result.leave_out("probabilities of `predict`, not masks", *labels.drop_probabilities())
            fault = labels.fault
        reason = None
        if masks_wanted and not labels.files:
            reason = forms.without_mask(image.file) or _further_picture(identifier, files, owned, layout, trees)
        if reason is not None:
            result.leave_out(reason, image.file.path)
        elif masks_wanted and fault is not None:
            result.problems.append(Problem(printable(image.file.path), fault))
            result.refused += 1
        else:
            file, group = image.file, image.match.group
            result.samples.append(SourceSample.at(file.place, identifier, tuple(labels.files), group))
            result.relative[identifier] = file.inside or file.relative
            result.groups[identifier] = group
    for identifier in files.refused & owned.keys():
        result.leave_out("masks of images with a problem", *(file.path for file in owned[identifier].files))
    for file in files.rest:
        result.leave_out(_reason_unused(file), file.path)
    result.samples.sort(key=attrgetter("id"))
    return result


def assign_labels(files: SortedFiles, owners: Owners, forms: Forms, result: Matched) -> dict[str, OwnedLabels]:
    """Match masks and annotations with their images.

    Args:
        files: The files; those that are no masks are added to `files.rest`.
        owners: The ids of the images.
        forms: The patterns of the layout.
        result: Masks without an image and problems are added to it.

    Returns:
        The label files by id.
    """
    owned: dict[str, OwnedLabels] = defaultdict(OwnedLabels)
    named_alike = not owners.folders and forms.masks != () and forms.masks[0].fits_any
    for file, role in files.masks:
        if named_alike and role == "mask" and (id_ := stem_of(file.relative)) in owners.ids:  # as nearly always
            labels = owned[id_]
            labels.files.append(LabelFile.at(file.place))
            labels.single += 1
            continue
        patterns = forms.masks if role == "mask" else (*forms.separating, *forms.beside)
        found = _owner(file, role, patterns, owners, forms)
        if found is not None:
            owner, match, pattern = found
            labels = owned[owner]
            labels.files.append(LabelFile.at(file.place, match.label))
            labels.single += not pattern.of_many
        elif (reason := forms.by_product_of(file, owners.ids)) is not None:
            result.leave_out(reason, file.path)
        elif forms.fits(patterns, file, role):
            result.orphans[file.path] = partial(_explain_orphan, file, role, patterns, owners, forms)
        else:
            files.rest.append(file)
    annotations = pair_annotations(files.annotations, owners)
    for owner, annotated in annotations.paired.items():
        owned[owner].files += annotated
        owned[owner].single += len(annotated)
    files.rest += annotations.rest
    result.problems += annotations.problems
    for path, absent in annotations.orphans.items():
        result.orphans[path] = partial(explain_absent, path, absent)
    for labels in owned.values():
        if len(labels.files) > 1:
            labels.files.sort(key=lambda file: (_natural(file.path.name), file.path))
    return owned


def _owner(
    file: SourceFile, role: Role, patterns: Sequence[Pattern], owners: Owners, forms: Forms
) -> tuple[str, Match, Pattern] | None:
    """Return the id of the image that a mask belongs to, with the parts of the mask's path and their pattern."""
    first = forms.first(patterns, file, role)  # nearly always the right one
    owner = None if first is None else owners.find(first[1])
    if first is not None and owner is not None:
        return owner, first[1], first[0]
    for pattern, match in forms.read(patterns, file, role):
        owner = owners.find(match)
        if owner is not None:
            return owner, match, pattern
    return None


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts numbers in texts by their value."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]


def _further_picture(
    identifier: str, files: SortedFiles, owned: dict[str, OwnedLabels], layout: Layout, trees: Trees
) -> str | None:
    """Return the reason why a picture without a mask is left out: it is a further file of an image with a mask."""
    if not layout.regions or trees.relation == "apart":
        return None
    folder = files.images[identifier].file.path.parent
    parts = identifier.split("_")
    beginnings = ("_".join(parts[:length]) for length in range(1, len(parts)))
    belongs = any(
        name in owned and name in files.images and files.images[name].file.path.parent != folder for name in beginnings
    )
    return "further pictures of images that have a mask" if belongs else None


def _reason_unused(file: SourceFile) -> str:
    """Return the reason why a file has no use, by its kind."""
    if file.kind == "unreadable":
        return f"{unreadable_format(file.path.name)} files, which are not read; convert images to PNG, scans to NIfTI"
    return {
        "picture": UNLIKE,
        "array": "NumPy files, which are read in the layout `slices` only",
        "annotation": "JSON or XML files that are not used as annotations of these images",
        "hidden": "hidden files and folders",
    }.get(file.kind, "not pictures")


def _explain_orphan(file: SourceFile, role: Role, patterns: Sequence[Pattern], owners: Owners, forms: Forms) -> Problem:
    """Return the problem of a mask without an image, and the remedy."""
    readings = list(forms.read(patterns, file, role))
    several = next((found for _, match in readings if len(found := owners.candidates(match)) > 1), None)
    if several is not None:
        named = " and ".join(map(repr, several[:3]))
        what = f"could be the mask of {named}; put the masks in folders of the same names as the images"
        return Problem(printable(file.path), what)
    longest = {pattern: match.id for pattern, match in reversed(readings)}  # of each pattern, its first reading
    wanted = min(longest.values(), key=len)
    return Problem(printable(file.path), f"no image {wanted!r} for this mask; add the image or remove the mask")
