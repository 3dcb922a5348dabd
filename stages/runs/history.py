"""Write the history of a run as CSV: one row of figures per epoch, or per fixed number of steps."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

__all__ = ["Row", "history_csv"]

Row = dict[str, float | None]
"""Figures by column; None where a figure is not defined."""


def history_csv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """Return the rows as CSV with a header, UTF-8; None becomes an empty cell.

    Args:
        rows: each with exactly these columns, in any order.
        columns: names in the order of the file.

    Raises:
        ValueError: a row has a column that is not named.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=columns)
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()
