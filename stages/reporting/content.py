"""Describe the content of a page: text, tables, figures and cases. Nothing here knows HTML.

`evaluate`, `report`, `compare` and `view` build these values; `stages.reporting.page` makes HTML of them. All text is
plain and is escaped by the page. Only `Figure.svg` and `CasePicture`'s bytes are used as they are, and only this
program makes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Block",
    "Case",
    "CasePicture",
    "CaseTable",
    "Fact",
    "Figure",
    "Maps",
    "Page",
    "Paragraph",
    "Section",
    "Shape",
    "Table",
]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Hold one figure of the overview, such as Dice with its interval."""

    label: str
    value: str
    detail: str = ""
    """A short explanation under the value, such as the interval."""


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Hold a paragraph of plain text."""

    text: str
    kind: Literal["text", "note", "warning"] = "text"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Hold a table. Numbers are given as text, so that the page shows them as they are."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numeric: Sequence[int] = ()
    """Positions of the columns that hold numbers and are aligned to the right."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Hold a figure as SVG that follows the page's colours, see `stages.reporting.figures`."""

    title: str
    svg: str
    """An `<svg>` element without style attributes, scripts or links."""
    description: str
    """The content of the figure in words, for readers who cannot see it."""
    caption: str = ""


Block = Paragraph | Table | Figure


@dataclass(frozen=True, kw_only=True)
class Section:
    """Hold a section of the page."""

    id: str
    """Anchor: lower-case letters and hyphens."""
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Hold the outline of one class as closed polygons with holes, filled by the even-odd rule."""

    name: str
    """Name of the class."""
    path: str
    """An SVG path of M, L and Z, in pixels of the picture; x is the column, y the row. "" for nothing."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Hold the attention maps of one sample, 8 bits a value."""

    heads: Sequence[str]
    grid: tuple[int, int]
    """(rows, columns) of one map in `sheet`."""
    sheet: bytes
    """A grey PNG of all maps below each other, (heads × rows, columns). 0 is a map's lowest value, 255 its highest."""
    low: Sequence[float]
    """Lowest value of each map, in the unit of the store: uniform attention is 1.0."""
    high: Sequence[float]
    """Highest value of each map."""
    agreement: Sequence[float]
    """Agreement of each head with the ground truth: |AUROC - 0.5|, 0 to 0.5; nan without a mask of two values."""
    best: int | None
    """Position of the head with the highest agreement; None if none is defined."""


@dataclass(frozen=True, kw_only=True)
class CasePicture:
    """Hold what is drawn of one case. All layers have the picture's size and aspect."""

    width: int
    height: int
    """Size in pixels of the coordinates of all shapes: the aspect of the original image."""
    image: bytes
    """The image, encoded as `image_type` says. This program writes WebP."""
    image_type: Literal["image/jpeg", "image/webp", "image/png"]
    truth: Sequence[Shape]
    """Ground truth by class; empty for a sample without a mask."""
    ignored: str = ""
    """Path of the pixels whose truth is ignored."""
    predictions: Mapping[str, Sequence[Shape]] = field(default_factory=dict)
    """Prediction by arm and class."""
    probability: Mapping[str, bytes] = field(default_factory=dict)
    """By arm, a grey PNG of the probability that a pixel is not background, 0 to 255; any resolution."""
    maps: Maps | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """Hold one row of the table of cases."""

    id: str
    group: str
    height: int
    width: int
    """Size of the original image in pixels."""
    scores: Mapping[str, Mapping[str, float]]
    """By arm: `dice`, `hd95`, …; nan where a score is not defined."""
    size: float
    """Share of the pixels that the ground truth marks as foreground, 0 to 1; nan without a mask."""
    flags: Sequence[str] = ()
    """Short remarks, such as "label in doubt"."""
    picture: CasePicture | None = None
    """None for a case that is only listed."""


@dataclass(frozen=True, kw_only=True)
class CaseTable:
    """Hold the cases of a page."""

    arms: Sequence[str]
    """Names of the runs or arms; the first is the main one."""
    scores: Mapping[str, str]
    """Scores of the cases in the order shown: key in `Case.scores` and heading, such as `hd95: HD95 (px)`."""
    cases: Sequence[Case]
    lower_is_better: Sequence[str] = ()
    """Keys of the scores of which lower values are better, such as `hd95`."""
    note: str = ""
    """Sentence on which cases have pictures, if not all have."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Hold a whole report."""

    title: str
    verdict: str
    """The answer in one or a few sentences, with its interval and the number of images."""
    facts: Sequence[Fact] = ()
    notes: Sequence[str] = ()
    """Limits of the figures, as sentences for the reader."""
    sections: Sequence[Section] = ()
    cases: CaseTable | None = None
    footer: Sequence[tuple[str, str]] = ()
    """Recipe, versions, seeds, licences: label and value."""
