"""Write rows of texts as `json.dumps` does, and hash them in the order of their first column.

The digest of a table of splits is that of its rows' JSON text, in the order of the ids (`stages.segmentation.
split_tables`). A table may have ten million rows, and its ids need not be in order: images that were added later come
last. So the rows are sorted in parts. One part is in memory at a time, and only the segments of the table that hold
rows of it are read again.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from store.texts import Texts

__all__ = ["Segment", "json_rows", "sorted_rows_sha256"]

Segment = Callable[[], Sequence[Texts]]
"""Read some rows of a table that follow each other: the texts of each column."""

AT_ONCE = 500_000
"""About as many rows are sorted at a time; a row takes some 300 bytes."""
SAMPLED = 64
"""One id of this many is looked at to divide the rows into parts."""
TOGETHER = 256
"""Rows that are looked at together, whether JSON holds them as they are."""
_ESCAPED = re.compile(rb'[\x00-\x1f"\\\x7f]')


def json_rows(columns: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return each row as `json.dumps` writes the list of its texts.

    Args:
        columns: the texts of each column in UTF-8.
    """
    rows: list[bytes] = []
    for start in range(0, len(columns[0]), TOGETHER):
        some = [column[start : start + TOGETHER] for column in columns]
        if all(_are_plain(b"".join(column)) for column in some):
            rows += [b'["' + b'", "'.join(cells) + b'"]' for cells in zip(*some, strict=True)]
        else:
            rows += [json.dumps([cell.decode() for cell in cells]).encode() for cells in zip(*some, strict=True)]
    return rows


def _are_plain(texts: bytes) -> bool:
    """Return True if JSON holds these letters as they are."""
    return texts.isascii() and _ESCAPED.search(texts) is None


def sorted_rows_sha256(segments: Sequence[Segment], rows: int) -> str:
    """Return the SHA-256 of `json.dumps` of all rows, sorted by their first text.

    Args:
        segments: of the table. The first texts of all rows differ.
        rows: their number.
    """
    digest, separator = hashlib.sha256(b"["), b""
    for columns in _in_parts(segments) if rows > AT_ONCE else [map(_all_texts, segments)]:
        part = sorted(row for texts in columns for row in zip(texts[0], json_rows(texts), strict=True))
        if part:
            digest.update(separator + b", ".join([row for _, row in part]))
            separator = b", "
    digest.update(b"]")
    return digest.hexdigest()


def _all_texts(segment: Segment) -> list[list[bytes]]:
    """Return the texts of each column of a segment."""
    return [texts.to_list() for texts in segment()]


def _in_parts(segments: Sequence[Segment]) -> Iterator[Iterator[list[list[bytes]]]]:
    """Yield the rows in parts: the texts of each column of each segment. All rows of a part come before the next one.

    Only segments that hold rows of a part are read for it.
    """
    firsts = (read()[0] for read in segments)
    some = sorted(text for texts in firsts for text in texts.chosen(np.arange(0, len(texts), SAMPLED)))
    bounds = some[AT_ONCE // SAMPLED :: AT_ONCE // SAMPLED]
    parts = [
        np.array([bisect_right(bounds, text) for text in texts.to_list()], np.uint16)
        for texts in (read()[0] for read in segments)
    ]
    for number in range(len(bounds) + 1):
        chosen = (
            (read, np.flatnonzero(part == number).astype(np.int64)) for read, part in zip(segments, parts, strict=True)
        )
        yield ([texts.chosen(rows) for texts in read()] for read, rows in chosen if len(rows))
