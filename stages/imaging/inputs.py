"""Describe the images and masks that the user gives, and the samples found there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stages.errors import Problem
from stages.imaging.rules import PairingRule
from stages.imaging.samples import SourceSample, printable

__all__ = ["Found", "Inputs", "LeftOut"]

EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Describe where images and masks are, and how their names are matched."""

    images: Path
    """Folder of images, or a single image. Not read if `csv` is given."""
    masks: Path | None = None
    """Folder of masks, or one file that annotates all images. None: masks are searched beside the images."""
    csv: Path | None = None
    """Table of samples, used instead of matching by name; see `stages.imaging.table`."""
    layout: str = "auto"
    """A name in `LAYOUTS`, or `auto` to choose by the names of the files."""
    image_pattern: str | None = None
    """Pattern of the images in place of the layout's; see `stages.imaging.patterns`."""
    mask_pattern: str | None = None
    group_pattern: str | None = None
    """Regular expression that finds the patient in an image's path relative to the folder; its first group counts."""
    slices_alone: bool = False
    """Keep every file of a DICOM series as an image of its own, as if the files did not belong together."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Hold files that are not used for one reason."""

    reason: str
    files: tuple[Path, ...]
    """At least one."""

    def __str__(self) -> str:
        count = len(self.files)
        examples = ", ".join(printable(file) for file in self.files[:EXAMPLES])
        return (
            f"{count} file{'s' if count != 1 else ''} left out: {self.reason} ({examples}{' …' * (count > EXAMPLES)})"
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """Hold the result of the search: every file is in `samples`, in `problems` or in `left_out`."""

    samples: list[SourceSample]
    """Sorted by id; at least one."""
    problems: list[Problem]
    left_out: list[LeftOut]
    rule: PairingRule
    """The rule by which images and masks were matched; its text is one sentence for the output."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user, such as a pattern by which patients could be recognised."""
    classes: dict[str, int | str] | None = None
    """Class names and mask values from the data set's own description; None without one."""
    labels: str | None = None
    """`classes`, `instances` or `multilabel`, from the layout; None if it sets no kind."""
