"""Cut large images into tiles: the rule, and the regions that it gives.

A tile is a region of an image in its full resolution. Its size is given at the resolution that is wanted: with
`size=(512, 512)` and `reduction=2` a tile is a region of 1024 x 1024 pixels of the image, which is shrunk afterwards.

Tiles start at the upper left corner and follow each other with an overlap. The last row and the last column of tiles
are moved inwards, so that all tiles lie inside the image. An image that is smaller than a tile has one tile, which
reaches beyond the lower and the right border: there the image is black, and the labels are ignored.

The id of a tile is that of its image with the row and the column of its first pixel, in pixels of the full resolution:
`slide_r01024_c00512`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stages.errors import UsageError

if TYPE_CHECKING:
    from stages.imaging.parts import Box
    from stages.imaging.volumes.volume import Spacing
    from stages.settings import Size

__all__ = ["TileRule", "tile_boxes", "tile_id"]

DIGITS = 5
"""Digits of a row and a column in an id, at least."""
LARGEST_REDUCTION = 1024.0
MOST_ENLARGED = 0.8
"""Smallest reduction that micrometres may lead to: files of one scanner differ a little."""
MOST_UNEQUAL = 1.05
"""Largest ratio between the sides of a pixel that counts as a square."""
MICROMETRES = re.compile(r"(?P<number>[0-9.]+) *(?:um|µm|μm)", re.IGNORECASE)
KEYS = {"size", "overlap", "reduction", "micrometres"}


@dataclass(frozen=True, kw_only=True)
class TileRule:
    """Hold the rule by which images are cut into tiles."""

    size: Size
    """(rows, columns) of a tile, in pixels at the resolution of the rule."""
    overlap: int = 0
    """Rows and columns that neighbouring tiles share, in pixels at the resolution of the rule."""
    reduction: float = 1.0
    """Pixels of the full resolution along one side of a pixel of a tile. Not used with `micrometres`."""
    micrometres: float | None = None
    """Side of a pixel of a tile in micrometres; then every file has its own reduction, from its spacing."""

    def __post_init__(self) -> None:
        """Check the values that were given.

        Raises:
            UsageError: a value is not possible.
        """
        height, width = self.size
        if not 0 <= self.overlap < min(height, width):
            raise UsageError(
                f"--overlap {self.overlap}: tiles of {height} x {width} pixels can share 0 to "
                f"{min(height, width) - 1} pixels with their neighbours. Give fewer; a quarter of a tile is usual."
            )
        if not 1.0 <= self.reduction <= LARGEST_REDUCTION and self.micrometres is None:
            raise UsageError(
                f"--resolution {self.reduction:g}: a reduction is a number from 1 (all pixels) to "
                f"{LARGEST_REDUCTION:g}. Give 2 for half the pixels along each side, or micrometres such as 0.5um."
            )
        if self.micrometres is not None and not 0 < self.micrometres <= LARGEST_REDUCTION:
            raise UsageError(f"--resolution {self.micrometres:g}um: give more than 0, at most {LARGEST_REDUCTION:g}um.")

    @classmethod
    def parse(cls, size: Size, overlap: int, resolution: str) -> TileRule:
        """Return the rule that the user asks for.

        Args:
            size: (rows, columns) of a tile.
            overlap: In pixels.
            resolution: A reduction such as `2`, or the side of a pixel such as `0.5um`.

        Raises:
            UsageError: a value is not possible.
        """
        found = MICROMETRES.fullmatch(resolution.strip())
        try:
            number = float(found["number"] if found else resolution)
        except ValueError:
            raise UsageError(
                f"--resolution {resolution}: is neither a reduction such as 2 (half the pixels along each side) nor "
                "the side of a pixel in micrometres such as 0.5um."
            ) from None
        if found:
            return cls(size=size, overlap=overlap, micrometres=number)
        return cls(size=size, overlap=overlap, reduction=number)

    def for_file(self, spacing_mm: Spacing | None) -> TileRule:
        """Return the rule for one file, with its reduction and without micrometres.

        Args:
            spacing_mm: The distances between the centres of the file's pixels; None if they are not known.

        Raises:
            ValueError: the rule is in micrometres and the file has no spacing, no square pixels, or pixels that are
                larger. The message says what to do, and does not name the file.
        """
        if self.micrometres is None:
            return self
        wanted = f"--resolution {self.micrometres:g}um"
        if spacing_mm is None:
            remedy = f"give the column pixel_mm of a table (--csv), or extract with a reduction in place of {wanted}"
            raise ValueError(f"does not say how large its pixels are; {remedy}")
        rows, columns = (1000 * side for side in spacing_mm[:2])
        if max(rows, columns) > MOST_UNEQUAL * min(rows, columns):
            raise ValueError(f"has pixels of {rows:.4g} x {columns:.4g} um; make them square to use {wanted}")
        reduction = 2 * self.micrometres / (rows + columns)
        if reduction < MOST_ENLARGED:
            raise ValueError(f"has pixels of {rows:.4g} um, larger than {wanted}; give at least {rows:.4g}um")
        return replace(self, reduction=max(1.0, reduction), micrometres=None)

    @property
    def rows_columns(self) -> Size:
        """(rows, columns) of a tile in pixels of the full resolution."""
        height, width = self.size
        return max(1, round(height * self.reduction)), max(1, round(width * self.reduction))

    def __str__(self) -> str:
        reduced = "" if self.reduction == 1 else f" at 1/{self.reduction:g} of the resolution"
        if self.micrometres is not None:
            reduced = f" at {self.micrometres:g} um per pixel"
        overlap = f", overlapping by {self.overlap}" if self.overlap else ""
        return f"{self.size[0]} x {self.size[1]} pixels{reduced}{overlap}"

    def to_dict(self) -> dict[str, Any]:
        """Return the rule in JSON's types, without values at their default."""
        described: dict[str, Any] = {"size": list(self.size)}
        if self.overlap:
            described["overlap"] = self.overlap
        if self.micrometres is not None:
            described["micrometres"] = self.micrometres
        elif self.reduction != 1:
            described["reduction"] = self.reduction
        return described

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> TileRule:
        """Return the rule that `to_dict` described.

        Raises:
            UsageError: it is damaged, or this version does not know all of it.
        """
        unknown = sorted(described.keys() - KEYS)
        try:
            height, width = (int(side) for side in described["size"])
            micrometres = described.get("micrometres")
            rule = cls(
                size=(height, width),
                overlap=int(described.get("overlap", 0)),
                reduction=float(described.get("reduction", 1.0)),
                micrometres=None if micrometres is None else float(micrometres),
            )
        except (KeyError, TypeError, ValueError):
            unknown = unknown or ["size"]
        if unknown:
            raise UsageError(
                f"the images were cut into tiles by a rule that this version does not know ({', '.join(unknown)}).\n"
                "  Update the program."
            )
        return rule


def tile_boxes(size: Size, rule: TileRule) -> list[Box]:
    """Return the regions of all tiles of an image, from left to right and then downwards.

    Args:
        size: (rows, columns) of the image in its full resolution.
        rule: With a reduction; see `TileRule.for_file`.

    Returns:
        At least one box. All have the same size. They cover the image, and lie inside it unless it is smaller.

    Raises:
        ValueError: the rule is in micrometres.
    """
    if rule.micrometres is not None:
        raise ValueError("a rule in micrometres needs the spacing of the file; see TileRule.for_file")
    rows, columns = rule.rows_columns
    overlap = round(rule.overlap * rule.reduction)
    return [
        (row, column, rows, columns)
        for row in _starts(size[0], rows, overlap)
        for column in _starts(size[1], columns, overlap)
    ]


def tile_id(parent: str, box: Box, size: Size) -> str:
    """Return the id of a tile: `slide_r01024_c00512`.

    Args:
        parent: Id of the image or of the plane that the tile is cut from.
        box: Its region.
        size: (rows, columns) of the image. Numbers have as many digits as the longer side needs, at least five.
    """
    digits = max(DIGITS, len(str(max(size) - 1)))
    return f"{parent}_r{box[0]:0{digits}d}_c{box[1]:0{digits}d}"


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Return the first pixels of the tiles along one side."""
    last = max(0, side - tile)
    starts = list(range(0, last + 1, max(1, tile - overlap)))
    return starts if starts[-1] == last else [*starts, last]
