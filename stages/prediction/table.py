"""Write `table.csv`: one row per image and foreground class.

| column            | meaning                                                                  |
|-------------------|--------------------------------------------------------------------------|
| `id`, `class`     | the image and the class                                                  |
| `area_px`         | pixels of the class at the image's original size                         |
| `area_mm2`        | the same in mm²; empty if the size of a pixel is not known               |
| `share`           | share of the image's pixels, 0 to 1                                      |
| `objects`         | number of objects: connected regions, or as `--instances` splits them    |
| `mean_confidence` | mean probability of the class over its pixels, 0 to 1; empty without any |
"""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from stages.outputs.cells import safe_cell
from store.disk.regular import disk_fails, open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["COLUMNS", "TABLE_FILE", "Row", "as_csv", "is_our_table"]

TABLE_FILE = "table.csv"
COLUMNS = ("id", "class", "area_px", "area_mm2", "share", "objects", "mean_confidence")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Hold one row of the table; see the module for the meaning and the order of the columns."""

    id: str
    class_name: str
    area_px: int
    area_mm2: float | None
    share: float
    objects: int
    mean_confidence: float | None


def as_csv(rows: Sequence[Row]) -> bytes:
    """Return the bytes of the table, with a header. Fractions have six significant digits.

    A text that a spreadsheet could take as a formula gets a mark in front; see `stages.outputs.cells`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(map(_cell, astuple(row)))
    return text.getvalue().encode()


def _cell(value: str | float | None) -> str | float | None:
    if isinstance(value, str):
        return safe_cell(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def is_our_table(path: Path) -> bool:
    """Return True if the first line of a file is the header of this table.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    header = (",".join(COLUMNS) + "\n").encode()
    try:
        with open_regular(path) as file:
            return file.read(len(header)) == header
    except OSError as error:
        if disk_fails(error):
            raise
        return False
