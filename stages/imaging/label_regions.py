"""Read the labels of a region of an image: of a tile.

| the labels are                              | the labels of a region                                                 |
|---------------------------------------------|------------------------------------------------------------------------|
| volumes                                     | the region of every file, by the format's reader                       |
| annotations drawn as outlines               | the shapes that meet the region, painted in it                         |
| pictures, arrays, annotations with encoded pixels | all of it is read once, kept for a while, and cut                |

A region may reach beyond the image: there the labels are ignored. An object that a region cuts is an object of each
tile that shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.imaging.class_names import is_annotation_file
from stages.imaging.kept import Kept, file_version
from stages.imaging.labels import LabelRules, Labels, read_labels
from stages.imaging.objects import number_objects
from stages.imaging.parts import Box, Part
from stages.imaging.regions import MOST_KEPT, cut_out, inside, widened
from stages.imaging.samples import LabelFile
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.whole_size import whole_image_size, whole_label_size
from stages.settings import Size
from store.records import IGNORE

__all__ = ["ignore_outside", "read_labels_of_part"]

MASKS: Kept[Labels] = Kept(
    MOST_KEPT, lambda value: value.mask.nbytes + (0 if value.instances is None else value.instances.nbytes)
)


def read_labels_of_part(files: Sequence[LabelFile], rules: LabelRules, expected_size: Size) -> Labels:
    """Read the labels of one sample: of a whole image, or of a region of it.

    Args:
        files: The files, at least one, in a fixed order, with the part that belongs to the sample.
        rules: Their meaning.
        expected_size: (height, width) of the upright image, or of the region.

    Returns:
        The labels at that size.

    Raises:
        InputProblemsError: a file cannot be used, or the files contradict each other. The error has one problem.
    """
    box = files[0].part.box
    if box is None:
        return read_labels(files, rules, expected_size)
    if any(is_annotation_file(file.path) for file in files):
        return _annotated(files, rules, box)
    if all(is_volume_file(file.path) for file in files):
        inner = inside(box, open_volume(files[0].path, files[0].part.axis).facts.size)
        return _widened(_read_inside(files, rules, inner), inner, box)
    return _cut(files, rules, box, whole_label_size(files[0].path, files[0].part))


def ignore_outside(labels: Labels, box: Box, image: Path, part: Part) -> Labels:
    """Return the labels of a region, ignored where the region reaches beyond its image.

    An annotation does not always say how large its image is, so its shapes may lie there.

    Raises:
        InputProblemsError: the image cannot be read.
    """
    size = whole_image_size(image, part)
    rows, columns = max(0, size[0] - box[0]), max(0, size[1] - box[1])
    labels.mask[rows:], labels.mask[:, columns:] = IGNORE, IGNORE
    if labels.instances is not None:
        labels.instances[rows:], labels.instances[:, columns:] = 0, 0
    return labels


def _annotated(files: Sequence[LabelFile], rules: LabelRules, box: Box) -> Labels:
    """Return the labels that are drawn in a region."""
    from stages.imaging.annotations import encoded_size  # here, because it imports scikit-image

    size = next((found for file in files if (found := encoded_size(file.path, file.entry)) is not None), None)
    return _read_inside(files, rules, box) if size is None else _cut(files, rules, box, size)


def _read_inside(files: Sequence[LabelFile], rules: LabelRules, inner: Box) -> Labels:
    if not inner[2] * inner[3]:
        instances = np.zeros(inner[2:], np.int32) if rules.kind == "instances" else None
        return Labels(np.zeros(inner[2:], np.uint8), instances)
    parts = [replace(file, part=replace(file.part, box=inner)) for file in files]
    return read_labels(parts, rules, inner[2:])


def _cut(files: Sequence[LabelFile], rules: LabelRules, box: Box, size: Size) -> Labels:
    """Return the labels of a region of files that are read as a whole."""
    whole = [replace(file, part=replace(file.part, box=None)) for file in files]
    key = (*((file_version(file.path), file.label, file.entry, file.part) for file in whole), repr(rules))
    labels = MASKS.get(key, lambda: read_labels(whole, rules, size))
    mask = cut_out(labels.mask, box, IGNORE)
    if labels.instances is None:
        return Labels(mask, None)
    return Labels(mask, number_objects(cut_out(labels.instances, box, 0)))


def _widened(labels: Labels, inner: Box, box: Box) -> Labels:
    instances = None if labels.instances is None else widened(labels.instances, inner, box, 0)
    return Labels(widened(labels.mask, inner, box, IGNORE), instances)
