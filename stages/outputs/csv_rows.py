"""Write rows of texts as CSV with the marks of `stages.outputs.cells`, many at a time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from stages.outputs.cells import safe_cell

__all__ = ["csv_rows"]

TOGETHER = 256
"""Rows that are looked at together, whether they can be written as they are."""
_SPECIAL = re.compile(rb"""["\r,]|[^\x00-\x7f]|^['=+\-@\t]""", re.MULTILINE)


def csv_rows(columns: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    """Yield rows as `csv.writer` writes them, several at a time.

    Args:
        columns: the texts of each column in UTF-8.
    """
    for start in range(0, len(columns[0]), TOGETHER):
        some = [column[start : start + TOGETHER] for column in columns]
        if all(map(_are_plain, some)):
            yield b"\r\n".join([*map(b",".join, zip(*some, strict=True)), b""])
        else:
            text = io.StringIO(newline="")
            rows = zip(*some, strict=True)
            csv.writer(text).writerows([safe_cell(cell.decode()) for cell in row] for row in rows)
            yield text.getvalue().encode()


def _are_plain(texts: Sequence[bytes]) -> bool:
    """Return True if no cell of these texts has a mark or quotes."""
    together = b"\n".join(texts)
    return together.count(b"\n") == len(texts) - 1 and _SPECIAL.search(together) is None
