"""Check the headers of all files of a data set, before anything is decoded.

A header is a few hundred bytes, so twenty thousand files take seconds. It is enough to check that a file is a picture
and that a mask has the size of its image. It does not show damaged pixels.

Annotations have no header that is checked here; they are read when their sample is decoded.
"""

from __future__ import annotations

from pathlib import Path

from stages.errors import InputProblemsError, Problem
from stages.imaging.arrays import LABEL, array_size, is_array_file
from stages.imaging.image_facts import ImageFacts, image_facts
from stages.imaging.listing import EXTENSIONS
from stages.imaging.opening import picture_size
from stages.imaging.parts import Part
from stages.imaging.samples import LabelFile, SourceSample, printable
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.settings import Size

__all__ = ["read_header"]


def read_header(sample: SourceSample) -> ImageFacts | list[Problem]:
    """Return what the header of a sample's image says, or the problems of its files.

    Args:
        sample: Its image and its masks are opened; no pixel is decoded.

    Returns:
        What the image's header says; or one problem per file that is no picture or has another size than the image.
        Sides may be swapped between image and mask, because an EXIF orientation may turn one of them.
    """
    try:
        facts = image_facts(sample.image, sample.part)
    except InputProblemsError as error:
        return list(error.problems)
    problems = []
    for mask in sample.masks:
        binary = is_array_file(mask.path) or is_volume_file(mask.path)
        if not binary and (mask.path.suffix.lower() not in EXTENSIONS or mask.path == sample.image):
            continue
        problems += _check_mask(mask, sample.image, facts.size)
    return problems or facts


def _size(path: Path, part: Part) -> Size:
    """Return the (height, width) of a mask, or of its region.

    Raises:
        InputProblemsError: the file cannot be used.
    """
    if part.box is not None:
        return part.box[2], part.box[3]
    if is_volume_file(path):
        return open_volume(path, part.axis).facts.size
    return array_size(path, LABEL) if is_array_file(path) else picture_size(path)


def _check_mask(label: LabelFile, image: Path, size: Size) -> list[Problem]:
    mask = label.path
    try:
        found = _size(mask, label.part)
    except InputProblemsError as error:
        return list(error.problems)
    if label.part.plane is None and is_volume_file(mask) and (planes := open_volume(mask).facts.planes) > 1:
        what = (
            f"has {planes} planes and its image {image.name} one; give the image with all planes, or the label of one"
        )
        return [Problem(printable(mask), what)]
    if sorted(found) == sorted(size):
        return []
    what = f"the mask is {found[0]} x {found[1]} and its image {image.name} {size[0]} x {size[1]} (height x width)"
    return [Problem(printable(mask), f"{what}; export the mask at the image's size")]
