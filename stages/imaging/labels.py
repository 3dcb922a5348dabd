"""Read the labels of one image from its files: masks, objects, one file per class, arrays or annotations.

`LabelRules` define the meaning of the label files. They are made once per data set. There are three kinds:

| kind | one file | several files of one image |
|---|---|---|
| `classes` | each value is a class | united; if the files name classes, each file is one class |
| `instances` | each value above 0 is an object; in black and white, each region | one or more objects per file |
| `multilabel` | one label | one label per file; labels may overlap |

An annotation in JSON or XML (`stages.imaging.annotations`) counts as a file that names its classes. An array file
(`.npz`) has the mask in the array `label`. A volume has one mask for each plane.

Where two files of one image differ:

- `classes`: a pixel of two classes is an error. A pixel that any file ignores is ignored.
- `instances`: the first file keeps the pixel.
- `multilabel`: the pixel has both labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.imaging.class_names import Kind, classes_of, is_annotation_file, label_names
from stages.imaging.class_values import ClassValue
from stages.imaging.classes import BACKGROUND_NAMES, IGNORE_NAME, ClassMap
from stages.imaging.dicom.objects import is_segment, split_segments
from stages.imaging.label_values import has_values, read_values
from stages.imaging.mapped import MOST_UNCLEAR, map_values
from stages.imaging.masks import binary_values, open_mask, read_mask
from stages.imaging.objects import number_objects, read_objects
from stages.imaging.opening import refuse
from stages.imaging.samples import LabelFile, SourceSample
from stages.settings import Size
from store.description import MaskSource
from store.records import IGNORE

__all__ = ["Kind", "LabelRules", "Labels", "read_labels"]

SINGLE_COLOUR = re.compile("#[0-9a-f]{6}")


@dataclass(frozen=True, eq=False)
class Labels:
    """Hold the labels of one image at its own size."""

    mask: NDArray[np.uint8]
    """(height, width) class index, 255 ignored. Of kind `multilabel`: bit k - 1 is set where label k is."""
    instances: NDArray[np.int32] | None
    """(height, width) number of the object from 1, 0 for none; None unless the kind is `instances`."""


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """Define how the label files of a data set are read."""

    classes: ClassMap
    """The classes by index. They have no values if files name their class, or if masks are black and white."""
    kind: Kind = "classes"
    threshold: float | None = None
    """Smallest share of white at which a pixel of a soft mask is foreground; None for masks in black and white."""
    unclear: float = MOST_UNCLEAR
    """Largest share of unclear pixels in a lossy file with classes."""

    @classmethod
    def for_samples(
        cls,
        samples: Sequence[SourceSample],
        *,
        classes: Mapping[str, ClassValue] | Path | None = None,
        kind: Kind = "classes",
        threshold: float | None = None,
        unclear: float = MOST_UNCLEAR,
    ) -> LabelRules:
        """Make the rules for a data set.

        Args:
            samples: The samples. If their label files name classes, all samples together define the classes.
            classes: Class names and their values, or a file with them (`stages.imaging.class_files`).
            kind: See the module.
            threshold: Share of white, for soft masks without classes.
            unclear: Share of pixels, for lossy masks with classes.

        Raises:
            UsageError: the classes are not valid, or do not fit the kind, the files or the threshold.
            InputProblemsError: an annotation cannot be read.
        """
        names = label_names(samples)
        found = classes_of(classes, names, kind=kind, thresholded=threshold is not None)
        return cls(classes=found, kind=kind, threshold=threshold, unclear=unclear)

    def to_source(self, pairing: dict[str, Any] | None) -> MaskSource:
        """Return the rules in the form that a store records.

        Args:
            pairing: The rule by which label files were found; None without labels.
        """
        values = self.classes.to_mapping()
        rules = {"labels": self.kind, "threshold": self.threshold, "unclear": self.unclear}
        return MaskSource(
            values=values,
            decoding="binary" if values is None else "mapped",
            pairing=pairing,
            resize=None if pairing is None else "area",
            rules=None if self._is_plain() else rules,
        )

    @classmethod
    def from_source(cls, source: MaskSource, names: Sequence[str]) -> LabelRules:
        """Return the rules that a store recorded.

        Args:
            source: From the store's description.
            names: The store's classes by index. This order is kept, even if the background is not the first.
        """
        rules = source.rules or {}
        classes = ClassMap.from_mapping(source.values, order=names) if source.values else ClassMap(tuple(names))
        return cls(
            classes=classes,
            kind=rules.get("labels", "classes"),
            threshold=rules.get("threshold"),
            unclear=rules.get("unclear", MOST_UNCLEAR),
        )

    def index_of(self, label: str) -> int | None:
        """Return the index of the class that a label file names; 255 for `ignore`; None if there is no such class."""
        if label == IGNORE_NAME:
            return IGNORE
        if label.lower() in BACKGROUND_NAMES and label not in self.classes.names:
            return 0
        return self.classes.names.index(label) if label in self.classes.names else None

    def _is_plain(self) -> bool:
        """Return True if a program that knows only class values, or only black and white, reads the masks alike."""
        values = self.classes.to_mapping()
        if values is None:
            single = self.classes == ClassMap.binary()
        else:
            single = all(isinstance(value, int) or SINGLE_COLOUR.fullmatch(value) for value in values.values())
        return single and self.kind == "classes" and self.threshold is None and self.unclear == MOST_UNCLEAR


def read_labels(files: Sequence[LabelFile], rules: LabelRules, expected_size: Size) -> Labels:
    """Read the labels of one image.

    Args:
        files: The files, at least one, in a fixed order.
        rules: Their meaning.
        expected_size: (height, width) of the upright image.

    Returns:
        The labels at that size.

    Raises:
        InputProblemsError: a file cannot be used, or the files contradict each other. The error has one problem.
    """
    if any(is_annotation_file(file.path) for file in files):
        return _read_annotations(files, rules, expected_size)
    if rules.kind == "instances":
        instances = _read_instances(files, expected_size)
        return Labels((instances > 0).astype(np.uint8), instances)
    read = _read_bits if rules.kind == "multilabel" else _read_classes
    return Labels(read(files, rules, expected_size), None)


def _read_annotations(files: Sequence[LabelFile], rules: LabelRules, size: Size) -> Labels:
    """Return the labels that are drawn in annotations; the shapes of all files count together."""
    from stages.imaging.annotations import paint, read_annotation, read_annotation_region  # imports scikit-image

    picture = next((file.path for file in files if not is_annotation_file(file.path)), None)
    if picture is not None:
        refuse(picture, "is a mask of an image that also has an annotation file; keep one of the two")
    shapes = []
    for file in files:
        box = file.part.box
        shapes += (
            read_annotation(file.path, file.entry, size)
            if box is None
            else read_annotation_region(file.path, file.entry, box)
        )
    mask, instances = paint(shapes, size, rules, files[0].path)
    return Labels(mask, instances)


def _read_classes(files: Sequence[LabelFile], rules: LabelRules, size: Size) -> NDArray[np.uint8]:
    """Unite the files of one image. Return class indices; 255 where any file ignores the pixel."""
    united = _read_one(files[0], rules, size)
    for file in files[1:]:
        part = _read_one(file, rules, size)
        both = (united != 0) & (part != 0) & (united != IGNORE) & (part != IGNORE) & (united != part)
        if both.any():
            one, other = (rules.classes.names[int(mask[both][0])] for mask in (united, part))
            refuse(
                file.path,
                f"{int(both.sum())} pixels are {other} here and {one} in another file of the image; correct the files, "
                "or keep labels that overlap with --labels multilabel",
            )
        united = np.maximum(united, part)  # a class replaces 0, and 255 replaces a class
    return united


def _read_one(file: LabelFile, rules: LabelRules, size: Size) -> NDArray[np.uint8]:
    """Return the class indices of one mask file."""
    if file.label:
        inside = _read_foreground(file, rules, size)
        return np.where(inside, np.uint8(_index_of(file, rules)), np.uint8(0))
    if not rules.classes.values and len(rules.classes.names) > 2:  # noqa: PLR2004 - black and white would be enough
        names = ", ".join(rules.classes.names)
        refuse(file.path, f"does not name its class, and other masks name theirs ({names}); name it, or give --classes")
    if not has_values(file):
        return read_mask(file.path, rules.classes, size, threshold=rules.threshold, unclear=rules.unclear)
    values = read_values(file, size)
    if rules.classes.values:
        return map_values(file.path, values, rules.classes)
    return binary_values(file.path, values, threshold=rules.threshold)


def _read_bits(files: Sequence[LabelFile], rules: LabelRules, size: Size) -> NDArray[np.uint8]:
    """Return the labels of files, one bit for each; 255 where a file of ignored pixels says so."""
    bits = np.zeros(size, np.uint8)
    ignored = np.zeros(size, np.bool_)
    for file in files:
        index = _index_of(file, rules)
        inside = _read_foreground(file, rules, size)
        if index == IGNORE:
            ignored |= inside
        elif index:
            bits |= inside.astype(np.uint8) << np.uint8(index - 1)
    bits[ignored] = IGNORE
    return bits


def _read_foreground(file: LabelFile, rules: LabelRules, size: Size) -> NDArray[np.bool_]:
    """Return True where a black-and-white or soft mask is foreground."""
    if has_values(file):
        mask = binary_values(file.path, read_values(file, size), threshold=rules.threshold)
    else:
        mask = read_mask(file.path, ClassMap.binary(), size, threshold=rules.threshold)
    inside: NDArray[np.bool_] = mask == 1
    return inside


def _index_of(file: LabelFile, rules: LabelRules) -> int:
    """Return the index of the class that a file names."""
    index = rules.index_of(file.label)
    if index is None and file.label:
        refuse(file.path, f"is a mask of `{file.label}`, which is none of {', '.join(rules.classes.names)}; rename it")
    if index is None:
        remedy = "say where the names of the masks have the label: --mask-pattern '{id}_{label}.png'"
        refuse(file.path, f"has no label, and with --labels multilabel every file is one label; {remedy}")
    return index


def _read_instances(files: Sequence[LabelFile], size: Size) -> NDArray[np.int32]:
    """Return the objects of all files, numbered from 1 in the order of the files."""
    objects = np.zeros(size, np.int32)
    count = 0
    files = [part for file in files for part in split_segments(file)]
    for file in files:
        if has_values(file):
            part = number_objects(read_values(file, size))
        else:
            part = read_objects(file.path, open_mask(file.path, size))
        may_be_regions = not has_values(file) or is_segment(file)
        if len(files) == 1 and may_be_regions and int(part.max(initial=0)) == 1:  # each region is an object
            part = ndimage.label(part, np.ones((3, 3)))[0].astype(np.int32)
        free = (objects == 0) & (part > 0)
        objects[free] = part[free] + count
        count += int(part.max(initial=0))
    return number_objects(objects)  # an object that others cover completely has no number
