"""Gather the predicted planes of one file, and turn them into one file in the input's own format and geometry.

A scan is predicted plane by plane, and its result is one file of all planes. The planes of a file are predicted one
after the other, so only one file's planes are in memory: one byte for each pixel, or four for numbered objects.

    PARENT_FORMATS   the table of formats: by the name of the reader, which module writes them
    Gathered         what a format gets: the values of all planes, and the file that they belong to
    Gatherer         collects planes and gives them on when the last one has come

To add a format, add one entry to `PARENT_FORMATS` and one module with the functions that `ParentFormat` describes.
A file of another format has one picture for each of its planes.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.errors import Problem
from stages.imaging.samples import printable
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import READERS, is_volume_file, reader_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.samples import SourceSample
    from stages.segmentation.mask_painter import MaskPainter

__all__ = ["PARENT_FORMATS", "Content", "Gathered", "Gatherer", "ParentFormat", "parent_format", "parent_id"]

Content = Literal["classes", "labels", "objects"]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Hold the predictions of all planes of one file."""

    source: Path
    """The image file; `stages.imaging.volumes.opened.open_volume` gives its geometry."""
    axis: str
    """The axis along which it was cut into planes; see `stages.imaging.parts.Part`."""
    identifier: str
    """Id of the file's sample."""
    content: Content
    """Meaning of `values`: `classes`, one index for each pixel; `labels`, one bit for each label that is there, bit
    k - 1 for label k; `objects`, the number of the object, counted over all planes of the file."""
    values: NDArray[Any]
    """(plane, row, column) uint8 for `classes` and `labels`, int32 for `objects`, in the order of the planes."""
    classes: Sequence[str]
    """Names by index, the background first."""
    painter: MaskPainter
    """Turns class indices into the values of the masks that the model was trained on."""

    def label(self, index: int) -> NDArray[np.bool_]:
        """Return where a class is, (plane, row, column) bool; `index` counts from 1. Not for `objects`."""
        found: NDArray[np.bool_] = self.values == index
        if self.content == "labels":
            found = (self.values >> np.uint8(index - 1)) & np.uint8(1) > 0
        return found


@dataclass(frozen=True, kw_only=True)
class ParentFormat:
    """Describe one format of predictions. Its module has two functions, and those that `package` and `all_images` name.

    `encode(gathered: Gathered, *, label: int | None) -> bytes` returns the bytes of the file, with the mark of this
    program in it. With `label`, which is only given where `overlapping` is False, the file holds that label alone.

    `is_ours(path: Path) -> bool` returns True if this program wrote the file, False for every other and every damaged
    file. It raises OSError if the disk fails.
    """

    ending: str
    """End of the names of its files, with the dot, in lower case."""
    module: str
    overlapping: bool = False
    """One file can hold labels that overlap. Otherwise a multi-label run writes one file for every label."""
    objects: bool = True
    """It can hold the numbers of objects, for `--instances`. Otherwise these are one picture for each plane."""
    package: str = ""
    """Package of an extra that it needs. Its module then has a function `require_package()` too, which raises
    UsageError if the package is missing."""
    all_images: bool = True
    """It can be written for every image of its reader. Otherwise its module has a function `fits(image: Path) -> bool`
    too, which says so for one image."""

    def fits(self, image: Path) -> bool:
        """Return True if the predictions of an image can be written in this format."""
        return self.all_images or bool(importlib.import_module(self.module).fits(image))

    def require(self) -> None:
        """Make sure that files of this format can be written.

        Raises:
            UsageError: a package is not installed; the message names its extra.
        """
        if self.package:
            importlib.import_module(self.module).require_package()

    def encode(self, gathered: Gathered, label: int | None = None) -> bytes:
        """Return the bytes of the file of all planes."""
        content: bytes = importlib.import_module(self.module).encode(gathered, label=label)
        return content

    def is_ours(self, path: Path) -> bool:
        """Return True if this program wrote the file.

        Raises:
            OSError: the disk fails, so it is not known.
        """
        return bool(importlib.import_module(self.module).is_ours(path))


PARENT_FORMATS: Mapping[str, ParentFormat] = {
    "nifti": ParentFormat(ending=".nii.gz", module="stages.prediction.nifti_files"),
    "dicom": ParentFormat(
        ending=".dcm",
        module="stages.prediction.dicom_files",
        overlapping=True,
        objects=False,
        package="highdicom",
        all_images=False,
    ),
    "tiff": ParentFormat(ending=".tif", module="stages.prediction.tiff_stacks"),
}
"""Format of the predictions by the name of the reader in `stages.imaging.volumes.readers.READERS`."""


def parent_format(source: SourceSample) -> ParentFormat | None:
    """Return the format in which the planes of a sample's file are written as one; None for one file for each plane."""
    if not is_volume_file(source.image):
        return None
    reader = reader_of(source.image)
    name = next(name for name, one in READERS.items() if one is reader)
    found = PARENT_FORMATS.get(name)
    return found if found is not None and found.fits(source.image) else None


def parent_id(source: SourceSample) -> str:
    """Return the id of the file that a sample is a plane of; a file with one plane is its own parent."""
    return source.parent or source.id


@dataclass
class _Open:
    """Hold the planes of the file whose turn it is."""

    source: SourceSample
    values: NDArray[Any]
    missing: int
    """Planes that have not come yet."""
    objects: int = 0
    """Objects that were counted on the planes so far."""


@dataclass
class Gatherer:
    """Collect predicted planes of one kind of content, one file after the other."""

    classes: Sequence[str]
    painter: MaskPainter
    content: Content
    problems: list[Problem] = field(default_factory=list)
    """Files that are not written, because planes of them could not be predicted."""
    _open: _Open | None = None

    def add(self, source: SourceSample, values: NDArray[Any]) -> Gathered | None:
        """Take one plane; return all planes of its file if it was the last one.

        Args:
            source: The sample.
            values: (row, column) uint8 class indices or bits, or int32 numbers of objects from 1 on every plane.

        Raises:
            InputProblemsError: the file can no longer be read.
        """
        name = parent_id(source)
        if self._open is not None and parent_id(self._open.source) != name:
            self.close()
        if self._open is None:
            planes = open_volume(source.image, source.part.axis).facts.planes
            dtype = np.int32 if self.content == "objects" else np.uint8
            self._open = _Open(source, np.zeros((planes, *values.shape), dtype), planes)
        one = self._open
        if self.content == "objects":
            found = int(values.max(initial=0))
            values = np.where(values > 0, values + one.objects, 0)
            one.objects += found
        one.values[source.part.plane or 0] = values
        one.missing -= 1
        if one.missing:
            return None
        self._open = None
        return Gathered(
            source=source.image,
            axis=source.part.axis,
            identifier=name,
            content=self.content,
            values=one.values,
            classes=self.classes,
            painter=self.painter,
        )

    def close(self) -> None:
        """Note a problem if planes of the last file are missing. Nothing is written for such a file."""
        if self._open is None:
            return
        source, missing, planes = self._open.source, self._open.missing, len(self._open.values)
        what = f"{missing} of {planes} planes could not be predicted, so no file was written for it; repair the file"
        self.problems.append(Problem(printable(source.image), what))
        self._open = None
