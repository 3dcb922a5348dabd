r"""Join the texts of several columns to rows, without a Python object for each row.

Cells of a column are written side by side in a table of bytes, filled with NUL, and the NUL bytes are taken away
afterwards. It works for texts without NUL that need no quotation marks: those that CSV, JSON and the marks of
`stages.outputs.cells` hold as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from store.texts import Texts

__all__ = ["joined_rows"]

_PLAIN = bytes(set(range(ord(" "), ord("~") + 1)) - set(b"\"',\\"))
"""Letters that CSV and JSON hold as they are, and that are no mark."""
_FORMULA = np.frombuffer(b"=+-@", np.uint8)
"""Letters at the begin of a cell that may need a mark before it."""
WIDEST = 256
"""Most bytes of a cell: a longer one would take as much memory for every row."""


def joined_rows(columns: Sequence[Texts], *, before: bytes, between: bytes, after: bytes) -> bytes | None:
    """Return the rows, one after the other; None if a text is not plain, or very long.

    Args:
        columns: the texts of each column.
        before: comes before the first cell of a row.
        between: comes between the cells of a row.
        after: comes after the last cell of a row.
    """
    count = len(columns[0])
    widths = [int(texts.lengths.max(initial=0)) for texts in columns]
    if max(widths) > WIDEST:
        return None
    parts = [before, *[between] * (len(columns) - 1)]
    rows = np.empty((count, sum(map(len, parts)) + sum(widths) + len(after)), np.uint8)
    place = 0
    for part, texts, width in zip(parts, columns, widths, strict=True):
        rows[:, place : place + len(part)] = np.frombuffer(part, np.uint8)
        place += len(part)
        cells = texts.padded(width)
        if not _are_plain(texts, cells.tobytes().translate(None, b"\0"), int(texts.lengths.sum())):
            return None
        rows[:, place : place + width] = cells
        place += width
    rows[:, place:] = np.frombuffer(after, np.uint8)
    return rows.tobytes().translate(None, b"\0")


def _are_plain(texts: Texts, letters: bytes, count: int) -> bool:
    """Return True if CSV and JSON hold these texts as they are.

    Args:
        texts: the texts.
        letters: all of their bytes but NUL.
        count: of all bytes.
    """
    if len(letters) != count or letters.translate(None, _PLAIN):
        return False
    begins = texts.content[texts.starts[texts.lengths > 0]]
    return not np.isin(begins, _FORMULA).any()
